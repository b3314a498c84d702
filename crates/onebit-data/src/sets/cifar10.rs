use crate::cifar;
use crate::sets::Set;

pub(crate) const SET: Set = Set {
    name: "cifar10",
    open: |folder, split| Ok(Box::new(cifar::read_named(folder, split, SET.name.to_owned())?)),
};
