//! The published set Fashion-MNIST.

use crate::Normalization;
use crate::idx;
use crate::sets::Set;
use crate::{Content, Download, DownloadPlan, Packing};

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
    classes: 10,
    train: 60_000,
    test: 10_000,
    shape: [1, 28, 28],
    licence: "MIT, Copyright 2017 Zalando SE",
    download_plan: Some(DownloadPlan {
        name: "fashion-mnist",
        base: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        downloads: &[
            Download {
                file: "train-images-idx3-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "train-images-idx3-ubyte",
                    bytes: 47_040_016,
                    sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                }],
            },
            Download {
                file: "train-labels-idx1-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "train-labels-idx1-ubyte",
                    bytes: 60_008,
                    sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                }],
            },
            Download {
                file: "t10k-images-idx3-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "t10k-images-idx3-ubyte",
                    bytes: 7_840_016,
                    sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                }],
            },
            Download {
                file: "t10k-labels-idx1-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "t10k-labels-idx1-ubyte",
                    bytes: 10_008,
                    sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                }],
            },
        ],
    }),
};

pub(crate) fn normalization() -> Normalization {
    Normalization { mean: vec![0.2860], std: vec![0.3530] }
}
