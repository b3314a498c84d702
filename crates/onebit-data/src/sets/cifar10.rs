//! The published set CIFAR-10.

use crate::cifar;
use crate::sets::Set;
use crate::{Content, Download, DownloadPlan, Packing};

pub(crate) const SET: Set = Set {
    name: "cifar10",
    open: |folder, split| Ok(Box::new(cifar::read_named(folder, split, SET.name.to_owned())?)),
    classes: 10,
    train: 50_000,
    test: 10_000,
    shape: [3, 32, 32],
    licence: "no licence stated, by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton",
    download_plan: Some(DownloadPlan {
        name: "cifar10",
        base: "http://www.cs.toronto.edu/~kriz",
        downloads: &[Download {
            file: "cifar-10-binary.tar.gz",
            packing: Packing::TarGzip,
            contents: &[
                Content {
                    file: "batches.meta.txt",
                    bytes: 61,
                    sha256: "558e74b5e208382e186da55784b4bac2cd52e558448e1b5800990fdb28ed8033",
                },
                Content {
                    file: "data_batch_1.bin",
                    bytes: 30_730_000,
                    sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                },
                Content {
                    file: "data_batch_2.bin",
                    bytes: 30_730_000,
                    sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                },
                Content {
                    file: "data_batch_3.bin",
                    bytes: 30_730_000,
                    sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                },
                Content {
                    file: "data_batch_4.bin",
                    bytes: 30_730_000,
                    sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                },
                Content {
                    file: "data_batch_5.bin",
                    bytes: 30_730_000,
                    sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                },
                Content {
                    file: "test_batch.bin",
                    bytes: 30_730_000,
                    sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                },
            ],
        }],
    }),
};
