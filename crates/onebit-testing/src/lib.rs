//! What the tests of several crates share: an interpreter of graphs that knows nothing of the trainer and the
//! engine, random numbers, and networks made of them.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "support for tests: what is wrong ends the test"
)]

mod forward;
mod network;
mod number;
mod random;

pub use forward::{Params, Signs, forward, forward_bounded, packed_params};
pub use network::{balance_signs, balanced_weights};
pub use number::{Bounded, Number};
pub use random::{Random, random_seed};
