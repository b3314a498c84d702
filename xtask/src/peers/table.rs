//! The report in words and tables (Markdown).

use super::contender::Measure;
use super::report::{Compared, Load, Report, Row};
use crate::statistics::Ratio;

/// Column of the agreement, which is left out where there is none.
const SAME_LOGITS: usize = 4;

/// All tables, under a heading with what they were measured on.
pub(super) fn tables(report: &Report) -> String {
    let Report { date, cpu, commit, command, rounds, burst_seconds, .. } = report;
    let mut text = format!(
        "# {cpu}, {date}, commit {commit}\n\n\
         `{command}`: images of 3x224x224, 1000 classes, one thread and one image at a time unless the table says more.\n\
         All take turns of {burst_seconds} s in each of {rounds} rounds (DyBNN and the network that it is added to: run \
         by run, in one process);\n\
         times are medians over the rounds of the median of a turn, ratios are taken \
         round by round, with the smallest and the\n\
         largest in brackets. All networks have random weights. \
         \"Same logits\" counts the\n\
         images on which a program gives our logits up to rounding; on others a sign lay on its threshold.\n"
    );
    for compared in &report.comparisons {
        text += &comparison(compared);
    }
    text += &load(&report.load);
    text
}

fn comparison(compared: &Compared) -> String {
    let against = match compared.measure {
        Measure::Times => "times as long as onebit",
        Measure::Overhead => "longer",
        Measure::Speedup => "times as fast",
    };
    let mut lines =
        vec![["system", "network", "ms", against, "same logits"].map(str::to_owned).to_vec()];
    for (position, row) in compared.rows.iter().enumerate() {
        lines.push(cells(row, compared.measure, position == 0));
    }
    if compared.rows.iter().all(|row| row.agreement.is_none()) {
        lines.iter_mut().for_each(|line| line.truncate(SAME_LOGITS));
    }
    let notes: String = compared.notes.iter().map(|note| format!("\n{note}\n")).collect();
    format!("\n## {}\n\n{}{notes}", compared.title, markdown(&lines))
}

fn cells(row: &Row, measure: Measure, is_first: bool) -> Vec<String> {
    let agreement = row.agreement.map(|a| format!("{} of {}", a.same_logits, a.images));
    let against = match (&row.not_available, row.ratio) {
        (Some(reason), _) => format!("not available: {reason}"),
        (None, Some(ratio)) if !is_first => show(ratio, measure),
        _ => String::new(),
    };
    let ms = row.ms.map_or(String::new(), |ms| format!("{ms:.3}"));
    vec![row.system.clone(), row.network.to_owned(), ms, against, agreement.unwrap_or_default()]
}

/// The ratio of a time to the first one, in the words of the measure.
fn show(ratio: Ratio, measure: Measure) -> String {
    let text = |Ratio { median, min, max }: Ratio| match measure {
        Measure::Overhead => {
            let percent = |ratio: f64| format!("{:+.1}%", 100.0 * (ratio - 1.0));
            format!("{} ({} to {})", percent(median), percent(min), percent(max))
        }
        Measure::Times | Measure::Speedup => format!("{median:.2} ({min:.2} to {max:.2})"),
    };
    text(if measure == Measure::Speedup { ratio.inverse() } else { ratio })
}

fn load(load: &Load) -> String {
    let megabytes = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let file = megabytes(load.file_bytes);
    let peak = load.peak_bytes.map_or("is not known here".to_owned(), |peak| {
        format!("is {}, {} more than the file", megabytes(peak), megabytes(peak - load.file_bytes))
    });
    format!(
        "\n## Loading {}\n\n{:.1} ms from opening the file of {file} to an engine that is ready. The largest memory of \
         the process {peak}.\n",
        load.network, load.ms
    )
}

/// A table whose columns line up as text too; the first line is the heading, columns behind the second are numbers.
fn markdown(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            text += &match column {
                0 | 1 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            };
        }
        text += "|\n";
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let rule = "-".repeat(width + 1);
                text += &if column < 2 { format!("|{rule}-") } else { format!("|{rule}:") };
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIO: Ratio = Ratio { median: 0.5, min: 0.4, max: 0.625 };

    #[test]
    fn ratios_in_the_words_of_the_measure() {
        assert_eq!(show(RATIO, Measure::Times), "0.50 (0.40 to 0.62)");
        assert_eq!(show(RATIO, Measure::Speedup), "2.00 (1.60 to 2.50)");
        assert_eq!(show(RATIO, Measure::Overhead), "-50.0% (-60.0% to -37.5%)");
    }

    #[test]
    fn who_is_missing_says_why() {
        let row = Row {
            system: "tract".to_owned(),
            network: "n",
            ms: None,
            rounds_ms: Vec::new(),
            ratio: None,
            agreement: None,
            implementations: Vec::new(),
            not_available: Some("no wheel".to_owned()),
        };
        assert_eq!(cells(&row, Measure::Times, false)[3], "not available: no wheel");
    }

    #[test]
    fn columns_line_up() {
        let lines = [["a", "network", "ms"], ["longer", "n", "1.25"]];
        let lines = lines.map(|line| line.map(str::to_owned).to_vec());
        let expected = "\
| a      | network |   ms |
|--------|---------|-----:|
| longer | n       | 1.25 |
";
        assert_eq!(markdown(&lines), expected);
    }
}
