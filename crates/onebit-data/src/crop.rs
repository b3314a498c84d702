//! Random windows of images.

use crate::Window;
use crate::random::Key;

const TRIES: u64 = 10;
const NARROWEST: f64 = 3.0 / 4.0;
const WIDEST: f64 = 4.0 / 3.0;

/// Draws a window of an image of `height` x `width`; see [`crate::Augment::window`].
pub(crate) fn window(scale: [f64; 2], key: Key, height: usize, width: usize) -> Window {
    let area = height as f64 * width as f64;
    let between = |k: u64, low: f64, high: f64| low + key.unit(k) * (high - low);
    for first in (1..=TRIES).map(|k| 4 * k) {
        let target = area * between(first, scale[0], scale[1]);
        let ratio = libm::exp(between(first + 1, libm::log(NARROWEST), libm::log(WIDEST)));
        let columns = libm::round(libm::sqrt(target * ratio)) as usize;
        let rows = libm::round(libm::sqrt(target / ratio)) as usize;
        if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
            return Window {
                top: key.below(first + 2, (height - rows + 1) as u64) as usize,
                left: key.below(first + 3, (width - columns + 1) as u64) as usize,
                height: rows,
                width: columns,
            };
        }
    }
    central(height, width)
}

/// The largest window in the centre that is neither too narrow nor too wide.
fn central(height: usize, width: usize) -> Window {
    let rows = height.min((width as f64 / NARROWEST).round() as usize).max(1);
    let columns = width.min((height as f64 * WIDEST).round() as usize).max(1);
    Window { top: (height - rows) / 2, left: (width - columns) / 2, height: rows, width: columns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn draws(scale: [f64; 2], height: usize, width: usize) -> Vec<Window> {
        let key = |index| Key { seed: 5, epoch: 2, index, stream: Stream::AUGMENT };
        (0..4000).map(|index| window(scale, key(index), height, width)).collect()
    }

    #[test]
    fn areas_are_even_ratios_are_even_on_a_logarithmic_scale_and_windows_lie_inside() {
        let (height, width) = (600, 800);
        let windows = draws([0.08, 0.5], height, width);
        let (mut area, mut ratio) = ([0; 4], [0; 4]);
        for window in &windows {
            assert!(window.top + window.height <= height && window.left + window.width <= width);
            let share = (window.height * window.width) as f64 / (height * width) as f64;
            let log = (window.width as f64 / window.height as f64).ln() / WIDEST.ln();
            assert!((0.079..=0.501).contains(&share) && log.abs() < 1.02, "{window:?}");
            area[(((share - 0.08) / 0.42).clamp(0.0, 0.999) * 4.0) as usize] += 1;
            ratio[((log + 1.0) / 2.0).clamp(0.0, 0.999).mul_add(4.0, 0.0) as usize] += 1;
        }
        for count in area.into_iter().chain(ratio) {
            // 1000 expected, a standard deviation of 27.
            assert!((890..=1110).contains(&count), "areas {area:?}, ratios {ratio:?}");
        }
        let mean = |of: &dyn Fn(&Window) -> f64| windows.iter().map(of).sum::<f64>() / 4000.0;
        let row = mean(&|w| w.top as f64 / (height - w.height).max(1) as f64);
        let column = mean(&|w| w.left as f64 / (width - w.width).max(1) as f64);
        assert!((row - 0.5).abs() < 0.02 && (column - 0.5).abs() < 0.02, "{row} {column}");
    }

    #[test]
    fn an_image_in_which_no_window_fits_is_cut_in_its_centre() {
        let whole = |height, width| draws([1.0, 1.0], height, width);
        let wide = Window { top: 0, left: 433, height: 100, width: 133 };
        assert!(whole(100, 1000).iter().all(|window| *window == wide));
        let tall = Window { top: 433, left: 0, height: 133, width: 100 };
        assert!(whole(1000, 100).iter().all(|window| *window == tall));
        let pixel = Window { top: 0, left: 0, height: 1, width: 1 };
        assert!(whole(1, 1).iter().all(|window| *window == pixel));
    }
}
