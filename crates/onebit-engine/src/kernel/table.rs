//! The shared loops as the kernels of an instruction set.

/// Defines `kernels()`: the table for `every_cpu` of the target, or for a CPU with all features that are listed. The
/// floats of the shared loops are registers of `$vector`.
macro_rules! kernels {
    (every_cpu, $($table:tt)*) => {
        pub(super) fn kernels() -> Option<&'static $crate::kernel::Kernels> {
            static KERNELS: $crate::kernel::Kernels =
                $crate::kernel::table::table!(every_cpu, $($table)*);
            Some(&KERNELS)
        }
    };
    ([$($feature:tt),*], $($table:tt)*) => {
        pub(super) fn kernels() -> Option<&'static $crate::kernel::Kernels> {
            static KERNELS: $crate::kernel::Kernels =
                $crate::kernel::table::table!([$($feature),*], $($table)*);
            let detected = true $(&& std::is_x86_feature_detected!($feature))*;
            detected.then_some(&KERNELS)
        }
    };
}

/// A table; what `cpu` says holds for each of its kernels.
macro_rules! table {
    (
        $cpu:tt, $isa:expr, $vector:ty,
        conv_bin_layout: $conv_bin_layout:expr,
        conv_lanes: $conv_lanes:expr,
        conv_i8_layout: $conv_i8_layout:expr,
        linear_i8_lanes: $linear_i8_lanes:expr,
        conv_bin: |$conv_bin_task:ident| $conv_bin:expr,
        conv: |$conv_task:ident| $conv:expr,
        conv_i8: |$conv_i8_task:ident| $conv_i8:expr,
        winograd: |$winograd_task:ident| $winograd:expr,
    ) => {{
        use $crate::kernel::table::kernel;
        $crate::kernel::Kernels {
            isa: $isa,
            conv_bin_layout: $conv_bin_layout,
            conv_lanes: $conv_lanes,
            conv_i8_layout: $conv_i8_layout,
            linear_i8_lanes: $linear_i8_lanes,
            conv_bin: kernel!($cpu, conv_bin, |$conv_bin_task: ConvBinTask| $conv_bin),
            conv: kernel!($cpu, conv, |$conv_task: ConvTask| $conv),
            conv_i8: kernel!($cpu, conv_i8, |$conv_i8_task: ConvI8Task| $conv_i8),
            winograd: kernel!($cpu, winograd, |$winograd_task: WinogradTask| $winograd),
            pool: kernel!($cpu, pool, |task: PoolTask| $crate::kernel::real::pool::<$vector>(task)),
            copy: kernel!($cpu, copy, |task: CopyTask| $crate::kernel::real::copy::<$vector>(task)),
            rectify: kernel!($cpu, rectify, |task: RowTile| {
                $crate::kernel::dynamic::rectify::<$vector>(task)
            }),
            concat: kernel!($cpu, concat, |task: ConcatTask| {
                $crate::kernel::real::concat::<$vector>(task)
            }),
            shuffle: kernel!($cpu, shuffle, |task: ShuffleTask| {
                $crate::kernel::real::shuffle::<$vector>(task)
            }),
            moment: kernel!($cpu, moment, |task: MomentTask| {
                $crate::kernel::real::moment::<$vector>(task)
            }),
            linear_i8: kernel!($cpu, linear_i8, |task: LinearI8Task| {
                $crate::kernel::linear_i8::linear_i8::<$vector>(task)
            }),
            scaled_tanh: kernel!($cpu, scaled_tanh, |task: ScaledTanhTask| {
                $crate::kernel::scaled_tanh::scaled_tanh(task)
            }),
        }
    }};
}

/// One kernel: a function that does a task, compiled with the features.
macro_rules! kernel {
    (every_cpu, $name:ident, |$task:ident: $type:ident| $body:expr) => {
        |$task: $crate::kernel::$type<'_>| $body
    };
    ([$($feature:tt),*], $name:ident, |$task:ident: $type:ident| $body:expr) => {{
        $(#[target_feature(enable = $feature)])*
        fn $name($task: $crate::kernel::$type<'_>) {
            $body
        }
        // SAFETY: `kernels` gives this table only to a CPU that has the features.
        |task: $crate::kernel::$type<'_>| unsafe { $name(task) }
    }};
}

pub(super) use {kernel, kernels, table};
