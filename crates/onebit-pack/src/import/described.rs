//! Weights beside a graph that somebody else has described: any names, either order of axes, biases of convolutions.

use std::collections::{BTreeMap, BTreeSet};

use onebit_model::description::{SignOfZero, WeightLayout};
use onebit_model::file::Weights;
use onebit_model::op::{Param, Role};
use onebit_model::{
    Data, Description, ModelError, Node, NodeId, Op, Shape, Tensor, Threshold, Verified,
    WeightScale, bits, infer,
};

use super::error::shown_shape;
use super::official::channels_last;
use super::tensor::{Dtype, Stored};
use super::{COUNTER, Checkpoint, ImportError};
use onebit_files::shown;

/// Bytes of problems that a message lists.
const MAX_SHOWN: usize = 800;

/// Weights that have been read for a described graph.
#[derive(Clone, Debug)]
pub struct DescribedWeights {
    /// The network: biases of its convolutions are folded into the batch normalization behind, or are affine nodes.
    pub weights: Verified<Weights>,
    /// Tensors that were read.
    pub read: usize,
    /// Counters of training steps that were not.
    pub counters: usize,
    /// Binary weights that are exactly 0, where the description does not say that the sign of 0 is +1.
    pub ties: usize,
    /// What may not be meant.
    pub notes: Vec<String>,
}

/// Everything that is wrong with a file, a sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    pub(super) fn of(sentences: Vec<String>) -> Self {
        Problems(sentences)
    }

    /// One sentence for each tensor or operator.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many there are, and as many of them as a message holds.
    pub(super) fn shown(&self, one: &str, more: &str, what: &str) -> String {
        let count = self.0.len();
        let mut text = format!("{count} {} {what}: ", if count == 1 { one } else { more });
        let mut shown = 0;
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 && shown + problem.len() > MAX_SHOWN {
                return text + &format!("; and {} more", count - at);
            }
            shown += problem.len();
            text += if at > 0 { "; " } else { "" };
            text += problem;
        }
        text
    }
}

impl Checkpoint<'_> {
    /// The tensors as weights of a described graph.
    ///
    /// A tensor is called `NODE.SUFFIX`, as docs/format.md names it for each operation; a convolution or a binary layer may
    /// have a `bias` besides. A vector may have extents of 1 around it, and where it is no statistic and no bias, one value for
    /// all channels.
    ///
    /// # Errors
    /// All tensors that are missing, without a place, wrongly shaped, of another type or not finite, at once.
    pub fn described(&self, description: &Description) -> Result<DescribedWeights, ImportError> {
        let graph = &description.graph;
        let shapes = infer::shapes(graph).map_err(ModelError::from)?;
        let mut reader = Reader {
            checkpoint: self,
            description,
            used: BTreeSet::new(),
            found: vec![],
            notes: vec![],
        };
        let mut tensors = BTreeMap::new();
        let mut biases = BTreeMap::new();
        let mut ties = 0;
        for (id, node) in graph.ids().zip(&graph.nodes) {
            let x = node.inputs.first().map(|x| shapes[x.0]);
            for param in graph.params(id, &shapes) {
                let name = node.param_name(param.suffix);
                let Some(mut values) = x.and_then(|x| reader.values(node, &name, &param, x)) else {
                    continue;
                };
                if param.role == Role::Binary {
                    ties += reader.signs(node, &name, &mut values);
                }
                tensors.insert(name, float(param.shape, values));
            }
            if takes_bias(&node.op)
                && let Some(values) = reader.bias(node, shapes[id.0].channels)
            {
                biases.insert(id.0, values);
            }
        }
        reader.check_unused();
        let Reader { used, found, notes, .. } = reader;
        if !found.is_empty() {
            return Err(ImportError::Problems(Problems(found)));
        }
        let read = used.len();
        let graph = graph.clone().into_inner();
        let mut weights = Weights { graph, tensors };
        if description.sign_of_zero == SignOfZero::Plus {
            zero_is_plus(&mut weights, &shapes);
        }
        fold_biases(&mut weights, biases);
        let weights = Verified::<Weights>::new(weights)?;
        let counters = self.tensors.len() - read;
        Ok(DescribedWeights { weights, read, counters, ties, notes })
    }
}

struct Reader<'c> {
    checkpoint: &'c Checkpoint<'c>,
    description: &'c Description,
    used: BTreeSet<String>,
    found: Vec<String>,
    notes: Vec<String>,
}

impl<'c> Reader<'c> {
    /// Values of a parameter in our order; nothing, and a problem, where they are not there.
    fn values(&mut self, node: &Node, name: &str, param: &Param, x: Shape) -> Option<Vec<f32>> {
        let layout = self.description.layout;
        let shape = &param.shape;
        let expected = match (layout, &node.op, shape.as_slice()) {
            (WeightLayout::Oihw, _, &[o, h, w, i]) => vec![o, i, h, w],
            _ => shape.clone(),
        };
        let stored = self.stored(name, &expected)?;
        let vector = matches!(shape.as_slice(), [_]);
        let one_for_all = vector
            && param.role == Role::Float
            && param.suffix != "bias"
            && !matches!(node.op, Op::BatchNorm { .. });
        let fits = match vector {
            true => {
                let len: usize = stored.shape.iter().product();
                let flat = stored.shape.iter().filter(|&&extent| extent != 1).count() <= 1;
                flat && (len == param.len() || len == 1 && one_for_all)
            }
            false => stored.shape == expected,
        };
        if !fits {
            let found = shown_shape(&stored.shape);
            self.found.push(format!("`{name}` has the shape {found}, expected {expected:?}"));
            return None;
        }
        let values = self.finite(name, stored)?;
        Some(match (layout, shape.as_slice()) {
            (WeightLayout::Oihw, &[_, h, w, i]) => channels_last(&values, i, h * w),
            (WeightLayout::Oihw, &[_, _]) if reads_flattened(&node.op) => {
                channels_last(&values, x.channels, x.pixels())
            }
            (_, &[len]) if values.len() == 1 => vec![values[0]; len],
            _ => values,
        })
    }

    /// The bias of a convolution, if it has one.
    fn bias(&mut self, node: &Node, channels: usize) -> Option<Vec<f32>> {
        let name = node.param_name("bias");
        let stored = self.checkpoint.tensors.get(&name)?;
        self.used.insert(name.clone());
        if stored.shape.iter().product::<usize>() != channels {
            let found = shown_shape(&stored.shape);
            self.found.push(format!("`{name}` has the shape {found}, expected [{channels}]"));
            return None;
        }
        self.finite(&name, stored)
    }

    fn stored(&mut self, name: &str, expected: &[usize]) -> Option<&'c Stored<'c>> {
        let checkpoint = self.checkpoint;
        match checkpoint.tensors.get(name) {
            Some(stored) => {
                self.used.insert(name.to_owned());
                Some(stored)
            }
            None => {
                self.found.push(match checkpoint.objects.get(name) {
                    Some(class) => format!("`{name}` is an object of `{class}`, expected a tensor"),
                    None => format!("`{name}` is missing, expected {expected:?}"),
                });
                None
            }
        }
    }

    fn finite(&mut self, name: &str, stored: &Stored<'_>) -> Option<Vec<f32>> {
        if let Dtype::Other(_) = stored.dtype {
            self.found.push(format!("`{name}` is of another type than 16-, 32- or 64-bit floats"));
            return None;
        }
        let values = stored.values();
        if values.iter().all(|value| value.is_finite()) {
            return Some(values);
        }
        self.found.push(format!("`{name}` holds a value that is not finite as a 32-bit float"));
        None
    }

    /// Gives zeros of binary weights their sign, or counts them where it is the usual one.
    fn signs(&mut self, node: &Node, name: &str, values: &mut [f32]) -> usize {
        let plus = self.description.sign_of_zero == SignOfZero::Plus;
        let count = |wanted: f32| values.iter().filter(|&&value| value == wanted).count();
        let zeros = count(0.0);
        if zeros > 0 && zeros + count(1.0) == values.len() {
            // 0 and 1 stand for -1 and +1.
            if plus {
                self.found.push(format!(
                    "`{name}` holds only 0 and 1, which `sign_of_zero` would make +1 throughout; store -1 and +1"
                ));
            }
            return 0;
        }
        let size = values.first().map_or(1.0, |value| value.abs());
        if size != 1.0 && values.iter().all(|value| value.abs() == size) && has_no_scale(&node.op) {
            self.notes.push(format!(
                "`{name}` is +-{size} throughout; the size is dropped, `\"scale\": \"l1_detached\"` keeps it"
            ));
        }
        if plus {
            let zeros = values.iter_mut().filter(|value| **value == 0.0);
            zeros.for_each(|value| *value = f32::MIN_POSITIVE);
            return 0;
        }
        zeros
    }

    fn check_unused(&mut self) {
        for name in self.checkpoint.tensors.keys() {
            if !self.used.contains(name) && !name.ends_with(COUNTER) {
                self.found.push(format!("`{}` has no place in the graph", shown(name)));
            }
        }
        if self.description.sign_of_zero == SignOfZero::Minus {
            return;
        }
        for node in &self.description.graph.nodes {
            if node.op == (Op::Sign { threshold: Threshold::Dynamic }) {
                self.found.push(format!(
                    "the sign `{}` depends on the image, and `sign_of_zero` can only be `minus` with it",
                    node.name
                ));
            }
        }
    }
}

/// Operations whose tensors may have a bias that is folded.
fn takes_bias(op: &Op) -> bool {
    matches!(op, Op::Conv { .. } | Op::ConvBin { .. } | Op::LinearBin { .. })
}

fn has_no_scale(op: &Op) -> bool {
    let (Op::ConvBin { scale, .. } | Op::LinearBin { scale, .. }) = op else { return false };
    *scale == WeightScale::None
}

fn reads_flattened(op: &Op) -> bool {
    matches!(op, Op::Linear { .. } | Op::LinearBin { .. })
}

fn float(shape: Vec<usize>, values: Vec<f32>) -> Tensor {
    Tensor { shape, data: Data::F32(values) }
}

/// Signs of `x >= t` in place of those of `x > t`.
fn zero_is_plus(weights: &mut Weights, shapes: &[Shape]) {
    for (node, shape) in weights.graph.nodes.iter_mut().zip(shapes) {
        let name = node.param_name("threshold");
        match node.op {
            Op::Sign { threshold: Threshold::Zero } => {
                node.op = Op::Sign { threshold: Threshold::Static };
                let values = vec![bits::at_least(0.0); shape.channels];
                weights.tensors.insert(name, float(vec![shape.channels], values));
            }
            Op::Sign { threshold: Threshold::Static } => {
                if let Some(Data::F32(values)) =
                    weights.tensors.get_mut(&name).map(|tensor| &mut tensor.data)
                {
                    values.iter_mut().for_each(|t| *t = bits::at_least(*t));
                }
            }
            _ => {}
        }
    }
}

/// Biases of convolutions, by the positions of their nodes: subtracted from the mean of the batch normalization that alone
/// reads one, or else an affine node `NODE.bias` of their own.
fn fold_biases(weights: &mut Weights, mut biases: BTreeMap<usize, Vec<f32>>) {
    let Weights { graph, tensors } = weights;
    let readers = graph.readers();
    biases.retain(|&position, bias| {
        let [only] = readers[position][..] else { return true };
        let reader = &graph.nodes[only.0];
        let mean = tensors.get_mut(&reader.param_name("running_mean"));
        let Some(Data::F32(mean)) = mean.map(|tensor| &mut tensor.data) else { return true };
        for (mean, bias) in mean.iter_mut().zip(bias) {
            *mean -= *bias;
        }
        false
    });
    let mut moved: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len() + biases.len());
    for (position, mut node) in std::mem::take(&mut graph.nodes).into_iter().enumerate() {
        node.inputs.iter_mut().for_each(|input| *input = moved[input.0]);
        let name = node.param_name("bias");
        nodes.push(node);
        if let Some(bias) = biases.remove(&position) {
            let convolution = NodeId(nodes.len() - 1);
            let affine = Node { name, op: Op::Affine, inputs: vec![convolution] };
            let scale = vec![1.0; bias.len()];
            tensors.insert(affine.param_name("scale"), float(vec![bias.len()], scale));
            tensors.insert(affine.param_name("shift"), float(vec![bias.len()], bias));
            nodes.push(affine);
        }
        moved.push(NodeId(nodes.len() - 1));
    }
    graph.nodes = nodes;
}
