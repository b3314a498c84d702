//! Channel shuffle (ShuffleNet, section 3.1): lets information cross the groups of grouped convolutions.

use onebit_model::Shape;

use super::{Backward, Forward, Layer};

pub(crate) struct ChannelShuffle {
    channels: usize,
    groups: usize,
}

impl ChannelShuffle {
    pub(crate) fn new(groups: usize, x: Shape) -> Self {
        ChannelShuffle { channels: x.channels, groups }
    }

    /// Pairs of (input channel, output channel).
    fn moves(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (groups, size) = (self.groups, self.channels / self.groups);
        (0..groups).flat_map(move |g| (0..size).map(move |i| (g * size + i, i * groups + g)))
    }
}

impl Layer for ChannelShuffle {
    fn forward(&self, io: Forward<'_>) {
        let pixels = io.x.chunks_exact(self.channels).zip(io.y.chunks_exact_mut(self.channels));
        for (x, y) in pixels {
            self.moves().for_each(|(from, to)| y[to] = x[from]);
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let Some(gx) = io.gx.into_buffer() else { return };
        let pixels = io.gy.chunks_exact(self.channels).zip(gx.chunks_exact_mut(self.channels));
        for (gy, gx) in pixels {
            self.moves().for_each(|(from, to)| gx[from] += gy[to]);
        }
    }
}
