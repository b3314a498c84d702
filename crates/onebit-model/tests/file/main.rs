//! The packed file and the weights of a checkpoint.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
mod round_trip;
