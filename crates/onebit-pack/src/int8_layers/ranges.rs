//! The ranges of the channels that a classifier reads.

/// A channel's range is taken to be at least this part of the widest one, so that a channel that hardly changes does not
/// get weights beyond all others.
const MIN_WIDTH: f64 = 1.0 / 1024.0;

/// The smallest and the largest value of each channel, and always 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl Ranges {
    /// No value of `channels` channels yet.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Ranges { low: vec![0.0; channels], high: vec![0.0; channels] }
    }

    /// Takes in maps with channels innermost; what is not finite is left out.
    pub fn add(&mut self, values: &[f32]) {
        for pixel in values.chunks_exact(self.low.len().max(1)) {
            let ranges = self.low.iter_mut().zip(&mut self.high);
            for ((low, high), &value) in ranges.zip(pixel).filter(|(_, value)| value.is_finite()) {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
    }

    /// Smallest values.
    pub(super) fn lowest(&self) -> &[f32] {
        &self.low
    }

    /// Width of each channel's range, none of them zero.
    pub(super) fn widths(&self) -> Vec<f64> {
        let of = |(&low, &high): (&f32, &f32)| f64::from(high) - f64::from(low);
        let widths: Vec<f64> = self.low.iter().zip(&self.high).map(of).collect();
        let widest = widths.iter().copied().fold(0.0, f64::max);
        let least = if widest > f64::from(f32::MIN_POSITIVE) { MIN_WIDTH * widest } else { 1.0 };
        widths.into_iter().map(|width| width.max(least)).collect()
    }
}
