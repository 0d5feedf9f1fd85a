//! `cargo xtask interop`: vipsec with real peers alone, and docs/interop.md, which says of each feature
//! with which peer and in which role it was seen to work, by what the tests have said themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use vipsec_lab::binaries::workspace;
use vipsec_lab::sid;

/// Tests that step aside where there is no Debian sid.
const SID: &str = "hybrid::";

/// Which tests show what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    columns: Vec<String>,
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    feature: String,
    cells: Vec<Cell>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Cell {
    Tests(Vec<String>),
    Cannot(String),
}

/// What a test has said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    Aside(String),
}

type Outcomes = BTreeMap<String, Outcome>;

/// Runs the tests by the given command and writes the page. Says whether all have passed.
pub(crate) fn run(tests: &mut Command) -> Result<bool> {
    let said = listen(tests)?;
    let mut outcomes = outcomes(&said);
    if let Err(reason) = sid::root() {
        let aside = outcomes.iter_mut().filter(|(test, _)| test.starts_with(SID));
        aside.for_each(|(_, outcome)| *outcome = Outcome::Aside(reason.to_string()));
    }
    let folder = workspace();
    let matrix = read(folder)?;
    let page = folder.join("docs/interop.md");
    std::fs::write(&page, render(&matrix, &outcomes))
        .with_context(|| format!("cannot write {}", page.display()))?;
    Ok(outcomes.values().all(|outcome| !matches!(outcome, Outcome::Failed(_))))
}

/// Shows what a command says while it says it, and returns it.
fn listen(command: &mut Command) -> Result<Vec<String>> {
    let shown = format!("{command:?}");
    let mut child = command
        .current_dir(workspace())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let output = child.stdout.take().context("no output of the tests")?;
    let mut said = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what the tests say")?;
        println!("{line}");
        said.push(line);
    }
    // Its tests have said whether they failed.
    child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    Ok(said)
}

fn read(folder: &Path) -> Result<Matrix> {
    let file = folder.join("tests/interop/matrix.toml");
    let text = std::fs::read_to_string(&file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot understand {}", file.display()))
}

/// `test a::b ... ok`, and for one that failed the line behind that of its panic.
fn outcomes(said: &[String]) -> Outcomes {
    let outcome = |line: &String| {
        let (test, word) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let outcome = match word {
            "ok" => Outcome::Passed,
            _ => Outcome::Failed(reason(said, test).unwrap_or_else(|| word.to_owned())),
        };
        Some((test.to_owned(), outcome))
    };
    said.iter().filter_map(outcome).collect()
}

fn reason(said: &[String], test: &str) -> Option<String> {
    let head = format!("---- {test} stdout ----");
    let mut lines = said.iter().skip_while(|line| **line != head);
    lines.find(|line| line.contains("panicked at"))?;
    lines.next().map(|line| line.replace('|', "/"))
}

fn render(matrix: &Matrix, outcomes: &Outcomes) -> String {
    let mut page = String::from(
        "# With which peers it works\n\n\
         Written by `cargo xtask interop --sid`, from what its tests have said; do not edit.\n\
         `tests/interop/matrix.toml` says which tests show what. A dash: not tried.\n\n| |",
    );
    let columns = &matrix.columns;
    columns.iter().for_each(|column| _ = write!(page, " {column} |"));
    page.push_str("\n|---|");
    columns.iter().for_each(|_| page.push_str("---|"));
    for row in &matrix.row {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n| {} |", row.feature);
        for cell in &row.cells {
            let _ = write!(page, " {} |", text(cell, outcomes));
        }
    }
    page.push('\n');
    let named: BTreeSet<&String> =
        matrix.row.iter().flat_map(|row| &row.cells).flat_map(tests).collect();
    for (test, outcome) in outcomes.iter().filter(|(test, _)| !named.contains(test)) {
        let _ = write!(page, "\nBesides, `{test}` {}.\n", verdict(Some(outcome)));
    }
    page
}

fn tests(cell: &Cell) -> &[String] {
    match cell {
        Cell::Tests(tests) => tests,
        Cell::Cannot(_) => &[],
    }
}

fn verdict(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Passed) => "passed".into(),
        Some(Outcome::Failed(why)) => format!("failed: {why}"),
        Some(Outcome::Aside(why)) => format!("not tried: {why}"),
        None => "did not run".into(),
    }
}

/// A cell is as good as the worst of its tests.
fn text(cell: &Cell, outcomes: &Outcomes) -> String {
    if let Cell::Cannot(why) = cell {
        return format!("cannot be tried: {why}");
    }
    let passed = verdict(Some(&Outcome::Passed));
    let mut verdicts = tests(cell).iter().map(|test| verdict(outcomes.get(test))).peekable();
    if verdicts.peek().is_none() {
        return "–".into();
    }
    verdicts.find(|verdict| *verdict != passed).unwrap_or(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const SAID: &str = "\
running 2 tests
test rekey::one ... ok
test rekey::two ... FAILED

---- rekey::two stdout ----

thread 'rekey::two' (7) panicked at tests/src/lib.rs:30:9:
waited in vain
stack backtrace:";

    fn matrix(cells: &str) -> Matrix {
        let row = format!("columns = [\"a\"]\n[[row]]\nfeature = \"rekey\"\ncells = [{cells}]");
        toml::from_str(&row).unwrap()
    }

    #[test]
    fn a_cell_says_what_the_worst_of_its_tests_has_said() {
        let outcomes = outcomes(&lines(SAID));
        let said = |cells| {
            let matrix = matrix(cells);
            text(&matrix.row[0].cells[0], &outcomes)
        };
        assert_eq!(said("[\"rekey::one\"]"), "passed");
        assert_eq!(said("[\"rekey::one\", \"rekey::two\"]"), "failed: waited in vain");
        assert_eq!(said("[]"), "–");
        assert_eq!(said("\"no rekey\""), "cannot be tried: no rekey");
    }

    #[test]
    fn what_the_matrix_does_not_know_and_what_did_not_run_is_said() {
        let outcomes = outcomes(&lines(SAID));
        let page = render(&matrix("[\"rekey::one\", \"rekey::three\"]"), &outcomes);
        assert!(page.contains("| rekey | did not run |"), "{page}");
        assert!(page.contains("Besides, `rekey::two` failed: waited in vain."), "{page}");
    }
}
