//! Where memory does not suffice, a loader's iterator says so and ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use onebit_data::{Dataset, Error, ErrorKind, Folder, Loader, LoaderConfig, Share, Split};

const CHILD: &str = "ONEBIT_TEST_LITTLE_MEMORY";

/// Batches of one image of 3 x `side` x `side` values.
fn loader(side: usize, shuffle: bool) -> Loader {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a")).unwrap();
    image::GrayImage::new(4, 4).save(folder.path().join("a/1.png")).unwrap();
    let set = Folder::open(folder.path(), Split::Train, Some((side, side))).unwrap();
    let normalization = set.normalization();
    let (batch, augment, seed, drop_last) = (1, None, 0, false);
    let config = LoaderConfig {
        batch,
        normalization,
        augment,
        seed,
        shuffle,
        drop_last,
        share: Share::WHOLE,
    };
    Loader::new(Arc::new(set), config).unwrap()
}

/// The only item of an epoch, an error that names `part`.
fn refused(loader: &Loader, part: &str) {
    let mut epoch = loader.epoch(0, 0);
    let error = epoch.next().unwrap().unwrap_err();
    assert!(epoch.next().is_none());
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::BadData);
    assert!(error.to_string().contains(part), "{error}");
}

/// Takes what there is, in pieces of 8 MiB.
fn fill() -> Vec<Vec<u8>> {
    let mut taken = Vec::with_capacity(1 << 16);
    loop {
        let mut piece = Vec::<u8>::new();
        if piece.try_reserve_exact(8 << 20).is_err() {
            return taken;
        }
        taken.push(black_box(piece));
    }
}

/// Runs itself with little memory; in an emulator a program cannot be started by its path.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_batch_or_a_thread_without_memory_is_an_error() {
    if std::env::var_os(CHILD).is_some() {
        refused(&loader(16_384, true), "not enough memory for a batch of 1 images of `folder:");
        let small = loader(4, false);
        let taken = fill();
        let mut epoch = small.epoch(0, 0);
        drop(taken);
        let error = epoch.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("for the batches of data set `folder:"), "{error}");
        return;
    }
    let script =
        "ulimit -v 1000000; exec \"$0\" --exact a_batch_or_a_thread_without_memory_is_an_error";
    let mut child = Command::new("sh");
    child.args(["-c", script]).arg(std::env::current_exe().unwrap()).env(CHILD, "1");
    let child = child.output().unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{child:?}");
}
