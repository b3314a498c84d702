//! The published set MNIST.

use crate::Normalization;
use crate::idx;
use crate::sets::Set;
use crate::{Content, Download, DownloadPlan, Packing};

pub(crate) const SET: Set = Set {
    name: "mnist",
    open: |folder, split| {
        let classes = (0..10).map(|digit: u8| digit.to_string()).collect();
        let normalization = Normalization { mean: vec![0.1307], std: vec![0.3081] };
        let name = SET.name.to_owned();
        Ok(Box::new(idx::read_named(folder, split, name, classes, Some(normalization))?))
    },
    classes: 10,
    train: 60_000,
    test: 10_000,
    shape: [1, 28, 28],
    licence: "CC BY-SA 3.0, Yann LeCun and Corinna Cortes",
    download_plan: Some(DownloadPlan {
        name: "mnist",
        base: "http://ossci-datasets.s3.amazonaws.com/mnist",
        downloads: &[
            Download {
                file: "train-images-idx3-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "train-images-idx3-ubyte",
                    bytes: 47_040_016,
                    sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                }],
            },
            Download {
                file: "train-labels-idx1-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "train-labels-idx1-ubyte",
                    bytes: 60_008,
                    sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                }],
            },
            Download {
                file: "t10k-images-idx3-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "t10k-images-idx3-ubyte",
                    bytes: 7_840_016,
                    sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                }],
            },
            Download {
                file: "t10k-labels-idx1-ubyte.gz",
                packing: Packing::Gzip,
                contents: &[Content {
                    file: "t10k-labels-idx1-ubyte",
                    bytes: 10_008,
                    sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                }],
            },
        ],
    }),
};
