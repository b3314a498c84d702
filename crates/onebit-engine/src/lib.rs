//! Runs packed 1-bit networks with XOR and popcount.
