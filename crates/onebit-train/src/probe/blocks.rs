//! Binary convolutions and the blocks around them, found by their edges.

use onebit_model::{Graph, NodeId, Op};

/// A binary convolution.
pub(super) struct Site {
    pub(super) convolution: NodeId,
    /// The block that begins with it.
    pub(super) block: Option<Block>,
}

/// All that leads from the input of a sign to the next map that has several readers, or leaves the convolutions.
pub(super) struct Block {
    /// What the block's first sign reads.
    pub(super) input: NodeId,
    /// Its non-linear modules.
    pub(super) modules: Vec<NodeId>,
    /// Its last map.
    pub(super) output: NodeId,
}

/// The binary convolutions in graph order. Those that lead to the same map, such as that of a binary shortcut or the two
/// halves of a block that doubles its channels, share one block.
pub(super) fn sites(graph: &Graph) -> Vec<Site> {
    let readers = readers(graph);
    let is_binary = |id: &NodeId| matches!(graph.nodes[id.0].op, Op::ConvBin { .. });
    let paths: Vec<Vec<NodeId>> =
        graph.ids().filter(is_binary).map(|id| path(graph, &readers, id)).collect();
    let site = |(position, path): (usize, &Vec<NodeId>)| {
        let end = path.last();
        let is_first = !paths[..position].iter().any(|earlier| earlier.last() == end);
        let sharing = paths[position..].iter().filter(|other| other.last() == end);
        let block = is_first.then(|| block(graph, path, sharing.flatten()));
        Site { convolution: path[0], block }
    };
    paths.iter().enumerate().map(site).collect()
}

fn block<'a>(graph: &Graph, path: &[NodeId], nodes: impl Iterator<Item = &'a NodeId>) -> Block {
    let sign = graph.nodes[path[0].0].inputs[0];
    let is_module = |id: &&NodeId| matches!(graph.nodes[id.0].op, Op::Prelu { .. });
    let mut modules: Vec<NodeId> = nodes.filter(is_module).copied().collect();
    modules.sort_unstable();
    modules.dedup();
    Block { input: graph.nodes[sign.0].inputs[0], modules, output: path[path.len() - 1] }
}

/// The nodes behind `first` that alone read what is before them.
fn path(graph: &Graph, readers: &[Vec<NodeId>], first: NodeId) -> Vec<NodeId> {
    let mut path = vec![first];
    let mut last = first;
    while let [next] = readers[last.0][..] {
        if !continues(&graph.nodes[next.0].op) {
            break;
        }
        path.push(next);
        last = next;
    }
    path
}

fn continues(op: &Op) -> bool {
    matches!(
        op,
        Op::BatchNorm { .. }
            | Op::Prelu { .. }
            | Op::Add
            | Op::Concat
            | Op::ChannelShuffle { .. }
            | Op::MaxPool { .. }
    )
}

/// For each node those that read its map as such; a hyper function reads statistics of it.
fn readers(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut readers = graph.readers();
    for of_node in &mut readers {
        of_node.dedup();
        of_node.retain(|id| !matches!(graph.nodes[id.0].op, Op::HyperTrunk { .. }));
    }
    readers
}

#[cfg(test)]
mod tests {
    use onebit_model::arch::{self, Config, Downsample, Method, NonlinearityPosition, Task};

    use super::*;

    /// Input, modules and output.
    type Names = (String, Vec<String>, String);

    /// The blocks, and the convolutions that begin none.
    fn found(config: &Config) -> (Vec<Names>, Vec<String>) {
        let graph = arch::build(config, &Task::unnamed([3, 32, 32], 10)).unwrap();
        let name = |id: &NodeId| graph.nodes[id.0].name.clone();
        let (mut blocks, mut others) = (Vec::new(), Vec::new());
        for site in sites(&graph) {
            match site.block {
                Some(Block { input, modules, output }) => {
                    blocks.push((name(&input), modules.iter().map(name).collect(), name(&output)));
                }
                None => others.push(name(&site.convolution)),
            }
        }
        (blocks, others)
    }

    fn small(method: Method, position: NonlinearityPosition) -> Config {
        Config {
            widths: Some(vec![8, 16]),
            blocks: Some(vec![1, 1]),
            nonlinearity_position: position,
            downsample: Some(Downsample::Binary),
            ..Config::new("resnet-small", method)
        }
    }

    #[test]
    fn blocks_of_residual_networks() {
        use NonlinearityPosition::{AfterAdd, BeforeAdd, BeforeBn};
        let cases = [
            (Method::Bireal, AfterAdd, None, "add"),
            (Method::Reactnet, AfterAdd, Some("prelu"), "prelu"),
            (Method::Dybnn, AfterAdd, Some("prelu"), "prelu"),
            (Method::Dybnn, BeforeAdd, Some("prelu"), "add"),
            (Method::Ftbnn, BeforeBn, Some("prelu"), "add"),
        ];
        for (method, position, module, output) in cases {
            let (blocks, others) = found(&small(method, position));
            let block = |input: &str, stage: &str| {
                let name = |node: &str| format!("{stage}.0.{node}");
                (input.to_owned(), module.map(name).into_iter().collect(), name(output))
            };
            let second = format!("stage1.0.{output}");
            let expected = [block("stem.bn", "stage1"), block(&second, "stage2")];
            assert_eq!(blocks, expected, "{method:?} {position:?}");
            assert_eq!(others, ["stage2.0.down.conv"], "{method:?} {position:?}");
        }
    }

    #[test]
    fn halves_that_are_concatenated_are_one_block() {
        let config = Config {
            widths: Some(vec![8, 16]),
            ..Config::new("reactnet-a-cifar", Method::Reactnet)
        };
        let (blocks, others) = found(&config);
        let block = |input: &str, name: &str| {
            let prelu = format!("feature.1.{name}.prelu");
            (input.to_owned(), vec![prelu.clone()], prelu)
        };
        assert_eq!(blocks, [block("stem.bn", "3x3"), block("feature.1.3x3.prelu", "pw")]);
        assert_eq!(others, ["feature.1.pw_down2.conv"]);
    }

    #[test]
    fn blocks_without_shortcuts() {
        let config =
            Config { widths: Some(vec![8, 8, 16]), ..Config::new("vgg-small", Method::Reactnet) };
        let (blocks, others) = found(&config);
        let prelu = |layer: usize| format!("feature.{layer}.prelu");
        let expected = [
            ("stem.bn".to_owned(), vec![prelu(1)], prelu(1)),
            (prelu(1), vec![prelu(2)], prelu(2)),
        ];
        assert_eq!((blocks.as_slice(), others.len()), (&expected[..], 0));
    }
}
