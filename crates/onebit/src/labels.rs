//! Labels of a data set as classes of a network: by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use onebit_data::{Dataset, Error, Image, Normalization, ReadCost};

use onebit_model::quote::shown_within;

const NAMES_SHOWN: usize = 5;
const NAME_CHARS: usize = 40;

/// For each class of a data set the class of the network that it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matched {
    pub(crate) class_of: Vec<usize>,
    /// Whether one side has no names but its own numbers, so that numbers were compared.
    pub(crate) by_number: bool,
}

/// Finds each class of `data` among those of `network` by its name. Where the names of one side are just its numbers,
/// 0 and up, and both have as many, number n is number n.
///
/// # Errors
/// The reason, if a name of `data` is no name, or several, of the network.
pub(crate) fn matched(network: &[String], data: &[String]) -> Result<Matched, String> {
    if network == data {
        return Ok(Matched { class_of: (0..data.len()).collect(), by_number: false });
    }
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (class, name) in network.iter().enumerate() {
        places.entry(name).or_default().push(class);
    }
    let places: Vec<&[usize]> =
        data.iter().map(|name| places.get(name.as_str()).map_or(&[][..], Vec::as_slice)).collect();
    let class_of: Option<Vec<usize>> = places
        .iter()
        .map(|found| match found {
            [class] => Some(*class),
            _ => None,
        })
        .collect();
    if let Some(class_of) = class_of {
        return Ok(Matched { class_of, by_number: false });
    }
    if network.len() == data.len() && (are_numbers(network) || are_numbers(data)) {
        return Ok(Matched { class_of: (0..data.len()).collect(), by_number: true });
    }
    Err(mismatch(network, data, &places))
}

impl Matched {
    /// Classes of the network that are among those of the data.
    pub(crate) fn classes(&self) -> usize {
        self.class_of.iter().collect::<BTreeSet<_>>().len()
    }
}

fn are_numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(class, name)| *name == class.to_string())
}

fn mismatch(network: &[String], data: &[String], places: &[&[usize]]) -> String {
    let lacking = |found: usize| {
        let names = data.iter().zip(places);
        let names = names.filter(|(_, places)| (places.len() > 1) == (found > 1));
        names.filter(|(_, places)| places.len() != 1).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let (missing, ambiguous) = (lacking(0), lacking(2));
    if missing.is_empty() {
        return format!(
            "has classes whose names the network has more than once: {}",
            quoted_names(&ambiguous)
        );
    }
    let network_names = if are_numbers(network) {
        format!("the numbers 0 to {}, as it was given no names", network.len().saturating_sub(1))
    } else {
        quoted_names(&network.iter().collect::<Vec<_>>())
    };
    format!(
        "has classes that the network does not have, {} of {}: {}; the network's {} {network_names}",
        missing.len(),
        data.len(),
        quoted_names(&missing),
        match network.len() {
            1 => "only class is".to_owned(),
            classes => format!("{classes} classes are"),
        },
    )
}

/// The first of some names of classes, in quotes, shortened and with hidden characters escaped.
#[must_use]
pub fn quoted_names(names: &[&String]) -> String {
    let shown =
        names.iter().take(NAMES_SHOWN).map(|name| format!("`{}`", shown_within(name, NAME_CHARS)));
    let more = if names.len() > NAMES_SHOWN { ", ..." } else { "" };
    shown.collect::<Vec<_>>().join(", ") + more
}

/// A data set whose labels are classes of a network.
pub(crate) struct Renamed {
    dataset: Arc<dyn Dataset>,
    classes: Vec<String>,
    class_of: Vec<usize>,
}

impl Renamed {
    /// `dataset`, whose class `i` is class `class_of[i]` of the network with the names `classes`.
    pub(crate) fn new(
        dataset: Arc<dyn Dataset>,
        classes: Vec<String>,
        class_of: Vec<usize>,
    ) -> Self {
        Renamed { dataset, classes, class_of }
    }
}

impl Dataset for Renamed {
    fn name(&self) -> &str {
        self.dataset.name()
    }

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.dataset.shape()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, i: usize) -> usize {
        self.class_of.get(self.dataset.label(i)).copied().unwrap_or(0)
    }

    fn image_name(&self, i: usize) -> String {
        self.dataset.image_name(i)
    }

    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error> {
        self.dataset.read(i, out)
    }

    fn original(&self, i: usize) -> Result<Image, Error> {
        self.dataset.original(i)
    }

    fn normalization(&self) -> Normalization {
        self.dataset.normalization()
    }

    fn warnings(&self) -> &[String] {
        self.dataset.warnings()
    }

    fn root(&self) -> Option<&Path> {
        self.dataset.root()
    }

    fn read_cost(&self) -> ReadCost {
        self.dataset.read_cost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn found(network: &str, data: &str) -> Result<(Vec<usize>, bool), String> {
        let matched = matched(&names(network), &names(data))?;
        Ok((matched.class_of, matched.by_number))
    }

    #[test]
    fn names_decide() {
        let fruit = "apple berry citron";
        assert_eq!(found(fruit, fruit), Ok((vec![0, 1, 2], false)));
        assert_eq!(found(fruit, "citron apple berry"), Ok((vec![2, 0, 1], false)));
        assert_eq!(found(fruit, "citron berry"), Ok((vec![2, 1], false)));
        assert_eq!(found("0 1 2", "2 0 1"), Ok((vec![2, 0, 1], false)));
        assert_eq!(found("0 1 2 3", "1 3"), Ok((vec![1, 3], false)));
    }

    #[test]
    fn numbers_stand_for_names_that_are_not_known() {
        assert_eq!(found("0 1 2", "apple berry citron"), Ok((vec![0, 1, 2], true)));
        assert_eq!(found("apple berry citron", "0 1 2"), Ok((vec![0, 1, 2], true)));
        assert!(found("0 1 2", "apple berry").is_err());
        assert!(found("apple berry citron", "1 2 0").is_err());
    }

    #[test]
    fn other_names_are_refused() {
        let said = found("apple berry citron", "berry citron date").expect_err("no match");
        assert!(said.contains("1 of 3: `date`; ") && said.contains("`apple`, `berry`"), "{said}");
        let said = found("crane bird crane", "bird crane").expect_err("no match");
        assert!(said.contains("more than once: `crane`"), "{said}");
        assert_eq!(found("crane bird crane", "bird"), Ok((vec![1], false)));
        assert_eq!(found("crane bird crane", "crane bird crane"), Ok((vec![0, 1, 2], false)));
        let many: Vec<String> =
            (0..1000).map(|class| format!("{class}{}", "x".repeat(128))).collect();
        let said = matched(&many, &names("a b c d e f g")).expect_err("no match");
        assert!(said.len() < 700, "{said}");
    }

    #[test]
    fn classes_are_counted_once() {
        let matched = matched(&names("a b c"), &names("b b a")).expect("a match");
        assert_eq!((matched.class_of.as_slice(), matched.classes()), (&[1, 1, 0][..], 2));
    }
}
