//! Where annotations stand, and in which function. The sources are formatted, so that indentation
//! tells what is inside of what, also within the macros of property tests.

use super::list::Id;
use crate::tidy::sources::Source;

/// One annotation.
#[derive(Debug)]
pub(super) struct Place {
    /// What is met or tested.
    pub(super) id: Id,
    /// The file, from the root of the workspace.
    pub(super) path: String,
    /// The function, constant or type.
    pub(super) item: String,
    /// It is a test, or helps one.
    pub(super) is_test: bool,
    line: usize,
}

impl Place {
    /// Where it is, for complaints.
    pub(super) fn at(&self) -> String {
        format!("{}:{}", self.path, self.line)
    }
}

/// All annotations, and what looks like one and is none.
pub(super) fn find(sources: &[Source]) -> (Vec<Place>, Vec<String>) {
    let (mut places, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(text) = line.trim_start().strip_prefix("//=") else { continue };
            let found = parse(text).zip(item(&lines, index));
            let Some((id, (item, tested))) = found else {
                let wanted = "RFC <number> section <section> #<number>: <what>, in an item";
                faults.push(format!("{}:{}: no annotation: {wanted}", source.path, index + 1));
                continue;
            };
            let is_test = tested || is_for_tests(&source.path);
            places.push(Place { id, path: source.path.clone(), item, is_test, line: index + 1 });
        }
    }
    (places, faults)
}

fn is_for_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.starts_with("tools/sim/") || path.contains("/tests/")
}

fn parse(text: &str) -> Option<Id> {
    let rest = text.strip_prefix(" RFC ")?;
    let (rfc, rest) = rest.split_once(" section ")?;
    let (section, rest) = rest.split_once(" #")?;
    let (number, words) = rest.split_once(": ")?;
    let id = Id { rfc: rfc.parse().ok()?, section: section.into(), number: number.parse().ok()? };
    (!words.trim().is_empty()).then_some(id)
}

/// The item that an annotation stands before or in, and whether that is a test.
fn item(lines: &[&str], at: usize) -> Option<(String, bool)> {
    let behind = (at + 1..lines.len()).find(|line| !is_around_item(lines[*line]))?;
    let own = indent(lines[at]);
    let around = |line: &usize| indent(lines[*line]) < own && !lines[*line].ends_with(';');
    let above = (0..at).rev().filter(around);
    let mut candidates = core::iter::once(behind).chain(above);
    candidates.find_map(|line| Some((name(lines[line])?, is_test(lines, line))))
}

/// Comments and attributes, which stand between an annotation and its item.
fn is_around_item(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("#[")
}

/// Whether the item of this line has the attribute of a test.
fn is_test(lines: &[&str], item: usize) -> bool {
    let above = lines[..item].iter().rev().take_while(|line| is_around_item(line));
    above.into_iter().any(|line| line.trim() == "#[test]")
}

fn indent(line: &str) -> usize {
    let text = line.trim_start();
    if text.is_empty() { usize::MAX } else { line.len() - text.len() }
}

/// The name of the item that a line begins.
fn name(line: &str) -> Option<String> {
    const KINDS: [&str; 6] = ["fn", "struct", "enum", "const", "static", "type"];
    let mut words = line.split_whitespace();
    words.find(|word| !is_qualifier(word)).filter(|word| KINDS.contains(word))?;
    let word = words.next().filter(|word| *word != "fn").or_else(|| words.next())?;
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    Some(word[..end].to_owned()).filter(|name| !name.is_empty())
}

fn is_qualifier(word: &str) -> bool {
    word.starts_with("pub") || ["unsafe", "async", "extern"].contains(&word)
}
