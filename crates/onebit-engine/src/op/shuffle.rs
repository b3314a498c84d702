/// One row with the channel `g * (C/groups) + i` of every pixel moved to `i * groups + g`.
pub(crate) fn channel_shuffle(row: &[f32], channels: usize, groups: usize, out: &mut [f32]) {
    let size = channels / groups;
    let pixels = out.chunks_exact_mut(channels).zip(row.chunks_exact(channels));
    for (out, pixel) in pixels {
        for (g, group) in pixel.chunks_exact(size).enumerate() {
            for (slot, &value) in out[g..].iter_mut().step_by(groups).zip(group) {
                *slot = value;
            }
        }
    }
}
