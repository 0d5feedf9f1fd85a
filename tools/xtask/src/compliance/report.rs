//! The report as Markdown: figures, then for each RFC what is met and where, what is met without a
//! test, what is not met and why. No line numbers, which would be wrong with the next commit.

use core::fmt::Write as _;

use super::list::{Id, List, Requirement};
use super::places::Place;

const HEAD: &str = "# What the RFCs demand, and where it is met

Written by `cargo xtask compliance`; `cargo xtask lint` fails when it is stale. The demands (MUST, MUST
NOT, REQUIRED, SHALL) are listed in [compliance/](compliance/) in our own words, each with its section
and a number within it. Code that meets one and tests that show it say so in a comment of the form
`//= RFC 7296 section 2.1 #2: …`, with what is demanded in short, in or before the function.

An annotation is a claim of whoever wrote it: it was read and held against the code, not derived.
*Met* counts what has an annotated test beside the code, *untested* what has none yet. *Moot* is what
binds somebody else, or depends on an option that is not taken.

";

/// How it is with a requirement, in the order of the report, with the heading.
const STANDINGS: [(Standing, &str, &[&str]); 4] = [
    (Standing::Tested, "Met", &["code", "tests"]),
    (Standing::Untested, "Met, without a test", &["code"]),
    (Standing::Unmet, "Not met", &["why"]),
    (Standing::Moot, "Moot", &["why"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Tested,
    Untested,
    Unmet,
    Moot,
}

/// One requirement.
struct Row<'a> {
    id: Id,
    requirement: &'a Requirement,
    standing: Standing,
    /// Code and tests, or the reason.
    cells: Vec<String>,
}

/// The whole report.
pub(super) fn write(lists: &[List], places: &[Place]) -> String {
    let mut figures = String::from("| RFC | demands | met | untested | not met | moot |\n");
    figures.push_str("|---|---:|---:|---:|---:|---:|\n");
    let mut body = String::new();
    for list in lists {
        let rows = rows(list, places);
        let _ = write!(figures, "| {} | {} |", list.rfc, rows.len());
        let _ = writeln!(body, "\n## RFC {}: {}\n\nRead: {}", list.rfc, list.title, list.read);
        for (standing, heading, columns) in STANDINGS {
            let of_standing = rows.iter().filter(|row| row.standing == standing);
            let of_standing: Vec<_> = of_standing.collect();
            let _ = write!(figures, " {} |", of_standing.len());
            if !of_standing.is_empty() {
                write_table(&mut body, heading, columns, &of_standing);
            }
        }
        figures.push('\n');
    }
    format!("{HEAD}{figures}{body}")
}

fn rows<'a>(list: &'a List, places: &[Place]) -> Vec<Row<'a>> {
    let row = |(id, requirement): (Id, &'a Requirement)| {
        let code = names(places.iter().filter(|place| place.id == id && !place.is_test));
        let tests = names(places.iter().filter(|place| place.id == id && place.is_test));
        let (standing, cells) = match (&requirement.unmet, &requirement.moot) {
            (Some(why), _) => (Standing::Unmet, vec![why.clone()]),
            (_, Some(why)) => (Standing::Moot, vec![why.clone()]),
            _ if tests.is_empty() => (Standing::Untested, vec![code]),
            _ => (Standing::Tested, vec![code, tests]),
        };
        Row { id, requirement, standing, cells }
    };
    list.requirements().into_iter().map(row).collect()
}

/// File and function of each place, once.
fn names<'a>(places: impl Iterator<Item = &'a Place>) -> String {
    let mut names: Vec<_> =
        places.map(|place| format!("`{}` {}", place.path, place.item)).collect();
    names.sort();
    names.dedup();
    names.join("<br>")
}

fn write_table(out: &mut String, heading: &str, columns: &[&str], rows: &[&Row<'_>]) {
    let _ = writeln!(out, "\n### {heading}\n\n| section | demand | {} |", columns.join(" | "));
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(columns.len()));
    for Row { id, requirement, cells, .. } in rows {
        let Requirement { level, says, .. } = requirement;
        let name = format!("{} #{}", id.section, id.number);
        let _ = writeln!(out, "| {name} | **{level}** {says} | {} |", cells.join(" | "));
    }
}
