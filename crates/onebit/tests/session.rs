//! Models opened and run: the same answers by every way in.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{INPUT, model, pixels, write_png};
use onebit::{Classification, Error, Image, Isa, Model, not_finite, softmax};
use tempfile::tempdir;

#[test]
fn a_model_is_the_same_from_a_file_and_from_bytes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onebit");
    fs::write(&path, model().to_bytes().unwrap()).unwrap();
    let opened = Model::open(&path).unwrap();
    let read = Model::from_bytes(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(opened.verified(), read.verified());
    assert_eq!((opened.arch(), opened.input_shape()), ("resnet-small", INPUT));
    assert_eq!(opened.classes(), ["ant", "bee", "cat", "dog"]);
    assert_eq!(opened.normalization().mean, [0.5, 0.4, 0.3]);
}

#[test]
fn threads_and_kernels_give_the_same_bits() {
    let model = model();
    let mut random = onebit_testing::Random(7);
    let images = random.floats(7 * INPUT.iter().product::<usize>(), -2.0, 2.0);
    let logits = |threads| {
        let mut session = model.session().threads(threads).build().unwrap();
        assert_eq!(session.threads(), threads);
        let all = session.logits(&images).unwrap();
        let two = session.logits(&images[..images.len() / 7 * 2]).unwrap();
        assert_eq!(all[..8], two, "few images, whose rows are shared");
        all
    };
    let one = logits(1);
    assert!(not_finite(&one, 4).is_empty() && one.len() == 28);
    assert_eq!(logits(2), one);
    assert_eq!(logits(3), one);
    let reference = model.session().isa(Isa::Reference).build().unwrap().logits(&images).unwrap();
    let close = reference.iter().zip(&one).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs()));
    assert!(close, "{reference:?} {one:?}");
}

#[test]
fn a_photograph_is_classified_as_its_preprocessed_pixels_are() {
    let model = model();
    let image = Image::from_pixels(45, 61, 3, pixels(1, 61, 45)).unwrap();
    let mut session = model.session().build().unwrap();
    let seen = session.classify(&image).unwrap();
    let input = session.preprocessing().unwrap().apply(&image).unwrap();
    assert_eq!(session.logits(&input).unwrap(), seen.logits());
    let guesses: Vec<_> = seen.top(9).collect();
    assert_eq!(guesses.len(), 4, "no more than there are");
    assert!(guesses.windows(2).all(|pair| pair[0].probability >= pair[1].probability));
    let probabilities = softmax(seen.logits());
    for guess in guesses {
        assert_eq!(guess.probability, probabilities[guess.index]);
        assert_eq!(guess.label, model.classes()[guess.index]);
    }
}

#[test]
fn files_are_classified_together_and_what_is_wrong_with_one_stands_in_its_place() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_png(&at("a.png"), &pixels(1, 61, 45), 61, 45);
    fs::write(at("b.png"), "no image").unwrap();
    write_png(&at("c.png"), &pixels(2, 20, 16), 20, 16);
    let mut session = model().session().threads(2).build().unwrap();
    let seen = session.classify_files(&["a.png", "b.png", "c.png", "d.png"].map(at)).unwrap();
    let [Ok(a), Err(b), Ok(c), Err(d)] = seen.as_slice() else { panic!("{seen:?}") };
    for (name, seen) in [("a.png", a), ("c.png", c)] {
        let alone = session.classify(&Image::open(at(name)).unwrap()).unwrap();
        assert_eq!(alone.logits(), seen.logits(), "{name}");
    }
    assert!(b.to_string().contains("b.png: file type is"), "{b}");
    assert!(d.to_string().contains("d.png"), "{d}");
    assert!(session.classify_files::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn input_of_the_wrong_size_is_an_error() {
    let mut session = model().session().build().unwrap();
    let said = session.logits(&[0.0; 961]).unwrap_err().to_string();
    assert!(said.contains("the image has 1 value, expected 16x20x3 = 960"), "{said}");
    let said = session.run(&[0.0; 960], &mut [0.0; 3]).unwrap_err().to_string();
    assert!(said.contains("3 places, the network has 4"), "{said}");
    assert!(session.logits(&[]).unwrap().is_empty());
    let said = Image::from_pixels(2, 2, 3, vec![0; 11]).unwrap_err().to_string();
    assert!(said.contains("length of the pixels is 11, expected 2 x 2 x 3"), "{said}");
    assert!(Image::from_pixels(0, 2, 3, vec![]).is_err());
    assert!(Image::from_pixels(1, 1, 4, vec![0; 4]).is_err());
}

#[test]
fn logits_that_are_no_numbers_are_refused() {
    let model = model();
    let error = Classification::new(&model, vec![0.0, f32::NAN, 0.0, 0.0]).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(Classification::new(&model, vec![0.0; 3]).is_err());
    let classification = Classification::new(&model, vec![0.0, 1.0, 3.0, 3.0]).unwrap();
    assert_eq!(classification.top(2).map(|guess| guess.label).collect::<Vec<_>>(), ["cat", "dog"]);
}

#[test]
fn what_is_no_model_is_called_by_its_name() {
    let folder = tempdir().unwrap();
    let photo = folder.path().join("photo.png");
    write_png(&photo, &pixels(1, 2, 2), 2, 2);
    let said = Model::open(&photo).unwrap_err().to_string();
    assert!(said.contains("this is a PNG image, expected a packed model"), "{said}");
    let said = Model::open(folder.path().join("none")).unwrap_err().to_string();
    assert!(said.contains("none"), "{said}");
    assert!(matches!(Model::from_bytes(b"short").unwrap_err(), Error::Model(_)));
}

#[test]
fn an_image_of_another_size_can_be_run() {
    let mut session = model().session().input_size([24, 28]).build().unwrap();
    let image = Image::from_pixels(24, 28, 3, pixels(5, 28, 24)).unwrap();
    assert_eq!(session.classify(&image).unwrap().logits().len(), 4);
}
