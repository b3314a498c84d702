//! The loader: batches of each epoch in an order that depends on seed and epoch only, decoded ahead.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rayon::prelude::*;

use crate::augment::place;
use crate::buffer::{check_thread, room, zeros};
use crate::normalization::{Tables, tables};
use crate::random::shuffle;
use crate::{Augment, Dataset, Error, Normalization, ReadCost};

const PREFETCHED_BATCHES: usize = 2;

/// How a [`Loader`] makes batches.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub batch: usize,
    /// Mean and standard deviation to normalise with: those of the training set, even when the
    /// images are of another split.
    pub normalization: Normalization,
    /// Random changes to the images; none for evaluation.
    pub augment: Option<Augment>,
    /// The seed of the order and of the changes.
    pub seed: u64,
    /// Draw a new order for each epoch, instead of the order of the set.
    pub shuffle: bool,
    /// Leave out the last batch of an epoch if it is not full.
    pub drop_last: bool,
    /// The part of each batch that is made here.
    pub share: Share,
}

/// The part of each batch that one of several processes makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which process, counted from 0.
    pub rank: usize,
    /// How many there are; a whole batch is divided evenly among them.
    pub world: usize,
}

impl Share {
    /// Whole batches, for a single process.
    pub const WHOLE: Share = Share { rank: 0, world: 1 };

    fn of<T>(self, batch: &[T]) -> &[T] {
        let Share { rank, world } = self;
        &batch[batch.len() * rank / world..batch.len() * (rank + 1) / world]
    }

    fn check(self, batch: usize) -> Result<(), Error> {
        let Share { rank, world } = self;
        if world == 0 || !batch.is_multiple_of(world) {
            let expected = format!("a divisor of the batch size {batch}");
            return Err(Error::setting("number of processes", world, expected));
        }
        if rank >= world {
            return Err(Error::setting("rank of the process", rank, format!("0 to {}", world - 1)));
        }
        Ok(())
    }
}

/// Images ready for a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels: images x height x width x channels, channels innermost.
    pub images: Vec<f32>,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// The index of each image in its data set.
    pub indices: Vec<u32>,
}

/// Makes the batches of each epoch of a data set.
///
/// Order and content depend only on the configuration and the epoch, never on timing.
#[derive(Clone)]
pub struct Loader {
    work: Arc<Work>,
}

struct Work {
    dataset: Arc<dyn Dataset>,
    config: LoaderConfig,
    tables: Tables,
}

impl Loader {
    /// Checks the configuration against the data set.
    ///
    /// # Errors
    ///
    /// If the batch size is 0, the set is empty (or smaller than a batch when incomplete batches
    /// are left out) or has 2^32 images or more, the normalisation has another number of channels
    /// or a standard deviation that is not positive, the crop padding exceeds the image, or a batch
    /// cannot be shared evenly.
    pub fn new(dataset: Arc<dyn Dataset>, config: LoaderConfig) -> Result<Self, Error> {
        let [channels, height, width] = dataset.shape();
        let tables = tables(&config.normalization, channels)?;
        if let Some(augment) = &config.augment {
            augment.check(height, width)?;
        }
        if config.batch == 0 {
            return Err(Error::setting("batch size", 0, "at least 1"));
        }
        config.share.check(config.batch)?;
        let least = if config.drop_last { config.batch } else { 1 };
        if dataset.len() < least || u32::try_from(dataset.len()).is_err() {
            return Err(Error::setting(
                format!("number of images of data set `{}`", dataset.name()),
                dataset.len(),
                format!("{least} to {}", u32::MAX),
            ));
        }
        Ok(Self { work: Arc::new(Work { dataset, config, tables }) })
    }

    /// The number of batches in an epoch.
    #[must_use]
    pub fn batches(&self) -> usize {
        let (len, batch) = (self.work.dataset.len(), self.work.config.batch);
        if self.work.config.drop_last { len / batch } else { len.div_ceil(batch) }
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.work.dataset
    }

    /// The batches of `epoch` from batch `start_batch` on, prepared ahead on one background thread.
    ///
    /// The thread keeps at most two batches ready and ends when the iterator is dropped. After an
    /// error, such as too little memory for a batch or for the thread, the iterator ends.
    #[must_use]
    pub fn epoch(&self, epoch: u64, start_batch: usize) -> Batches {
        let range = start_batch.min(self.batches())..self.batches();
        let remaining = range.len();
        match self.start(epoch, range) {
            Ok((receiver, thread)) => {
                Batches { receiver: Some(receiver), thread: Some(thread), remaining, refused: None }
            }
            Err(error) => {
                Batches { receiver: None, thread: None, remaining: 0, refused: Some(error) }
            }
        }
    }

    fn start(&self, epoch: u64, range: Range<usize>) -> Result<Started, Error> {
        let (sender, receiver) = sync_channel(PREFETCHED_BATCHES);
        let work = Arc::clone(&self.work);
        let what = format!("the batches of data set `{}`", work.dataset.name());
        check_thread(&what)?;
        let started = thread::Builder::new().spawn(move || {
            if let Err(error) = work.run(epoch, range, &sender) {
                // Where nobody waits for a batch any more, nobody misses the error either.
                sender.send(Err(error)).ok();
            }
        });
        Ok((receiver, started.map_err(|source| Error::Thread { what, source })?))
    }
}

/// Where the batches come from, and the thread that makes them.
type Started = (Receiver<Result<Batch, Error>>, JoinHandle<()>);

impl Work {
    fn run(
        &self,
        epoch: u64,
        range: Range<usize>,
        sender: &SyncSender<Result<Batch, Error>>,
    ) -> Result<(), Error> {
        let mut order = room(self.dataset.len(), "the order of the images")?;
        order.extend((0..self.dataset.len()).map(|i| i as u32));
        if self.config.shuffle {
            shuffle(self.config.seed, epoch, &mut order);
        }
        for indices in order.chunks(self.config.batch).skip(range.start).take(range.len()) {
            let batch = self.batch(epoch, self.config.share.of(indices))?;
            if sender.send(Ok(batch)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch, Error> {
        let size: usize = self.dataset.shape().iter().product();
        let what = format!("a batch of {} images of `{}`", indices.len(), self.dataset.name());
        let mut images = zeros(size.saturating_mul(indices.len()), &what)?;
        let mut labels = room(indices.len(), &what)?;
        labels.extend(indices.iter().map(|&i| self.dataset.label(i as usize) as u32));
        let mut copied = room(indices.len(), &what)?;
        copied.extend_from_slice(indices);
        let resized = self.config.augment.is_some_and(|a| a.random_resized_crop.is_some());
        match self.dataset.read_cost() {
            ReadCost::Copy if !resized => {
                let mut bytes = zeros(size, &what)?;
                for (out, &index) in images.chunks_exact_mut(size).zip(indices) {
                    self.image(epoch, index, &mut bytes, out)?;
                }
            }
            ReadCost::Copy | ReadCost::Decode => {
                images.par_chunks_exact_mut(size).zip(indices).try_for_each_init(
                    Vec::new,
                    |bytes, (out, &index)| {
                        if bytes.is_empty() {
                            *bytes = zeros(size, &what)?;
                        }
                        self.image(epoch, index, bytes, out)
                    },
                )?;
            }
        }
        Ok(Batch { images, labels, indices: copied })
    }

    fn image(
        &self,
        epoch: u64,
        index: u32,
        bytes: &mut [u8],
        out: &mut [f32],
    ) -> Result<(), Error> {
        let augment = self.config.augment.unwrap_or_default();
        if augment.random_resized_crop.is_some() {
            self.resized_crop(augment, epoch, index, bytes)?;
        } else {
            self.dataset.read(index as usize, bytes)?;
        }
        let placement = augment.draw(self.config.seed, epoch, u64::from(index));
        place(bytes, self.dataset.shape(), placement, &self.tables, out);
        Ok(())
    }

    fn resized_crop(
        &self,
        augment: Augment,
        epoch: u64,
        index: u32,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        let [channels, height, width] = self.dataset.shape();
        let original = self.dataset.original(index as usize)?.to_channels(channels)?;
        let size = (original.height, original.width);
        let window = augment.window(self.config.seed, epoch, u64::from(index), size);
        let resized = original.resized_crop(window, height, width)?;
        bytes.copy_from_slice(&resized.pixels);
        Ok(())
    }
}

/// The batches of one epoch, in order.
pub struct Batches {
    receiver: Option<Receiver<Result<Batch, Error>>>,
    thread: Option<JoinHandle<()>>,
    remaining: usize,
    /// Why there are none, before it is told.
    refused: Option<Error>,
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        match self.receiver.as_ref()?.recv() {
            Ok(batch) => {
                self.remaining = if batch.is_ok() { self.remaining.saturating_sub(1) } else { 0 };
                Some(batch)
            }
            Err(_) => {
                self.remaining = 0;
                self.receiver = None;
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    resume_unwind(panic);
                }
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
