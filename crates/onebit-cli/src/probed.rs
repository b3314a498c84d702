//! What `probe` measures: names, means, tables.

use std::fmt::Write as _;
use std::path::PathBuf;

use onebit_train::probe::{Linearity, ProbedLayer};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::output::{Align, Table};
use crate::plain;

/// Most characters of the name of a checkpoint.
const LABEL: usize = 100;

/// One of the numbers of a layer.
pub(crate) struct Measure {
    /// In files.
    pub(crate) key: &'static str,
    /// In tables.
    pub(crate) heading: &'static str,
    /// Of its line in pictures.
    pub(crate) name: &'static str,
    /// Of its chart in pictures.
    pub(crate) caption: &'static str,
    /// Of the chart's y axis.
    pub(crate) unit: &'static str,
    pub(crate) of: fn(&ProbedLayer) -> Option<f64>,
}

/// Everything that is measured, in the order of columns.
pub(crate) const MEASURES: [Measure; 6] = [
    Measure {
        key: "qe_weights",
        heading: "QE weights",
        name: "QE of weights",
        caption: "quantization error of the weights",
        unit: "share of squares lost",
        of: |layer| layer.qe_weights,
    },
    Measure {
        key: "qe_activations",
        heading: "QE activations",
        name: "QE of activations",
        caption: "quantization error of the activations",
        unit: "share of squares lost",
        of: |layer| layer.qe_activations,
    },
    Measure {
        key: "r2",
        heading: "R2",
        name: "R2",
        caption: "R2 of binary on real convolution",
        unit: "share of variance explained",
        of: |layer| layer.r2,
    },
    Measure {
        key: "linearity_before_module",
        heading: "before module",
        name: "linearity before module",
        caption: "block linearity, before the module",
        unit: "share of variance explained",
        of: |layer| linearity(layer, |linearity| linearity.before_module),
    },
    Measure {
        key: "linearity_after_module",
        heading: "after module",
        name: "linearity after module",
        caption: "block linearity, after the module",
        unit: "share of variance explained",
        of: |layer| linearity(layer, |linearity| linearity.after_module),
    },
    Measure {
        key: "linearity_block",
        heading: "block",
        name: "linearity of block",
        caption: "block linearity, block's output",
        unit: "share of variance explained",
        of: |layer| linearity(layer, |linearity| linearity.block),
    },
];

/// The measures of one checkpoint.
#[derive(Serialize)]
pub(crate) struct Probed {
    /// Its folder or file.
    pub(crate) path: PathBuf,
    /// Finished epochs; absent for a file of weights alone.
    pub(crate) epoch: Option<usize>,
    /// The stage of training that the weights are from.
    pub(crate) stage: &'static str,
    /// Of each measure over the layers that have it.
    pub(crate) mean: Means,
    /// The binary convolutions in graph order.
    pub(crate) layers: Vec<ProbedLayer>,
}

/// Means of [`MEASURES`].
#[derive(Clone, Copy)]
pub(crate) struct Means(pub(crate) [Option<f64>; MEASURES.len()]);

impl Means {
    pub(crate) fn of(layers: &[ProbedLayer]) -> Self {
        Means(MEASURES.each_ref().map(|measure| {
            let values: Vec<f64> = layers.iter().filter_map(measure.of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        }))
    }
}

impl Serialize for Means {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(MEASURES.len()))?;
        for (measure, mean) in MEASURES.iter().zip(self.0) {
            map.serialize_entry(measure.key, &mean)?;
        }
        map.end()
    }
}

impl Probed {
    /// `epoch 5`, or the name of the file.
    pub(crate) fn label(&self) -> String {
        match self.epoch {
            Some(epoch) => format!("epoch {epoch}"),
            None => {
                let name = self.path.file_name().unwrap_or_default().to_string_lossy();
                plain::cut(&plain::line(&name), LABEL).into_owned()
            }
        }
    }

    /// The layers and their means.
    pub(crate) fn table(&self) -> String {
        let mut table = table(&self.label());
        for layer in &self.layers {
            let values = MEASURES.each_ref().map(|measure| (measure.of)(layer));
            table.row(row(layer.name.clone(), layer.constant_channels.to_string(), values));
        }
        table.row([const { String::new() }; MEASURES.len() + 2]);
        let constant: usize = self.layers.iter().map(|layer| layer.constant_channels).sum();
        table.row(row("mean".to_owned(), constant.to_string(), self.mean.0));
        table.render()
    }
}

/// The means of every checkpoint.
pub(crate) fn means_table(checkpoints: &[Probed]) -> String {
    let mut table = table("means");
    for probed in checkpoints {
        let constant: usize = probed.layers.iter().map(|layer| layer.constant_channels).sum();
        table.row(row(probed.label(), constant.to_string(), probed.mean.0));
    }
    table.render()
}

/// One line for each layer of each checkpoint; what is absent is empty.
pub(crate) fn csv(checkpoints: &[Probed]) -> String {
    let mut text = "epoch,layer,channels,constant_channels".to_owned();
    for measure in &MEASURES {
        _ = write!(text, ",{}", measure.key);
    }
    text.push('\n');
    for probed in checkpoints {
        let epoch = probed.epoch.map_or(String::new(), |epoch| epoch.to_string());
        for layer in &probed.layers {
            let ProbedLayer { name, channels, constant_channels, .. } = layer;
            _ = write!(text, "{epoch},{name},{channels},{constant_channels}");
            for measure in &MEASURES {
                let value = (measure.of)(layer).map_or(String::new(), |value| value.to_string());
                _ = write!(text, ",{value}");
            }
            text.push('\n');
        }
    }
    text
}

fn linearity(layer: &ProbedLayer, which: fn(&Linearity) -> Option<f64>) -> Option<f64> {
    layer.linearity.as_ref().and_then(which)
}

fn table(name: &str) -> Table {
    let [a, b, c, d, e, f] = MEASURES.each_ref().map(|measure| (measure.heading, Align::Right));
    Table::new([(name, Align::Left), ("constant", Align::Right), a, b, c, d, e, f])
}

fn row(
    name: String,
    constant: String,
    values: [Option<f64>; MEASURES.len()],
) -> [String; MEASURES.len() + 2] {
    let [a, b, c, d, e, f] =
        values.map(|value| value.map_or("-".to_owned(), |value| format!("{value:.4}")));
    [name, constant, a, b, c, d, e, f]
}
