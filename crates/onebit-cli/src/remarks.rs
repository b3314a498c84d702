//! What is said about a run, apart from the progress of its epochs.

use std::path::Path;

use onebit_train::Event;
use onebit_train::checkpoint::SetAside;

use crate::output::{count, thousands};

/// The lines about an event of the run in `out`, which has `epochs` epochs in all.
pub(crate) fn lines(out: &Path, epochs: usize, event: &Event) -> Vec<String> {
    match event {
        Event::Resumed { path, epoch, step, skipped } => {
            let mut lines: Vec<String> = skipped
                .iter()
                .map(|SetAside { reason, kept_as }| {
                    format!(
                        "warning: a damaged checkpoint is passed over: {reason}{}",
                        aside(Some(kept_as))
                    )
                })
                .collect();
            if *epoch < epochs {
                let from =
                    path.as_ref().map_or("the beginning".into(), |p| p.display().to_string());
                let after = match step {
                    0 => String::new(),
                    step => format!(", after {}", number(*step, "step")),
                };
                lines.push(format!("resuming from {from}: epoch {} of {epochs}{after}", epoch + 1));
            }
            lines
        }
        Event::Teacher { path, images, top1, skipped } => {
            let mut lines = passed_over(skipped);
            lines.push(format!(
                "learning from the outputs of {}, top-1 {:.2}% on {}",
                path.display(),
                100.0 * top1,
                number(*images, "test image")
            ));
            lines
        }
        Event::Initialized { path, classifier_anew, hyper_functions, skipped } => {
            let mut lines = passed_over(skipped);
            let mut text = format!("starting from {}", path.display());
            if *classifier_anew {
                text += "; the classifier starts anew, for another number of classes";
            }
            if *hyper_functions > 0 {
                let functions = number(*hyper_functions, "hyper function");
                text += &format!("; untrained: {functions}, without effect yet");
            }
            lines.push(text);
            lines
        }
        event => line(out, event).into_iter().collect(),
    }
}

/// A warning for each of the weights that would have been preferred.
fn passed_over(reasons: &[String]) -> Vec<String> {
    reasons.iter().map(|reason| format!("warning: passed over: {reason}")).collect()
}

fn line(out: &Path, event: &Event) -> Option<String> {
    Some(match event {
        Event::Warning(warning) => format!("warning: {warning}"),
        Event::Started { arch, parameters, images, test_images, classes, .. } => format!(
            "{arch}: {}; {} to learn from, {} to test with, {}",
            number(*parameters, "parameter"),
            number(*images, "image"),
            thousands(*test_images as u64),
            number(*classes, "class"),
        ),
        Event::AlreadyFinished { epochs, binary_epochs } => format!(
            "the run is finished ({}); to go on: onebit train --resume --out {} --epochs N, with more than {binary_epochs}",
            number(*epochs, "epoch"),
            out.display(),
        ),
        Event::EpochsChanged { from, to, same_as_from_start, lr_before, lr } => {
            epochs_changed(*from, *to, *same_as_from_start, *lr_before, *lr)
        }
        Event::BestDamaged { reason, kept_as, instead } => {
            let aside = aside(kept_as.as_deref());
            match instead {
                Some(best) => format!(
                    "warning: the best weights were damaged and are replaced by those of epoch {} (top-1 {:.2}%), the \
                     best of the checkpoints that are kept: {reason}{aside}",
                    best.epoch,
                    100.0 * best.top1
                ),
                None => format!(
                    "warning: the best weights are damaged and no checkpoint that is kept can replace them, the best of \
                     the epochs to come will: {reason}{aside}"
                ),
            }
        }
        Event::RowsMissing { epochs } => format!(
            "warning: metrics.csv lacks the rows of {}; the curves have gaps there",
            number(*epochs, "finished epoch")
        ),
        Event::InitChanged { path } => format!(
            "warning: {} holds other weights than those the run began with; it goes on from its checkpoint",
            path.display()
        ),
        Event::StageStarted { stage, epochs } => {
            format!("stage {}: {}", stage.name(), number(*epochs, "epoch"))
        }
        Event::Interrupted { path } => format!("checkpoint written: {}", path.display()),
        Event::Resumed { .. }
        | Event::Teacher { .. }
        | Event::Initialized { .. }
        | Event::Step { .. }
        | Event::Epoch { .. }
        | Event::Checkpoint { .. } => return None,
    })
}

/// Where something damaged is now.
fn aside(kept_as: Option<&Path>) -> String {
    kept_as.map_or_else(String::new, |path| format!("; it is kept as {}", path.display()))
}

fn epochs_changed(from: usize, to: usize, same: bool, before: Option<f64>, lr: f64) -> String {
    let rates = match before {
        Some(before) if before != lr => {
            format!("; the learning rate is {lr:.3e} in place of {before:.3e}")
        }
        Some(_) => String::new(),
        None => format!("; the learning rate begins again at {lr:.3e}"),
    };
    let weights = match same {
        true => format!("the weights will be those of a run of {to} from the start, bit for bit"),
        false => format!(
            "the weights will differ from those of a run of {to} from the start, whose schedule was another in the \
             epochs that are finished"
        ),
    };
    format!(
        "going on to {} with binary weights in place of {from}{rates}; {weights}",
        number(to, "epoch")
    )
}

fn number(n: usize, thing: &str) -> String {
    count(n as u64, thing)
}
