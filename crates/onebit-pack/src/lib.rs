//! Lowers a trained checkpoint to a packed 1-bit model file.
