//! What the program gives to a shell: completions and manual pages; and that it prints no colour.

mod common;

use common::{onebit, program};

/// The verbs that `--help` lists.
fn verbs() -> Vec<String> {
    let help = onebit(&["--help"]);
    let help = help.succeeded();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let starts =
        listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let verbs = starts.filter_map(|line| line.split_whitespace().next());
    verbs.filter(|verb| *verb != "help").map(str::to_owned).collect()
}

#[test]
fn every_shell_completes_every_verb() {
    let verbs = verbs();
    assert!(verbs.len() >= 14, "{verbs:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = onebit(&["completions", shell]);
        let script = outcome.succeeded();
        for word in verbs.iter().map(String::as_str).chain(["--threads", "--json"]) {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    onebit(&["completions", "cmd"]).failed(64);
}

#[cfg(target_os = "linux")]
#[test]
fn bash_completes_verbs_and_options() {
    let script = onebit(&["completions", "bash"]).succeeded().to_owned();
    let completed = |words: &[&str]| {
        let [.., before, typed] = words else { panic!("{words:?}") };
        let line = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _onebit onebit {typed} {before}; echo \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let output = std::process::Command::new("bash").args(["--norc", "-c", &line]).output();
        let output = output.expect("bash is there");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    assert_eq!(completed(&["onebit", "veri"]), "verify");
    assert_eq!(completed(&["onebit", "data", "fe"]), "fetch");
    assert_eq!(completed(&["onebit", "bench", "--thr"]), "--threads");
}

#[test]
fn every_verb_has_a_manual_page() {
    let page = onebit(&["manual"]);
    let page = page.succeeded();
    assert!(page.contains(".TH onebit 1 "), "{page}");
    let verbs = verbs();
    for verb in &verbs {
        assert!(page.contains(&format!("onebit\\-{verb}(1)")), "{verb}: {page}");
        let page = onebit(&["manual", verb]);
        let page = page.succeeded();
        assert!(page.contains(&format!(".TH onebit-{verb} 1 ")), "{verb}: {page}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains("onebit "), "{page}");
    }
    let nested = onebit(&["manual", "data", "fetch"]);
    assert!(nested.succeeded().contains(".TH onebit-data-fetch 1 "), "{}", nested.stdout);
    let sentence = onebit(&["manual", "data", "grow"]);
    assert!(sentence.failed(64).contains("there is no command `data grow`"), "{}", sentence.stderr);
}

/// Lines of examples stay lines: they stand between `.nf` and `.fi`.
#[test]
fn examples_in_a_manual_page_keep_their_lines() {
    let page = onebit(&["manual", "verify"]);
    let page = page.succeeded();
    let (_, notes) = page.split_once(".SH NOTES\n.nf\n").expect("notes");
    let (notes, _) = notes.split_once("\n.fi").expect("an end");
    assert!(notes.lines().any(|line| line.starts_with("  onebit verify a.onebit")), "{notes}");
}

#[test]
fn nothing_is_printed_in_colour() {
    for variables in [&[("NO_COLOR", "1")][..], &[("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "1")]] {
        for arguments in [&["--help"][..], &["train", "--help"], &["sumary"], &["doctor"]] {
            let mut command = program();
            command.envs(variables.iter().copied()).args(arguments);
            let output = command.output().expect("it runs");
            for shown in [&output.stdout, &output.stderr] {
                assert!(
                    !shown.contains(&0x1b),
                    "{arguments:?}: {}",
                    String::from_utf8_lossy(shown)
                );
            }
            assert!(output.stdout.len() + output.stderr.len() > 20);
        }
    }
}
