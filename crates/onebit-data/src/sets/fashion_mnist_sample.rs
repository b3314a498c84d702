//! The sample of Fashion-MNIST that is part of the program.

use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::idx::{assemble, parse_images, parse_labels};
use crate::sets::{Set, fashion_mnist};
use crate::{Error, InMemory, Split};

macro_rules! asset {
    ($name:literal) => {
        (
            concat!("fashion-mnist-sample/", $name),
            include_bytes!(concat!("../../assets/fashion-mnist-sample/", $name)).as_slice(),
        )
    };
}

const TRAIN: [(&str, &[u8]); 2] =
    [asset!("train-images-idx3-ubyte.gz"), asset!("train-labels-idx1-ubyte.gz")];
const TEST: [(&str, &[u8]); 2] =
    [asset!("t10k-images-idx3-ubyte.gz"), asset!("t10k-labels-idx1-ubyte.gz")];

pub(crate) const SET: Set = Set {
    name: "fashion-mnist-sample",
    open: |_, split| Ok(Box::new(read(split)?)),
    classes: 10,
    train: 10_000,
    test: 2_000,
    shape: [1, 28, 28],
    licence: "MIT, Copyright 2017 Zalando SE (a balanced sample of Fashion-MNIST)",
    download_plan: None,
};

fn read(split: Split) -> Result<InMemory, Error> {
    let [(images_name, images), (labels_name, labels)] = match split {
        Split::Train => TRAIN,
        Split::Test => TEST,
    };
    let labels_path = Path::new(labels_name);
    let images = parse_images(Path::new(images_name), &mut GzDecoder::new(images))?;
    let labels = parse_labels(labels_path, &mut GzDecoder::new(labels))?;
    let name = SET.name.to_owned();
    let classes = fashion_mnist::CLASSES.map(str::to_owned).to_vec();
    let normalization = Some(fashion_mnist::normalization());
    assemble(labels_path, images, &labels, name, classes, normalization)
}
