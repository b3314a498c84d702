//! Trains 1-bit networks on the CPU with explicit forward and backward passes.
