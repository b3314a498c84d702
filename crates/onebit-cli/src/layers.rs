//! What layers are made of.

use onebit_model::cost::{Cost, LayerCost};

use crate::output::{Align, Table, thousands};

/// The layers with real weights and their shares of the operations and of the bytes. Hyper functions are counted
/// together, and so are the layers with a few numbers for each channel.
pub(crate) fn real_layers_table(cost: &Cost) -> String {
    use Align::{Left, Right};
    let mut table = Table::new([
        ("not 1-bit", Left),
        ("op", Left),
        ("OPs", Right),
        ("parameters", Right),
        ("bytes", Right),
        ("of all", Right),
    ]);
    let (mut hyper, mut others) = (Group::default(), Group::default());
    for layer in cost.layers.iter().filter(|layer| layer.bits() > 1) {
        match layer.op {
            "hyper_trunk" | "hyper_head" => hyper.add(layer),
            _ if layer.flops == 0 => others.add(layer),
            op => {
                let mut single = Group::default();
                single.add(layer);
                table.row(single.cells(layer.name.clone(), op, cost));
            }
        }
    }
    if hyper.layers > 0 {
        table.row(hyper.cells(format!("{} of hyper functions", hyper.layers), "", cost));
    }
    let name = format!("{} with a few numbers for each channel", others.layers);
    table.row(others.cells(name, "", cost));
    table.render() + "OPs stand for time: `onebit bench FILE --profile` measures it.\n"
}

/// Layers that are counted together.
#[derive(Default)]
struct Group {
    layers: usize,
    flops: u64,
    params: usize,
    bytes: usize,
}

impl Group {
    fn add(&mut self, layer: &LayerCost) {
        self.layers += 1;
        self.flops += layer.flops;
        self.params += layer.float_params;
        self.bytes += layer.float_bytes;
    }

    fn cells(&self, name: String, op: &str, cost: &Cost) -> [String; 6] {
        let (float, binary) = cost.bytes();
        let share = |part: f64, of: f64| format!("{:.1}%", 100.0 * part / of.max(1.0));
        let ops = if self.flops == 0 { "-".into() } else { share(self.flops as f64, cost.ops()) };
        [
            name,
            op.to_owned(),
            ops,
            thousands(self.params as u64),
            thousands(self.bytes as u64),
            share(self.bytes as f64, (float + binary) as f64),
        ]
    }
}
