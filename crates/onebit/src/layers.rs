//! What layers are made of.

use onebit_model::cost::Cost;

use crate::output::{Align, Table, thousands};

/// The layers with real weights, those with a few numbers for each channel counted together.
pub(crate) fn real_layers_table(cost: &Cost) -> String {
    use Align::{Left, Right};
    let mut table =
        Table::new([("not 1-bit", Left), ("op", Left), ("OPs", Right), ("parameters", Right)]);
    let (mut others, mut numbers) = (0, 0);
    for layer in cost.layers.iter().filter(|layer| layer.bits() > 1) {
        if layer.flops == 0 {
            others += 1;
            numbers += layer.float_params;
            continue;
        }
        let share = 100.0 * layer.flops as f64 / cost.ops().max(1.0);
        let params = thousands(layer.float_params as u64);
        table.row([layer.name.clone(), layer.op.to_owned(), format!("{share:.1}%"), params]);
    }
    let name = format!("{others} with a few numbers for each channel");
    table.row([name, String::new(), "-".to_owned(), thousands(numbers as u64)]);
    table.render()
}
