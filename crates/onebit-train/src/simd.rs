//! Runs plain loops compiled for the widest vector unit of this CPU.

use std::sync::LazyLock;

static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

struct Run<F>(F);

impl<R, F: FnOnce() -> R> pulp::WithSimd for Run<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _simd: S) -> R {
        (self.0)()
    }
}

/// Calls `f`, which the compiler inlines into code for this CPU's vector unit.
///
/// Rust neither reorders nor contracts float operations, so the result does not depend on the unit.
#[inline(always)]
pub(crate) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    ARCH.dispatch(Run(f))
}
