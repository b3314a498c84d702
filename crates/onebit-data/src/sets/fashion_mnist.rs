use crate::Normalization;
use crate::idx;
use crate::sets::Set;

pub(crate) const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

pub(crate) const SET: Set = Set {
    name: "fashion-mnist",
    open: |folder, split| {
        let classes = CLASSES.map(str::to_owned).to_vec();
        let name = SET.name.to_owned();
        Ok(Box::new(idx::read_named(folder, split, name, classes, Some(normalization()))?))
    },
};

pub(crate) fn normalization() -> Normalization {
    Normalization::new(&[0.2860], &[0.3530])
}
