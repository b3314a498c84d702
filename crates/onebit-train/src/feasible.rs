//! Whether a network can be trained with batches of a size on this machine, before anything is allocated.

use std::fs;

use onebit_model::memory::has_room;
use onebit_model::op::Role;
use onebit_model::{Graph, Op, Verified, infer};

use crate::net::images_per_microbatch;
use crate::plan::Plan;
use crate::{Recipe, TrainError};

/// Batches that a loader and a step hold at once: two ready, one in the making, one at work.
const BATCHES: u64 = 4;

/// Bytes beside those that are counted: what the allocator gives the thread that reads images, and its buffers.
const SPARE: u64 = 128 << 20;

/// What training a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Trained values.
    pub(crate) parameters: u64,
    /// The network and its buffers, in bytes.
    pub(crate) net: u64,
    /// The optimizer, the average and the batches, in bytes.
    pub(crate) beside: u64,
}

impl Needs {
    /// Those of the recipe's network `graph` on its images.
    ///
    /// # Errors
    /// A graph whose shapes do not fit.
    pub(crate) fn of(recipe: &Recipe, graph: &Verified<Graph>) -> Result<Self, TrainError> {
        let train = &recipe.train;
        let net = net_bytes(graph, train.batch)?;
        let (parameters, statistics) = values(graph)?;
        let copies = 2 + u64::from(train.ema.is_some());
        let image = product(&graph.input_shape());
        let batches = BATCHES.saturating_mul(image).saturating_mul(train.batch as u64);
        let values = (parameters + statistics).saturating_mul(copies).saturating_add(batches);
        Ok(Needs { parameters, net, beside: values.saturating_mul(4) })
    }

    /// All of it, in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.net.saturating_add(self.beside)
    }
}

/// Refuses more memory than this machine has.
///
/// # Errors
/// It has less.
pub(crate) fn check_memory(needs: Needs, batch: usize) -> Result<(), TrainError> {
    match machine_memory() {
        Some(there) if needs.bytes() > there => {
            Err(TrainError::Memory { needed: needs.bytes(), there: Some(there), batch })
        }
        _ => Ok(()),
    }
}

/// Asks the system whether it would give what is needed, and a quarter more with some spare, before anything is written.
///
/// # Errors
/// It says no.
pub(crate) fn reserve(needs: Needs, batch: usize) -> Result<(), TrainError> {
    let all = needs.bytes();
    let with_spare = all.saturating_add(all / 4).saturating_add(SPARE);
    match has_room(usize::try_from(with_spare).unwrap_or(usize::MAX)) {
        true => Ok(()),
        false => Err(no_memory(with_spare, batch)),
    }
}

/// The error for `needed` bytes that the system does not give.
pub(crate) fn no_memory(needed: u64, batch: usize) -> TrainError {
    TrainError::Memory { needed, there: None, batch }
}

/// Bytes of a network that is trained with steps of at most `batch` images: parameters, gradients, activations.
///
/// # Errors
/// A graph whose shapes do not fit.
pub(crate) fn net_bytes(graph: &Verified<Graph>, batch: usize) -> Result<u64, TrainError> {
    let shapes = infer::shapes(graph)?;
    let microbatch = images_per_microbatch(batch);
    let plan = Plan::new(graph, &shapes, microbatch, &[]);
    let sum = |lens: &[usize]| lens.iter().fold(0u64, |sum, &len| sum.saturating_add(len as u64));
    let (floats, words) = (sum(&plan.slots), sum(&plan.bit_slots));
    let (parameters, statistics) = values(graph)?;
    let microbatches = batch.max(1).div_ceil(microbatch) as u64;
    let of_microbatch = floats.saturating_add(parameters).saturating_add(words.saturating_mul(2));
    let all =
        of_microbatch.saturating_mul(microbatches).saturating_add(2 * parameters + statistics);
    Ok(all.saturating_mul(4))
}

/// Numbers of trained values and of running statistics; the limits of a graph keep them small.
fn values(graph: &Verified<Graph>) -> Result<(u64, u64), TrainError> {
    let shapes = infer::shapes(graph)?;
    let (mut trained, mut statistics) = (0, 0);
    for param in graph.ids().flat_map(|id| graph.params(id, &shapes)) {
        let sum = if param.role == Role::Statistic { &mut statistics } else { &mut trained };
        *sum += product(&param.shape);
    }
    Ok((trained, statistics))
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().fold(1u64, |product, &extent| product.saturating_mul(extent as u64))
}

/// Refuses a batch normalization over a single value, which has no variance: it gives its bias whatever the value.
///
/// # Errors
/// The first one.
pub(crate) fn check_norms(graph: &Verified<Graph>, batch: usize) -> Result<(), TrainError> {
    let shapes = infer::shapes(graph)?;
    for (node, shape) in graph.nodes.iter().zip(&shapes) {
        if matches!(node.op, Op::BatchNorm { .. }) && shape.pixels().saturating_mul(batch) < 2 {
            let (node, height, width) = (node.name.clone(), shape.height, shape.width);
            return Err(TrainError::OneValue { node, batch, height, width });
        }
    }
    Ok(())
}

/// Bytes of memory and swap that this process can have, where the system tells.
pub(crate) fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let swap = kilobytes(&text, "SwapTotal:").unwrap_or(0);
    let memory = kilobytes(&text, "MemTotal:")?.saturating_mul(1024);
    let of_group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let of_group = of_group.and_then(|limit| limit.trim().parse().ok()).unwrap_or(u64::MAX);
    Some(memory.min(of_group).saturating_add(swap.saturating_mul(1024)))
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use onebit_model::arch::{Config, Method, Task, build};

    use super::*;
    use crate::{Net, NetConfig};

    fn graph(side: usize) -> Verified<Graph> {
        let mut config = Config::new("resnet-small", Method::Dybnn);
        config.widths = Some(vec![8, 16]);
        config.blocks = Some(vec![1, 1]);
        build(&config, &Task::unnamed([1, side, side], 10)).unwrap()
    }

    #[test]
    fn the_bytes_of_a_network_are_those_that_it_allocates() {
        for batch in [1, 7, 8, 64] {
            let graph = graph(12);
            let bytes = net_bytes(&graph, batch).unwrap();
            let net = Net::new(graph, NetConfig::new(batch), 0).unwrap();
            assert_eq!(bytes, net.bytes() as u64, "batch {batch}");
        }
    }

    #[test]
    fn sizes_beyond_all_memory_are_counted_without_overflow() {
        let bytes = net_bytes(&graph(64), usize::MAX / 2).unwrap();
        assert!(bytes > 1 << 60, "{bytes}");
    }

    #[test]
    fn one_value_for_each_channel_is_refused() {
        check_norms(&graph(2), 2).unwrap();
        check_norms(&graph(4), 1).unwrap();
        let error = check_norms(&graph(2), 1).unwrap_err();
        let TrainError::OneValue { node, batch: 1, height: 1, width: 1 } = &error else {
            panic!("{error}")
        };
        assert!(node.starts_with("stage2."), "{node}");
    }

    #[test]
    fn the_system_tells_how_much_memory_there_is() {
        assert!(!cfg!(target_os = "linux") || machine_memory() > Some(1 << 26));
        assert_eq!(kilobytes("MemTotal:  12 kB\nSwapTotal: 3 kB\n", "SwapTotal:"), Some(3));
    }
}
