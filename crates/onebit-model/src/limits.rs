//! Limits that every graph and file must respect, so that sizes can be computed before allocation.

/// Longest header of a `.onebit` file, in bytes.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Most nodes of a graph.
pub const MAX_NODES: usize = 4096;
/// Most tensors of a file.
pub const MAX_TENSORS: usize = 4096;
/// Longest name of a node or tensor, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest name of a class, in bytes; files of version 1 hold [`MAX_NAME_BYTES`].
pub const MAX_CLASS_NAME_BYTES: usize = 1024;
/// Longest text of each field of an [`Origin`](crate::Origin), in bytes.
pub const MAX_ORIGIN_BYTES: usize = 1 << 16;
/// Largest side of an image that preprocessing makes, in pixels.
pub const MAX_IMAGE_SIDE: usize = 1 << 14;
/// Most classes of a network.
pub const MAX_CLASSES: usize = 65_536;
/// Largest extent of one dimension (channels, height, width).
pub const MAX_EXTENT: usize = 1 << 16;
/// Most elements of one activation of one image.
pub const MAX_ELEMENTS: usize = 1 << 28;
/// Most elements of one parameter tensor.
pub const MAX_PARAMETERS: usize = 1 << 28;
/// Most products in a sum of products of 8-bit integers, so that sums fit in 32 bits: `2^16 * 128 * 255 < 2^31`.
pub const MAX_I8_PRODUCTS: usize = 1 << 16;
/// Most products in a sum of products of bits, so that sums are exact as 32-bit floats.
pub const MAX_BINARY_PRODUCTS: usize = 1 << 24;
/// Most elementary operations of a network on one image, as [`crate::cost::operations`] counts them: some hundred times
/// those of the largest networks on their own images, and an hour of one CPU.
pub const MAX_OPERATIONS: u64 = 1 << 42;
/// Largest convolution or pooling window side.
pub const MAX_KERNEL: usize = 31;
