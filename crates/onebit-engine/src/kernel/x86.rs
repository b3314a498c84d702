//! The shared loops as a table for an x86-64 instruction set.

/// Defines `kernels()`, which gives the table to a CPU with all of the features, and compiles each entry with
/// them.
macro_rules! x86_kernels {
    (
        $isa:expr, [$($feature:tt),*], $vector:ty,
        conv_bin_layout: $layout:expr,
        conv_bin: |$bin:ident, $bits:ident, $bin_tile:ident| $conv_bin:expr,
        conv_lanes: $lanes:expr,
        linear_i8_lanes: $i8_lanes:expr,
        conv: |$real:ident, $floats:ident, $real_tile:ident| $conv:expr,
        conv_i8_layout: $layout_i8:expr,
        conv_i8: |$dot:ident, $map:ident, $memory:ident, $row:ident, $dot_tile:ident| $conv_i8:expr,
        winograd: |$stem:ident, $image:ident, $work:ident, $next_row:ident, $stem_tile:ident| $winograd:expr,
    ) => {
        pub(super) fn kernels() -> Option<&'static $crate::kernel::Kernels> {
            let detected = true $(&& std::is_x86_feature_detected!($feature))*;
            detected.then_some(&KERNELS)
        }

        static KERNELS: $crate::kernel::Kernels = $crate::kernel::Kernels {
            isa: $isa,
            conv_bin_layout: $layout,
            conv_lanes: $lanes,
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            conv_bin: |c, x, row_tile| unsafe { conv_bin(c, x, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            conv: |c, x, row_tile| unsafe { conv(c, x, row_tile) },
            conv_i8_layout: $layout_i8,
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            conv_i8: |c, x, workspace, next_row, row_tile| unsafe { conv_i8(c, x, workspace, next_row, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            winograd: |c, x, workspace, next_row, row_tile| unsafe { winograd(c, x, workspace, next_row, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            pool: |p, x, first, row, row_tile| unsafe { pool(p, x, first, row, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            copy: |x, row_tile| unsafe { copy(x, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            rectify: |row_tile| unsafe { rectify(row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            concat: |x, first, row_tile| unsafe { concat(x, first, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            shuffle: |x, groups, row_tile| unsafe { shuffle(x, groups, row_tile) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            moment: |m, x, stride, mean, sums| unsafe { moment(m, x, stride, mean, sums) },
            linear_i8_lanes: $i8_lanes,
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            linear_i8: |layer, x, out| unsafe { linear_i8(layer, x, out) },
            // SAFETY: `kernels` gives this table only to a CPU that has the features.
            scaled_tanh: |lambda, values| unsafe { scaled_tanh(lambda, values) },
        };

        $(#[target_feature(enable = $feature)])*
        fn conv_bin($bin: &ConvBin, $bits: BitMap<'_>, $bin_tile: &mut RowTile<'_>) {
            $conv_bin
        }

        $(#[target_feature(enable = $feature)])*
        fn conv($real: &Conv, $floats: FloatMap<'_>, $real_tile: &mut RowTile<'_>) {
            $conv
        }

        $(#[target_feature(enable = $feature)])*
        fn conv_i8(
            $dot: &$crate::packed::ConvI8,
            $map: FloatMap<'_>,
            $memory: &mut [u64],
            $row: &mut usize,
            $dot_tile: &mut RowTile<'_>,
        ) {
            $conv_i8
        }

        $(#[target_feature(enable = $feature)])*
        fn winograd(
            $stem: &$crate::packed::Winograd,
            $image: FloatMap<'_>,
            $work: &mut [f32],
            $next_row: &mut usize,
            $stem_tile: &mut RowTile<'_>,
        ) {
            $winograd
        }

        $(#[target_feature(enable = $feature)])*
        fn pool(
            pool: $crate::packed::Pool,
            x: FloatMap<'_>,
            first: usize,
            row: &mut [f32],
            row_tile: &mut RowTile<'_>,
        ) {
            $crate::kernel::real::pool::<$vector>(pool, x, first, row, row_tile);
        }

        $(#[target_feature(enable = $feature)])*
        fn copy(x: FloatMap<'_>, row_tile: &mut RowTile<'_>) {
            $crate::kernel::real::copy::<$vector>(x, row_tile);
        }

        $(#[target_feature(enable = $feature)])*
        fn rectify(row_tile: &mut RowTile<'_>) {
            $crate::kernel::dynamic::rectify::<$vector>(row_tile);
        }

        $(#[target_feature(enable = $feature)])*
        fn concat(x: [FloatMap<'_>; 2], first: usize, row_tile: &mut RowTile<'_>) {
            $crate::kernel::real::concat::<$vector>(x, first, row_tile);
        }

        $(#[target_feature(enable = $feature)])*
        fn shuffle(x: FloatMap<'_>, groups: usize, row_tile: &mut RowTile<'_>) {
            $crate::kernel::real::shuffle::<$vector>(x, groups, row_tile);
        }

        $(#[target_feature(enable = $feature)])*
        fn moment(
            moment: $crate::kernel::Moment,
            x: &[f32],
            stride: usize,
            mean: &[f32],
            sums: &mut [f32],
        ) {
            $crate::kernel::real::moment::<$vector>(moment, x, stride, mean, sums);
        }

        $(#[target_feature(enable = $feature)])*
        fn linear_i8(layer: &$crate::packed::LinearI8, x: &[f32], out: &mut [f32]) {
            $crate::kernel::linear_i8::linear_i8::<$vector>(layer, x, out);
        }

        $(#[target_feature(enable = $feature)])*
        fn scaled_tanh(lambda: f32, values: &mut [f32]) {
            $crate::kernel::scaled_tanh::scaled_tanh(lambda, values);
        }
    };
}

pub(super) use x86_kernels;
