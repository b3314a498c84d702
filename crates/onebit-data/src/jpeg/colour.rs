//! From components to grey or red, green, blue, as libjpeg's `jdcolor.c`, and from four inks as Pillow.

use pulp::{Arch, Simd, WithSimd};

use super::frame::Frame;
use super::markers::Tables;
use super::upsample::Upsampling;
use super::{Failure, zeros};
use crate::Image;

/// Pixels whose colours are converted side by side.
const GROUP: usize = 64;
const HALF: i32 = 1 << 15;
const CR_TO_RED: i32 = 91_881;
const CB_TO_BLUE: i32 = 116_130;
const CR_TO_GREEN: i32 = -46_802;
const CB_TO_GREEN: i32 = -22_554;

/// What the components mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    Grey,
    Rgb,
    YCbCr,
    /// Inverted, as Adobe writes it.
    Cmyk,
    /// The same, its first three as luma and differences.
    Ycck,
}

impl Colours {
    /// As libjpeg guesses.
    fn of(frame: &Frame, tables: &Tables<'_>) -> Self {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), tables.adobe) {
            ([_], _) => Self::Grey,
            ([_, _, _], _) if tables.jfif => Self::YCbCr,
            ([_, _, _], Some(0)) => Self::Rgb,
            ([_, _, _], Some(_)) => Self::YCbCr,
            ([b'R', b'G', b'B'], None) => Self::Rgb,
            ([_, _, _], None) => Self::YCbCr,
            (_, None | Some(0)) => Self::Cmyk,
            (_, Some(_)) => Self::Ycck,
        }
    }
}

/// Puts the pixels together.
pub(super) fn convert(frame: &Frame, tables: &Tables<'_>) -> Result<Image, Failure> {
    let (height, width) = (frame.height, frame.width);
    let colours = Colours::of(frame, tables);
    let channels = if colours == Colours::Grey { 1 } else { 3 };
    let mut pixels = zeros::<u8>(height * width * channels)?;
    let padded = frame.units.1 * frame.most.1 * 8;
    let upsampling = |c| Upsampling::of(c, frame.most);
    let upsamplings: Vec<Upsampling> = frame.components.iter().map(upsampling).collect();
    let mut lines = vec![zeros::<u8>(padded)?; frame.components.len()];
    let mut sums = zeros::<u16>(padded)?;
    for (y, out) in pixels.chunks_exact_mut(width * channels).enumerate() {
        let parts = frame.components.iter().zip(&upsamplings).zip(&mut lines);
        for ((component, upsampling), line) in parts {
            upsampling.row(component, y, &mut sums, line);
        }
        match (colours, lines.as_slice()) {
            (Colours::Grey, [grey, ..]) => out.copy_from_slice(&grey[..width]),
            (Colours::Rgb, [red, green, blue]) => {
                for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
                    *out = [red[i], green[i], blue[i]];
                }
            }
            (Colours::YCbCr, [y, cb, cr]) => {
                let (y, cb, cr) = (&y[..width], &cb[..width], &cr[..width]);
                Arch::new().dispatch(RgbRow { y, cb, cr, out });
            }
            (Colours::Cmyk, [c, m, y, k]) => {
                for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
                    *out = [c[i], m[i], y[i]].map(|ink| on_black(ink, k[i]));
                }
            }
            (Colours::Ycck, [y, cb, cr, k]) => {
                for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
                    *out = rgb(y[i], cb[i], cr[i]).map(|light| on_black(255 - light, k[i]));
                }
            }
            _ => return super::refused("its components have no colours"),
        }
    }
    Ok(Image { height, width, channels, pixels })
}

/// [`rgb_row`], compiled for each of the instruction sets of which the CPU's best is taken.
struct RgbRow<'a> {
    y: &'a [u8],
    cb: &'a [u8],
    cr: &'a [u8],
    out: &'a mut [u8],
}

impl WithSimd for RgbRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        rgb_row(self.y, self.cb, self.cr, self.out);
    }
}

/// A row of red, green, blue: of some pixels first all reds, then all greens, all blues.
#[inline(always)]
fn rgb_row(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    let (mut reds, mut greens, mut blues) = ([0; GROUP], [0; GROUP], [0; GROUP]);
    let groups = y.chunks(GROUP).zip(cb.chunks(GROUP)).zip(cr.chunks(GROUP));
    for (((y, cb), cr), out) in groups.zip(out.chunks_mut(3 * GROUP)) {
        let lights = reds.iter_mut().zip(&mut greens).zip(&mut blues);
        for ((((red, green), blue), &y), (&cb, &cr)) in lights.zip(y).zip(cb.iter().zip(cr)) {
            [*red, *green, *blue] = rgb(y, cb, cr);
        }
        let lights = reds.iter().zip(&greens).zip(&blues);
        for (out, ((&red, &green), &blue)) in out.as_chunks_mut().0.iter_mut().zip(lights) {
            *out = [red, green, blue];
        }
    }
}

#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((CR_TO_RED * cr + HALF) >> 16);
    let green = y + ((CB_TO_GREEN * cb + CR_TO_GREEN * cr + HALF) >> 16);
    let blue = y + ((CB_TO_BLUE * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// The light of an ink and of black, both inverted, in the arithmetic of Pillow's `convert("RGB")`.
#[inline]
fn on_black(ink: u8, black: u8) -> u8 {
    let product = u32::from(255 - ink) * u32::from(black) + 128;
    let absorbed = ((product >> 8) + product) >> 8;
    u32::from(black).saturating_sub(absorbed) as u8
}
