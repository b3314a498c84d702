//! The packed file and the weights of a checkpoint.

#![allow(clippy::unwrap_used)]

mod common;
mod round_trip;
