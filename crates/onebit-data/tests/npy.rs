//! NumPy arrays: what is written is read back, byte for byte as NumPy writes it.

#![allow(clippy::unwrap_used)]

use std::fs;

use onebit_data::{Error, read_npy_f32, write_npy_f32};

#[test]
fn arrays_of_every_rank_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    for shape in [vec![], vec![1], vec![3], vec![2, 3], vec![1, 3, 2, 2]] {
        let count: usize = shape.iter().product();
        let data: Vec<f32> = (0..count).map(|i| i as f32 - 1.5).collect();
        write_npy_f32(&path, &shape, &data).unwrap();
        assert_eq!(read_npy_f32(&path).unwrap(), (shape, data));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_bytes_are_those_of_numpy_save() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    write_npy_f32(&path, &[3], &[1.0, -2.0, 0.5]).unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    expected.extend_from_slice(format!("{header:<117}\n").as_bytes());
    for value in [1.0f32, -2.0, 0.5] {
        expected.extend_from_slice(&value.to_le_bytes());
    }
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn nan_and_infinity_keep_their_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let data = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0];
    write_npy_f32(&path, &[4], &data).unwrap();
    let (_, back) = read_npy_f32(&path).unwrap();
    assert_eq!(back.map_bits(), data.map_bits());
}

trait MapBits {
    fn map_bits(&self) -> Vec<u32>;
}

impl MapBits for [f32] {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|value| value.to_bits()).collect()
    }
}

#[test]
fn a_write_that_cannot_be_done_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    write_npy_f32(&path, &[1], &[1.0]).unwrap();
    let error = write_npy_f32(&path, &[2], &[1.0]).unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
    assert_eq!(read_npy_f32(&path).unwrap().1, [1.0]);
    let error = write_npy_f32(&dir.path().join("none/x.npy"), &[1], &[1.0]).unwrap_err();
    assert!(error.to_string().contains("none/x.npy: cannot be written"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
