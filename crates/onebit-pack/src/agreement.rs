//! The agreement of trainer and engine: does one compute what the other computed?
//!
//! A sum that is rounded in another order can flip a sign that sits on its threshold, and one flip moves the logits
//! of its image visibly. So sign patterns are compared first. Where all of them agree, both programs evaluate the
//! same real-valued function and the logits may differ by rounding only; where one differs, the image is counted.
//! The limits are ours: float32 against float64 evaluation of a ReActNet-18 (2 million signs at 224x224) flips a
//! sign in about one image of eight, 6e-8 per sign, and leaves the other logits within 1e-6 of their deviation.

use onebit_model::quote::count;
use onebit_model::{Graph, GraphError, Op, bits, infer};
use serde::Serialize;

/// Largest difference of two logits on images whose signs all agree, in standard deviations of the logits, or, of a
/// network of one class, whose logits need not differ, in their root mean square.
pub const MAX_LOGIT_DIFFERENCE: f64 = 1e-5;
/// Share of images that may have a flipped sign, however few signs the network has.
pub const MAX_FLIPPED_SHARE: f64 = 0.02;
/// Probability of a flip that is allowed for each sign: larger networks may have more flipped images.
pub const MAX_FLIPS_PER_SIGN: f64 = 2.5e-7;

/// What one program computed for one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// One logit for each class.
    pub logits: Vec<f32>,
    /// Name and packed bits (pixel-major, tail bits zero) of every sign node, in any order.
    pub signs: Vec<(String, Vec<u64>)>,
}

impl Observed {
    fn sign(&self, node: &str) -> Option<&[u64]> {
        self.signs.iter().find(|(name, _)| name == node).map(|(_, words)| words.as_slice())
    }
}

/// Comparison of the trainer and the engine over any number of images.
#[derive(Clone, Debug)]
pub struct Agreement {
    images: u64,
    top1_agree: u64,
    top1_disagree_without_flip: u64,
    flipped_images: u64,
    nodes: Vec<NodeFlips>,
    words: Vec<usize>,
    logit_count: usize,
    signs_per_image: u64,
    not_comparable: Option<String>,
    max_difference: f64,
    logits: LogitStatistics,
}

/// Flips of one sign node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeFlips {
    /// The node.
    pub node: String,
    /// Bits that differ, over all images.
    pub bits: u64,
    /// Images of which this node is the first that differs: there the cause is, what follows is its effect.
    pub first: u64,
}

/// The numbers of an [`Agreement`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Images compared.
    pub images: u64,
    /// Images on which both programs choose the same class.
    pub top1_agree: u64,
    /// Images on which at least one sign differs.
    pub flipped_images: u64,
    /// How many of them are allowed.
    pub flipped_images_allowed: u64,
    /// Sign nodes with at least one differing bit, in evaluation order.
    pub flips: Vec<NodeFlips>,
    /// Largest difference of two logits on images without a flip, in the unit of [`MAX_LOGIT_DIFFERENCE`].
    pub max_logit_difference: f64,
    /// Standard deviation of the trainer's logits over all images and classes.
    pub logit_deviation: f64,
}

/// Why a packed model does not stand for the trained one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// Nothing was compared.
    #[error("no image was compared, so nothing is proved")]
    NoImages,
    /// Other nodes, another number of logits, or a logit that is not finite.
    #[error("the trainer and the engine cannot be compared: {0}")]
    NotComparable(String),
    /// Logits differ although all signs agree.
    #[error(
        "logits differ by {found:.2e} of their standard deviation (with one class, of their size) on images whose signs all agree, more than the \
         {MAX_LOGIT_DIFFERENCE:.0e} that rounding explains: the packed model is wrong"
    )]
    Logits {
        /// Largest difference.
        found: f64,
    },
    /// Another class although all signs agree.
    #[error(
        "{} classified differently although all signs agree: the packed model is wrong", count(*images, "image")
    )]
    Top1 {
        /// How many.
        images: u64,
    },
    /// Signs differ in more images than rounding explains.
    #[error(
        "signs of {flipped} of {} are flipped, more than the {allowed} that rounding explains; most start at node \
         `{node}`: the packed model is wrong", count(*images, "image")
    )]
    Flips {
        /// Images with a flip.
        flipped: u64,
        /// Images compared.
        images: u64,
        /// How many may flip.
        allowed: u64,
        /// The node at which most of them start.
        node: String,
    },
}

impl Agreement {
    /// Nothing compared yet. The graph, trained or lowered, says which sign nodes and logits there must be.
    ///
    /// # Errors
    /// A graph whose shapes cannot be inferred.
    pub fn new(graph: &Graph) -> Result<Self, GraphError> {
        let shapes = infer::shapes(graph)?;
        let is_sign = |op: &Op| matches!(op, Op::Sign { .. });
        let signs = graph.nodes.iter().zip(&shapes).filter(|(node, _)| is_sign(&node.op));
        let mut agreement = Agreement {
            images: 0,
            top1_agree: 0,
            top1_disagree_without_flip: 0,
            flipped_images: 0,
            nodes: Vec::new(),
            words: Vec::new(),
            logit_count: graph.classes.len(),
            signs_per_image: 0,
            not_comparable: None,
            max_difference: 0.0,
            logits: LogitStatistics::default(),
        };
        for (node, shape) in signs {
            agreement.nodes.push(NodeFlips { node: node.name.clone(), bits: 0, first: 0 });
            agreement.words.push(shape.pixels() * bits::words(shape.channels));
            agreement.signs_per_image += shape.len() as u64;
        }
        Ok(agreement)
    }

    /// Compares one image.
    pub fn image(&mut self, trainer: &Observed, engine: &Observed) {
        self.images += 1;
        if let Some(reason) = self.comparable(trainer, engine) {
            self.not_comparable.get_or_insert(reason);
            return;
        }
        let flipped = self.count_flips(trainer, engine);
        let same_class = same_top1(&trainer.logits, &engine.logits);
        self.top1_agree += u64::from(same_class);
        trainer.logits.iter().for_each(|&logit| self.logits.add(f64::from(logit)));
        if flipped {
            self.flipped_images += 1;
            return;
        }
        self.top1_disagree_without_flip += u64::from(!same_class);
        for (&t, &e) in trainer.logits.iter().zip(&engine.logits) {
            self.max_difference = self.max_difference.max((f64::from(t) - f64::from(e)).abs());
        }
    }

    /// The numbers so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let deviation = self.logits.deviation();
        let unit = if self.logit_count == 1 { self.logits.root_mean_square() } else { deviation };
        Report {
            images: self.images,
            top1_agree: self.top1_agree,
            flipped_images: self.flipped_images,
            flipped_images_allowed: self.allowed(),
            flips: self.nodes.iter().filter(|n| n.bits > 0).cloned().collect(),
            max_logit_difference: match self.max_difference {
                0.0 => 0.0,
                difference => difference / unit,
            },
            logit_deviation: deviation,
        }
    }

    /// The numbers, if they show that the engine computes what the trainer does.
    ///
    /// # Errors
    /// The first of: nothing compared, not comparable, too many flips, logits too far apart, another class.
    pub fn verdict(&self) -> Result<Report, Disagreement> {
        if self.images == 0 {
            return Err(Disagreement::NoImages);
        }
        if let Some(reason) = &self.not_comparable {
            return Err(Disagreement::NotComparable(reason.clone()));
        }
        let report = self.report();
        if report.flipped_images > report.flipped_images_allowed {
            let worst = self.nodes.iter().max_by_key(|n| n.first);
            return Err(Disagreement::Flips {
                flipped: report.flipped_images,
                images: report.images,
                allowed: report.flipped_images_allowed,
                node: worst.map_or_else(String::new, |n| n.node.clone()),
            });
        }
        if report.max_logit_difference > MAX_LOGIT_DIFFERENCE {
            return Err(Disagreement::Logits { found: report.max_logit_difference });
        }
        match self.top1_disagree_without_flip {
            0 => Ok(report),
            images => Err(Disagreement::Top1 { images }),
        }
    }

    fn comparable(&self, trainer: &Observed, engine: &Observed) -> Option<String> {
        for (program, observed) in [("trainer", trainer), ("engine", engine)] {
            let (found, expected) = (observed.logits.len(), self.logit_count);
            if found != expected {
                return Some(format!("the {program} gave {found} logits, expected {expected}"));
            }
            if !observed.logits.iter().all(|logit| logit.is_finite()) {
                return Some(format!("the {program} gave a logit that is not finite"));
            }
            let (found, expected) = (observed.signs.len(), self.nodes.len());
            if found != expected {
                return Some(format!("the {program} gave {found} sign nodes, expected {expected}"));
            }
            for (known, &expected) in self.nodes.iter().zip(&self.words) {
                let node = &known.node;
                let Some(words) = observed.sign(node) else {
                    return Some(format!("the {program} does not show sign node `{node}`"));
                };
                if words.len() != expected {
                    let found = words.len();
                    return Some(format!(
                        "the {program} gave {found} words for node `{node}`, expected {expected}"
                    ));
                }
            }
        }
        None
    }

    fn count_flips(&mut self, trainer: &Observed, engine: &Observed) -> bool {
        let mut flipped = false;
        for node in &mut self.nodes {
            let (Some(t), Some(e)) = (trainer.sign(&node.node), engine.sign(&node.node)) else {
                continue;
            };
            let bits: u64 = t.iter().zip(e).map(|(t, e)| u64::from((t ^ e).count_ones())).sum();
            node.bits += bits;
            node.first += u64::from(bits > 0 && !flipped);
            flipped |= bits > 0;
        }
        flipped
    }

    /// One image may always flip: a share of a few images says nothing.
    fn allowed(&self) -> u64 {
        let share =
            (self.signs_per_image as f64 * MAX_FLIPS_PER_SIGN).clamp(MAX_FLIPPED_SHARE, 1.0);
        ((self.images as f64 * share) as u64).max(1)
    }
}

/// Whether some class has the largest logit in both programs; equal largest logits are all first.
fn same_top1(trainer: &[f32], engine: &[f32]) -> bool {
    let largest = |logits: &[f32]| logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (t_max, e_max) = (largest(trainer), largest(engine));
    trainer.iter().zip(engine).any(|(&t, &e)| t == t_max && e == e_max)
}

/// Mean and variance of logits in one pass (Welford).
#[derive(Clone, Debug, Default)]
pub(crate) struct LogitStatistics {
    count: f64,
    mean: f64,
    squares: f64,
}

impl LogitStatistics {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    fn root_mean_square(&self) -> f64 {
        self.mean.hypot(self.deviation())
    }

    pub(crate) fn deviation(&self) -> f64 {
        if self.count == 0.0 { 0.0 } else { (self.squares / self.count).sqrt() }
    }
}
