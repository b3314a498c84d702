//! Mean and standard deviation of images, and the bytes of pixels normalised with them.

use onebit_model::Normalization;

use crate::Error;

/// Per channel, the normalised value of each byte.
pub(crate) type Tables = Vec<[f32; 256]>;

/// Measures images given as interleaved bytes: `pixels` holds whole pixels of `channels` bytes.
///
/// A channel whose pixels are all equal gets a standard deviation of 1.
#[cfg(feature = "datasets")]
#[must_use]
pub fn measure_normalization(pixels: &[u8], channels: usize) -> Normalization {
    let mut histograms = vec![[0u64; 256]; channels];
    for pixel in pixels.chunks_exact(channels.max(1)) {
        for (histogram, &value) in histograms.iter_mut().zip(pixel) {
            histogram[usize::from(value)] += 1;
        }
    }
    let (mean, std) = histograms.iter().map(mean_and_std).unzip();
    Normalization { mean, std }
}

#[cfg(feature = "datasets")]
fn mean_and_std(histogram: &[u64; 256]) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0u64, 0u128, 0u128);
    for (value, &times) in (0u128..).zip(histogram) {
        count += times;
        sum += value * u128::from(times);
        squares += value * value * u128::from(times);
    }
    if count == 0 {
        return (0.0, 1.0);
    }
    let mean = sum as f64 / count as f64;
    let std = (squares as f64 / count as f64 - mean * mean).max(0.0).sqrt();
    let std = if std > 0.0 { std / 255.0 } else { 1.0 };
    ((mean / 255.0) as f32, std as f32)
}

/// Per channel, `(value / 255 - mean) / std` for each byte.
///
/// # Errors
/// Another number of channels, values that are not finite, and a `std` not above 0.
pub(crate) fn tables(normalization: &Normalization, channels: usize) -> Result<Tables, Error> {
    check(normalization, channels)?;
    let table = |(&mean, &std): (&f32, &f32)| {
        let mut table = [0.0; 256];
        for (value, entry) in (0u8..=255).zip(&mut table) {
            let scaled = f64::from(value) / 255.0;
            *entry = ((scaled - f64::from(mean)) / f64::from(std)) as f32;
        }
        table
    };
    Ok(normalization.mean.iter().zip(&normalization.std).map(table).collect())
}

/// Refuses another number of channels, values that are not finite, and a `std` not above 0.
pub(crate) fn check(normalization: &Normalization, channels: usize) -> Result<(), Error> {
    if normalization.fits(channels) {
        return Ok(());
    }
    Err(Error::setting(
        "normalisation",
        format!("mean {:?} and std {:?}", normalization.mean, normalization.std),
        format!("{channels} finite means and {channels} positive standard deviations"),
    ))
}

/// Writes `pixels` (one byte for each channel) to `out` through `tables`.
pub(crate) fn normalize<'a>(
    pixels: impl Iterator<Item = &'a [u8]>,
    out: &mut [f32],
    tables: &Tables,
) {
    if let [table] = tables.as_slice() {
        for (out, pixel) in out.iter_mut().zip(pixels) {
            *out = table[usize::from(pixel[0])];
        }
        return;
    }
    for (out, pixel) in out.chunks_exact_mut(tables.len()).zip(pixels) {
        for ((out, &value), table) in out.iter_mut().zip(pixel).zip(tables) {
            *out = table[usize::from(value)];
        }
    }
}
