//! The packed file and the weights of a checkpoint.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod attacks;
mod common;
mod contents;
mod dump;
mod forge;
mod int8;
mod round_trip;
mod tiny;
mod versions;
