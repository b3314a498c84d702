use crate::Normalization;
use crate::idx;
use crate::sets::Set;

pub(crate) const SET: Set = Set {
    name: "mnist",
    open: |folder, split| {
        let classes = (0..10).map(|digit: u8| digit.to_string()).collect();
        let normalization = Normalization::new(&[0.1307], &[0.3081]);
        let name = SET.name.to_owned();
        Ok(Box::new(idx::read_named(folder, split, name, classes, Some(normalization))?))
    },
};
