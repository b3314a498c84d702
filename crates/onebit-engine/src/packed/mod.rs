//! Weights in the order in which the kernels read them, and the windows that move over maps.

mod conv;
mod conv_bin;
pub(crate) mod conv_i8;
mod linear_i8;
mod pool;
mod window;
pub(crate) mod winograd;

pub(crate) use conv::Conv;
pub(crate) use conv_bin::{ConvBin, Layout};
pub(crate) use conv_i8::{ConvI8, LayoutI8, TensorsI8};
pub(crate) use linear_i8::LinearI8;
pub(crate) use pool::{Pool, PoolKind};
pub(crate) use window::Window;
pub(crate) use winograd::Winograd;
