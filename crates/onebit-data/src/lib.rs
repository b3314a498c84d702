//! Image data sets: reading, decoding, augmentation and batches.
