//! From components to grey or red, green, blue, as libjpeg's `jdcolor.c`, and from four inks as Pillow.

use super::frame::Frame;
use super::markers::Tables;
use super::upsample::Upsampling;
use super::{Failure, zeros};
use crate::Image;

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
                for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
                    *out = rgb(y[i], cb[i], cr[i]);
                }
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

#[inline]
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
