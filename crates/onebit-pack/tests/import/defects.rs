//! Tensors that do not fit the network.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};

use super::{fixture, import};

/// A tensor that can be changed.
type Entry = (Dtype, Vec<usize>, Vec<u8>);

/// The checkpoint of the small ReActNet after a change.
fn changed(change: impl Fn(&mut BTreeMap<String, Entry>)) -> Vec<u8> {
    let bytes = fixture("reactnet.safetensors");
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = parsed.tensors().into_iter();
    let mut tensors: BTreeMap<String, Entry> = tensors
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    serialize(views, None).unwrap()
}

fn message(change: impl Fn(&mut BTreeMap<String, Entry>)) -> String {
    import(&changed(change), "reactnet").unwrap_err().to_string()
}

const KERNEL: &str = "module.layer2.0.binary_conv.weight";

#[test]
fn the_tensor_is_named() {
    let missing = message(|tensors| drop(tensors.remove("module.layer1.1.move2.bias")));
    assert_eq!(missing, "tensor `layer1.1.move2.bias` is missing");

    let extra = message(|tensors| {
        let copy = tensors["module.bn1.bias"].clone();
        tensors.insert("module.layer1.0.bn2.bias".to_owned(), copy);
    });
    assert_eq!(extra, "the network has no place for the tensor `layer1.0.bn2.bias`");

    let reshaped = message(|tensors| tensors.get_mut(KERNEL).unwrap().1 = vec![8, 16, 3, 3]);
    assert_eq!(
        reshaped,
        "tensor `layer2.0.binary_conv.weight` has the shape [8, 16, 3, 3], expected [16, 8, 3, 3]"
    );

    let flat = message(|tensors| {
        let mut kernel = tensors.remove(KERNEL).unwrap();
        kernel.1 = vec![1, 16 * 8 * 9];
        tensors.insert(format!("{KERNEL}s"), kernel);
    });
    assert!(flat.ends_with("has the shape [1, 1152], expected [1152, 1]"), "{flat}");

    for value in [f32::NAN, f32::INFINITY] {
        let not_finite = message(|tensors| {
            tensors.get_mut(KERNEL).unwrap().2[8..12].copy_from_slice(&value.to_le_bytes());
        });
        assert!(not_finite.contains("`layer2.0.binary_conv.weight`"), "{not_finite}");
    }

    let none = message(|tensors| {
        let fc = tensors.get_mut("module.fc.weight").unwrap();
        (fc.1, fc.2) = (vec![0, 16], vec![]);
    });
    assert_eq!(
        none,
        "tensor `fc.weight` has the shape [0, 16], expected [classes, features] and 1 to 65536 classes"
    );

    let integers = message(|tensors| tensors.get_mut("module.fc.bias").unwrap().0 = Dtype::I32);
    assert_eq!(integers, "tensor `fc.bias` is of another type than 16-, 32- or 64-bit floats");
}

#[test]
fn weights_of_exactly_zero_are_counted() {
    let zeros = changed(|tensors| {
        let data = &mut tensors.get_mut(KERNEL).unwrap().2;
        data[8..12].copy_from_slice(&0.0f32.to_le_bytes());
        data[40..44].copy_from_slice(&(-0.0f32).to_le_bytes());
        let stem = &mut tensors.get_mut("module.conv1.weight").unwrap().2;
        stem[..4].copy_from_slice(&0.0f32.to_le_bytes());
    });
    assert_eq!(import(&zeros, "reactnet").unwrap().ties, 2);
}
