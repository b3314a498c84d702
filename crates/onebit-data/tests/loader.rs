//! What the loader promises: order, content, resuming, errors and speed of stopping.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onebit_data::random::shuffled;
use onebit_data::{
    Augment, Batch, Dataset, Error, Folder, InMemory, Loader, LoaderConfig, Normalization,
    ReadCost, Share, Split,
};

const SHAPE: [usize; 3] = [3, 5, 4];
const SIZE: usize = 60;
/// Scaling rounds rows, then columns, to whole bytes.
const ROUNDING: f64 = 1.5;

fn dataset(len: usize) -> InMemory {
    let pixels = (0..len * SIZE).map(|i| (i * 7 % 251) as u8).collect();
    let labels = (0..len as u32).map(|i| i % 4).collect();
    let classes = (0..4).map(|class| format!("class {class}")).collect();
    InMemory::new("made up", SHAPE, classes, labels, pixels, None).unwrap()
}

fn config(batch: usize) -> LoaderConfig {
    LoaderConfig {
        batch,
        normalization: Normalization { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.25, 0.3] },
        augment: None,
        seed: 9,
        shuffle: false,
        drop_last: false,
        share: Share::WHOLE,
    }
}

fn batches(loader: &Loader, epoch: u64, start: usize) -> Vec<Batch> {
    loader.epoch(epoch, start).collect::<Result<_, _>>().unwrap()
}

#[test]
fn processes_share_each_batch_evenly() {
    let whole =
        Loader::new(Arc::new(dataset(10)), LoaderConfig { shuffle: true, ..config(4) }).unwrap();
    let share = |rank, world| {
        let share = Share { rank, world };
        Loader::new(Arc::new(dataset(10)), LoaderConfig { shuffle: true, share, ..config(4) })
    };
    let parts = [share(0, 2).unwrap(), share(1, 2).unwrap()].map(|part| batches(&part, 3, 0));
    for (at, batch) in batches(&whole, 3, 0).into_iter().enumerate() {
        let [first, second] = [&parts[0][at], &parts[1][at]];
        assert_eq!([&first.indices[..], &second.indices].concat(), batch.indices);
        assert_eq!([&first.images[..], &second.images].concat(), batch.images);
        assert_eq!(first.labels.len(), second.labels.len());
    }
    for (rank, world, expected) in [
        (0, 3, "number of processes is 3, expected a divisor of the batch size 4"),
        (0, 0, "number of processes is 0, expected a divisor of the batch size 4"),
        (2, 2, "rank of the process is 2, expected 0 to 1"),
    ] {
        assert_eq!(share(rank, world).err().unwrap().to_string(), expected);
    }
}

#[test]
fn without_shuffle_images_come_in_order_and_normalised() {
    let set = Arc::new(dataset(10));
    let loader = Loader::new(set.clone(), config(4)).unwrap();
    assert_eq!(loader.batches(), 3);
    let all = batches(&loader, 0, 0);
    let sizes: Vec<usize> = all.iter().map(|batch| batch.labels.len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
    let mut bytes = [0; SIZE];
    for batch in &all {
        for ((image, &label), &index) in
            batch.images.chunks(SIZE).zip(&batch.labels).zip(&batch.indices)
        {
            set.read(index as usize, &mut bytes).unwrap();
            assert_eq!(label, index % 4);
            for (i, (&value, &byte)) in image.iter().zip(&bytes).enumerate() {
                let (mean, std) = ([0.5, 0.4, 0.3][i % 3], [0.2, 0.25, 0.3][i % 3]);
                let expected = (f64::from(byte) / 255.0 - mean) / std;
                assert!((f64::from(value) - expected).abs() < 1e-6);
            }
        }
    }
    let order: Vec<u32> = all.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(order, (0..10).collect::<Vec<u32>>());
}

#[test]
fn shuffle_follows_the_documented_permutation_and_drop_last_drops() {
    let loader = Loader::new(
        Arc::new(dataset(10)),
        LoaderConfig { shuffle: true, drop_last: true, ..config(4) },
    )
    .unwrap();
    assert_eq!(loader.batches(), 2);
    for epoch in [0, 1, 77] {
        let all = batches(&loader, epoch, 0);
        let order: Vec<u32> = all.iter().flat_map(|batch| batch.indices.clone()).collect();
        assert_eq!(order, shuffled(9, epoch, 10)[..8]);
    }
}

#[test]
fn a_resumed_epoch_equals_the_rest_of_a_whole_one() {
    let padded = Augment { crop_padding: 2, horizontal_flip: true, ..Augment::default() };
    let resized = Augment { random_resized_crop: Some([0.2, 1.0]), ..Augment::default() };
    for augment in [padded, resized] {
        let config = LoaderConfig { shuffle: true, augment: Some(augment), ..config(6) };
        let loader = Loader::new(Arc::new(dataset(40)), config).unwrap();
        let whole = batches(&loader, 5, 0);
        assert_eq!(batches(&loader, 5, 0), whole);
        assert_eq!(batches(&loader, 5, 3), whole[3..]);
        assert!(batches(&loader, 5, 7).is_empty());
        assert!(batches(&loader, 5, 900).is_empty());
        assert_ne!(batches(&loader, 6, 0), whole);
    }
}

/// Pads, cuts and mirrors pixel by pixel, as the documentation says.
fn reference_augment(bytes: &[u8], augment: Augment, epoch: u64, index: u64) -> Vec<f32> {
    let [channels, height, width] = SHAPE;
    let placement = augment.draw(9, epoch, index);
    let mut out = Vec::new();
    for y in 0..height as i32 {
        for x in 0..width as i32 {
            let x = if placement.mirrored { width as i32 - 1 - x } else { x };
            let (row, column) = (y + placement.top, x + placement.left);
            let inside = (0..height as i32).contains(&row) && (0..width as i32).contains(&column);
            for channel in 0..channels {
                let at = (row * width as i32 + column) * channels as i32 + channel as i32;
                let byte = if inside { bytes[at as usize] } else { 0 };
                let (mean, std) = ([0.5, 0.4, 0.3][channel], [0.2, 0.25, 0.3][channel]);
                out.push((f64::from(byte) / 255.0 - mean) / std);
            }
        }
    }
    out.into_iter().map(|value| value as f32).collect()
}

#[test]
fn crops_and_flips_equal_a_plain_reference() {
    let set = Arc::new(dataset(300));
    for (crop_padding, horizontal_flip) in [(0, true), (2, false), (1, true), (4, true)] {
        let augment = Augment { crop_padding, horizontal_flip, ..Augment::default() };
        let loader =
            Loader::new(set.clone(), LoaderConfig { augment: Some(augment), ..config(300) })
                .unwrap();
        let batch = &batches(&loader, 3, 0)[0];
        let mut bytes = [0; SIZE];
        let mut seen = std::collections::HashSet::new();
        for (i, image) in batch.images.chunks(SIZE).enumerate() {
            set.read(i, &mut bytes).unwrap();
            let expected = reference_augment(&bytes, augment, 3, i as u64);
            let close = image.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close, "image {i} with {augment:?}");
            let placement = augment.draw(9, 3, i as u64);
            let reach = crop_padding as i32;
            assert!((-reach..=reach).contains(&placement.top));
            assert!((-reach..=reach).contains(&placement.left));
            assert!(horizontal_flip || !placement.mirrored);
            seen.insert((placement.top, placement.left, placement.mirrored));
        }
        let places = (2 * crop_padding + 1).pow(2) * if horizontal_flip { 2 } else { 1 };
        assert!(seen.len() >= places * 3 / 4, "{} of {places} places", seen.len());
    }
}

#[test]
fn resized_crops_are_of_the_image_before_it_was_made_to_fit() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("one")).unwrap();
    let (height, width) = (48usize, 64usize);
    let pixel = |x: usize, y: usize| [(4 * x) as u8, (5 * y) as u8, (3 * x + y) as u8];
    let picture = image::RgbImage::from_fn(width as u32, height as u32, |x, y| {
        image::Rgb(pixel(x as usize, y as usize))
    });
    for i in 0..40 {
        picture.save(folder.path().join(format!("one/{i:02}.png"))).unwrap();
    }
    let size = Some((16, 16));
    let set = Folder::open(folder.path(), Split::Train, size).unwrap();
    let augment = Augment {
        random_resized_crop: Some([0.3, 1.0]),
        horizontal_flip: true,
        ..Augment::default()
    };
    let loader =
        Loader::new(Arc::new(set), LoaderConfig { augment: Some(augment), ..config(40) }).unwrap();
    let batch = &batches(&loader, 1, 0)[0];
    for (i, found) in batch.images.chunks(16 * 16 * 3).enumerate() {
        let window = augment.window(9, 1, i as u64, (height, width));
        let mirrored = augment.draw(9, 1, i as u64).mirrored;
        // The picture is linear in x and y, and so is a scaled part of it, away from the edges.
        for y in 3..13 {
            for x in 3..13 {
                let column = if mirrored { 15 - x } else { x };
                let across = (column as f64 + 0.5) / 16.0 * window.width as f64 - 0.5;
                let down = (y as f64 + 0.5) / 16.0 * window.height as f64 - 0.5;
                let (across, down) = (across + window.left as f64, down + window.top as f64);
                let expected = [4.0 * across, 5.0 * down, 3.0 * across + down];
                for channel in 0..3 {
                    let (mean, std) = ([0.5, 0.4, 0.3][channel], [0.2, 0.25, 0.3][channel]);
                    let value = f64::from(found[(y * 16 + x) * 3 + channel]);
                    let byte = (value * std + mean) * 255.0;
                    let close = (byte - expected[channel]).abs() < ROUNDING;
                    assert!(close, "image {i}, {window:?}: {byte} is not {}", expected[channel]);
                }
            }
        }
    }
}

/// Counts reads, decodes on several threads, and fails at one image.
struct Failing {
    inner: InMemory,
    reads: AtomicUsize,
    bad: usize,
    cost: ReadCost,
}

impl Dataset for Failing {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }
    fn classes(&self) -> &[String] {
        self.inner.classes()
    }
    fn label(&self, i: usize) -> usize {
        self.inner.label(i)
    }
    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        assert!(i != 1_000, "image 1000 panics");
        self.inner.read(if i == self.bad { usize::MAX } else { i }, out)
    }
    fn normalization(&self) -> Normalization {
        self.inner.normalization()
    }
    fn read_cost(&self) -> ReadCost {
        self.cost
    }
}

fn failing(len: usize, bad: usize, cost: ReadCost) -> Arc<Failing> {
    Arc::new(Failing { inner: dataset(len), reads: AtomicUsize::new(0), bad, cost })
}

#[test]
fn an_error_arrives_in_its_place_and_ends_the_epoch() {
    for cost in [ReadCost::Copy, ReadCost::Decode] {
        let loader = Loader::new(failing(30, 13, cost), config(5)).unwrap();
        let results: Vec<bool> = loader.epoch(0, 0).map(|batch| batch.is_ok()).collect();
        assert_eq!(results, [true, true, false]);
    }
}

#[test]
fn decoding_on_several_threads_gives_the_same_batches() {
    let copied = Loader::new(failing(50, usize::MAX, ReadCost::Copy), config(7)).unwrap();
    let decoded = Loader::new(failing(50, usize::MAX, ReadCost::Decode), config(7)).unwrap();
    assert_eq!(batches(&copied, 0, 0), batches(&decoded, 0, 0));
}

#[test]
fn dropping_the_iterator_stops_the_thread() {
    let set = failing(900, usize::MAX, ReadCost::Copy);
    let loader = Loader::new(set.clone(), config(10)).unwrap();
    let mut epoch = loader.epoch(0, 0);
    epoch.next().unwrap().unwrap();
    drop(epoch);
    let reads = set.reads.load(Ordering::SeqCst);
    assert!(reads <= 50, "{reads} images were read for one batch of 10");
    drop(loader);
    assert_eq!(Arc::strong_count(&set), 1);
}

#[test]
#[should_panic(expected = "image 1000 panics")]
fn a_panic_of_the_thread_reaches_the_consumer() {
    let loader = Loader::new(failing(1_100, usize::MAX, ReadCost::Copy), config(200)).unwrap();
    for batch in loader.epoch(0, 0) {
        batch.unwrap();
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refuse = |config: LoaderConfig, part: &str| {
        let Err(error) = Loader::new(Arc::new(dataset(3)), config) else { panic!("{part}") };
        assert!(error.to_string().contains(part), "{error}");
    };
    refuse(config(0), "batch size is 0");
    refuse(
        LoaderConfig { drop_last: true, ..config(4) },
        "number of images of data set `made up` is 3",
    );
    let normalization = Normalization { mean: vec![0.0], std: vec![1.0] };
    refuse(LoaderConfig { normalization, ..config(1) }, "expected 3 finite means");
    let normalization = Normalization { mean: vec![0.0; 3], std: vec![1.0, 0.0, 1.0] };
    refuse(LoaderConfig { normalization, ..config(1) }, "3 positive standard deviations");
    let augmented = |crop_padding, random_resized_crop, part: &str| {
        let augment = Augment { crop_padding, random_resized_crop, horizontal_flip: false };
        refuse(LoaderConfig { augment: Some(augment), ..config(1) }, part);
    };
    augmented(5, None, "crop padding is 5, expected at most 4");
    augmented(1, Some([0.5, 1.0]), "crop padding is 1, expected 0 where");
    augmented(0, Some([0.5, 0.4]), "random resized crop is [0.5, 0.4], expected two shares");
    augmented(0, Some([0.0, 0.4]), "random resized crop is [0, 0.4]");
    augmented(0, Some([0.5, 1.1]), "random resized crop is [0.5, 1.1]");
}
