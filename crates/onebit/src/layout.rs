//! The order of the values of an image.

/// Writes the values of an image `[channels, height, width]` as `[height, width, channels]`, which [`Session`](crate::Session)
/// takes.
///
/// # Panics
/// `channels` is 0.
pub fn channels_last(image: &[f32], channels: usize, out: &mut [f32]) {
    let pixels = image.len() / channels;
    for (channel, plane) in image.chunks_exact(pixels.max(1)).enumerate() {
        for (pixel, &value) in out.chunks_exact_mut(channels).zip(plane) {
            pixel[channel] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::channels_last;

    #[test]
    fn channels_go_innermost() {
        let mut out = [0.0; 6];
        channels_last(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], 2, &mut out);
        assert_eq!(out, [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
    }
}
