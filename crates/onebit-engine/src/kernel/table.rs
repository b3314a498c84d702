//! The shared loops as the kernels of an instruction set.

/// Defines `kernels()`: the table for every CPU of the target, or for one with the features that are listed; then also
/// their token. The floats of the shared loops are registers of `$vector`.
macro_rules! kernels {
    (Baseline, $($table:tt)*) => {
        pub(super) fn kernels() -> Option<&'static $crate::kernel::Kernels> {
            static KERNELS: $crate::kernel::Kernels =
                $crate::kernel::table::table!(Baseline, $($table)*);
            Some(&KERNELS)
        }
    };
    ($token:ident = [$($feature:tt),*], $($table:tt)*) => {
        pub(super) fn kernels() -> Option<&'static $crate::kernel::Kernels> {
            static KERNELS: $crate::kernel::Kernels =
                $crate::kernel::table::table!(($token, [$($feature),*]), $($table)*);
            let detected = true $(&& std::is_x86_feature_detected!($feature))*;
            detected.then_some(&KERNELS)
        }

        /// Proof that the CPU has the features: only a function that enables them makes one.
        #[derive(Clone, Copy)]
        pub(super) struct $token(());

        impl $token {
            $(#[target_feature(enable = $feature)])*
            #[inline]
            fn new() -> Self {
                $token(())
            }
        }

        impl $crate::kernel::vector::Token for $token {
            #[inline(always)]
            fn call<F: $crate::kernel::vector::Function>(self, function: F) -> F::Output {
                $(#[target_feature(enable = $feature)])*
                #[inline(never)]
                fn call<F: $crate::kernel::vector::Function>(function: F) -> F::Output {
                    function.run()
                }
                // SAFETY: the token proves that the CPU has the features.
                unsafe { call(function) }
            }
        }
    };
}

/// The table of a CPU.
macro_rules! table {
    (
        $cpu:tt, $isa:expr, $vector:ty,
        conv_bin_layout: $conv_bin_layout:expr,
        conv_lanes: $conv_lanes:expr,
        conv_i8_layout: $conv_i8_layout:expr,
        linear_lanes: $linear_lanes:expr,
        linear_i8_lanes: $linear_i8_lanes:expr,
        conv_bin: |$conv_bin_token:ident, $conv_bin_task:ident| $conv_bin:expr,
        conv: |$conv_token:ident, $conv_task:ident| $conv:expr,
        conv_i8: |$conv_i8_token:ident, $conv_i8_task:ident| $conv_i8:expr,
        winograd: |$winograd_token:ident, $winograd_task:ident| $winograd:expr,
        linear: |$linear_token:ident, $linear_task:ident| $linear:expr,
    ) => {{
        use $crate::kernel::table::kernel;
        $crate::kernel::Kernels {
            isa: $isa,
            conv_bin_layout: $conv_bin_layout,
            conv_lanes: $conv_lanes,
            conv_i8_layout: $conv_i8_layout,
            linear_lanes: $linear_lanes,
            linear_i8_lanes: $linear_i8_lanes,
            conv_bin: kernel!($cpu, conv_bin, |$conv_bin_token, $conv_bin_task: ConvBinTask| {
                $conv_bin
            }),
            conv: kernel!($cpu, conv, |$conv_token, $conv_task: ConvTask| $conv),
            conv_i8: kernel!($cpu, conv_i8, |$conv_i8_token, $conv_i8_task: ConvI8Task| $conv_i8),
            winograd: kernel!($cpu, winograd, |$winograd_token, $winograd_task: WinogradTask| {
                $winograd
            }),
            pool: kernel!(
                $cpu,
                pool,
                |token, task: PoolTask| $crate::kernel::real::pool::<$vector>(token, task)
            ),
            copy: kernel!(
                $cpu,
                copy,
                |token, task: CopyTask| $crate::kernel::real::copy::<$vector>(token, task)
            ),
            rectify: kernel!($cpu, rectify, |token, task: RowTile| {
                $crate::kernel::dynamic::rectify::<$vector>(token, task)
            }),
            concat: kernel!($cpu, concat, |token, task: ConcatTask| {
                $crate::kernel::real::concat::<$vector>(token, task)
            }),
            shuffle: kernel!($cpu, shuffle, |token, task: ShuffleTask| {
                $crate::kernel::real::shuffle::<$vector>(token, task)
            }),
            moment: kernel!($cpu, moment, |token, task: MomentTask| {
                $crate::kernel::real::moment::<$vector>(token, task)
            }),
            linear: kernel!($cpu, linear, |$linear_token, $linear_task: LinearTask| $linear),
            linear_i8: kernel!($cpu, linear_i8, |token, task: LinearI8Task| {
                $crate::kernel::linear_i8::linear_i8::<$vector>(token, task)
            }),
            scaled_tanh: kernel!($cpu, scaled_tanh, |_, task: ScaledTanhTask| {
                $crate::kernel::scaled_tanh::scaled_tanh(task)
            }),
        }
    }};
}

/// A function that does a task with the CPU's token.
macro_rules! kernel {
    (Baseline, $name:ident, |$token:pat_param, $task:ident: $type:ident| $body:expr) => {
        |$task: $crate::kernel::$type<'_>| {
            let $token = $crate::kernel::vector::Baseline;
            $body
        }
    };
    (
        ($cpu:ident, [$($feature:tt),*]), $name:ident,
        |$token:pat_param, $task:ident: $type:ident| $body:expr
    ) => {{
        $(#[target_feature(enable = $feature)])*
        fn $name($task: $crate::kernel::$type<'_>) {
            let $token = $cpu::new();
            $body
        }
        // SAFETY: `kernels` gives this table only to a CPU that has the features.
        |task: $crate::kernel::$type<'_>| unsafe { $name(task) }
    }};
}

pub(super) use {kernel, kernels, table};
