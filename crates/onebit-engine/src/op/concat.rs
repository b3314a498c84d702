/// One row of two maps, the channels of the first in front of those of the second.
pub(crate) fn concat(rows: [&[f32]; 2], channels: [usize; 2], out: &mut [f32]) {
    let pixels = rows[0].chunks_exact(channels[0]).zip(rows[1].chunks_exact(channels[1]));
    for (pixel, (first, second)) in out.chunks_exact_mut(channels[0] + channels[1]).zip(pixels) {
        let (front, back) = pixel.split_at_mut(channels[0]);
        front.copy_from_slice(first);
        back.copy_from_slice(second);
    }
}
