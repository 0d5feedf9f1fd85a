//! `cargo xtask compliance`: holds what the RFCs demand (docs/compliance/*.toml) against the
//! annotations that stand beside the code and the tests, and writes docs/compliance.md.
//!
//! An annotation is a comment of one line before or in the function that meets or tests a demand:
//! RFC, section, number within the section as in the list, and what is demanded in short. It is a
//! claim; whoever changes such a function keeps it true.

mod list;
mod places;
mod report;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::tidy::sources;
use list::{Id, List};
use places::Place;

/// Where the report stands.
const REPORT: &str = "docs/compliance.md";

/// Writes the report anew.
///
/// # Errors
/// When annotations and lists contradict each other; with everything that does.
pub(crate) fn run(workspace: &Path) -> Result<()> {
    let text = report(workspace)?;
    fs::write(workspace.join(REPORT), &text).with_context(|| format!("cannot write {REPORT}"))?;
    let figures = text.lines().skip_while(|line| !line.starts_with('|'));
    for line in figures.take_while(|line| line.starts_with('|')) {
        println!("{line}");
    }
    println!("{REPORT} is written");
    Ok(())
}

/// Checks that the report is what the sources and the lists say.
///
/// # Errors
/// When it is not, or when annotations and lists contradict each other.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let text = report(workspace)?;
    let written = fs::read_to_string(workspace.join(REPORT)).unwrap_or_default();
    ensure!(text == written, "{REPORT} is stale: run `cargo xtask compliance` and commit it");
    println!("{REPORT} is true to the annotations");
    Ok(())
}

fn report(workspace: &Path) -> Result<String> {
    let lists = list::read(workspace)?;
    let (places, mut faults) = places::find(&sources::read(workspace)?);
    faults.extend(contradictions(&lists, &places));
    if !faults.is_empty() {
        bail!("annotations and lists do not agree:\n  {}", faults.join("\n  "));
    }
    Ok(report::write(&lists, &places))
}

/// Annotations of what nobody demands, or of what is said not to be met; demands of which nobody
/// says whether they are met.
fn contradictions(lists: &[List], places: &[Place]) -> Vec<String> {
    let mut found = Vec::new();
    for place in places {
        let list = lists.iter().find(|list| list.rfc == place.id.rfc);
        match list.and_then(|list| list.requirement(&place.id)) {
            None => found.push(format!("{}: {} is in no list", place.at(), place.id)),
            Some(requirement) if requirement.excuse().is_some() => {
                found.push(format!("{}: {} is said not to be met", place.at(), place.id));
            }
            Some(_) => {}
        }
    }
    let met = |id: &Id| places.iter().any(|place| place.id == *id && !place.is_test);
    for list in lists {
        for (id, requirement) in list.requirements() {
            if requirement.excuse().is_none() && !met(&id) {
                found.push(format!("{id} is neither annotated in code nor said not to be met"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::sources::Source;

    fn lists() -> Vec<List> {
        let text = r#"
            rfc = 9999
            title = "Things"
            read = "whole"
            ["2.10"]
            1 = { level = "MUST", says = "later", unmet = "not yet" }
            ["2.9"]
            2 = { level = "MUST NOT", says = "do that" }
            1 = { level = "MUST", says = "do this" }
        "#;
        vec![List::parse("docs/compliance/rfc9999.toml", text).expect("it is a list")]
    }

    fn source(path: &str, lines: &[&str]) -> Source {
        Source { path: path.into(), text: lines.join("\n") }
    }

    /// An annotation, put together so that this file has none.
    fn mark(rest: &str) -> String {
        ["    //", "= RFC 9999 section ", rest].concat()
    }

    #[test]
    fn code_and_tests_are_found_and_reported_in_the_order_of_the_sections() {
        let (this, that) = (mark("2.9 #1: this"), mark("2.9 #2: that"));
        let core = source("core/a.rs", &["impl A {", &this, "    fn a() {", "    }", "}"]);
        let code = source("core/b.rs", &["fn b() {", "const C: u8 = 1;", &that, "    c();", "}"]);
        let test = source("core/tests/b.rs", &["fn tried() {", &that, "}"]);
        let (places, faults) = places::find(&[core, code, test]);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(contradictions(&lists(), &places), Vec::<String>::new());
        let text = report::write(&lists(), &places);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(at("| 9999 | 3 | 1 | 1 | 1 | 0 |") < at("`core/b.rs` b"));
        assert!(at("2.9 #2") < at("2.10 #1"));
        assert!(at("`core/tests/b.rs` tried") < at("`core/a.rs` a"), "tested before untested");
        assert!(text.contains("not yet"));
    }

    #[test]
    fn contradictions_are_named() {
        let (unknown, unmet) = (mark("7 #1: what"), mark("2.10 #1: later"));
        let code = source("core/a.rs", &["fn a() {", &unknown, &unmet, "}"]);
        let (places, faults) = places::find(&[code]);
        assert_eq!(faults, Vec::<String>::new());
        let found = contradictions(&lists(), &places);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("in no list"), "{found:?}");
        assert!(found[1].contains("said not to be met"), "{found:?}");
        assert!(found[2].contains("2.9 #1 is neither"), "{found:?}");
    }

    #[test]
    fn what_is_no_annotation_is_a_fault() {
        for bad in ["2.9: no number", "2.9 #1", "2.9 #x: no number", "2.9 #1:"] {
            let code = source("core/a.rs", &["fn a() {", &mark(bad), "}"]);
            let (places, faults) = places::find(&[code]);
            assert_eq!((places.len(), faults.len()), (0, 1), "{bad}: {faults:?}");
        }
    }

    #[test]
    fn the_annotations_of_this_project_are_sound() {
        if let Err(error) = report(vipsec_lab::binaries::workspace()) {
            panic!("{error:#}");
        }
    }
}
