//! What the RFCs demand, one file per RFC: sections, in them numbered requirements of level MUST in
//! the project's own words, and for each that is not met the reason.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The folder of the lists.
const FOLDER: &str = "docs/compliance";

/// The levels that are listed.
const LEVELS: [&str; 6] = ["MUST", "MUST NOT", "SHALL", "SHALL NOT", "REQUIRED", "MUST ONLY"];

/// Names one requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) rfc: u32,
    pub(super) section: String,
    pub(super) number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RFC {} section {} #{}", self.rfc, self.section, self.number)
    }
}

/// The requirements of one RFC.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    /// Number of the RFC.
    pub(super) rfc: u32,
    /// Its title.
    pub(super) title: String,
    /// From which text the list was made.
    pub(super) read: String,
    #[serde(flatten)]
    sections: BTreeMap<String, BTreeMap<String, Requirement>>,
}

/// One requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    /// MUST, MUST NOT and so on.
    pub(super) level: String,
    /// What is demanded, in own words.
    pub(super) says: String,
    /// Why it is not met.
    pub(super) unmet: Option<String>,
    /// Why it does not arise here: it binds somebody else, or depends on an option not taken.
    pub(super) moot: Option<String>,
}

impl Requirement {
    /// Why no code meets it, if none does.
    pub(super) fn excuse(&self) -> Option<&str> {
        self.unmet.as_deref().or(self.moot.as_deref())
    }
}

impl List {
    /// Reads a list; `name` is for complaints.
    pub(super) fn parse(name: &str, text: &str) -> Result<List> {
        let list: List = toml::from_str(text).with_context(|| name.to_owned())?;
        for (section, requirements) in &list.sections {
            for (number, requirement) in requirements {
                let known = LEVELS.contains(&requirement.level.as_str());
                ensure!(known, "{name}: {section} #{number}: level {:?}", requirement.level);
                let twice = requirement.unmet.is_some() && requirement.moot.is_some();
                ensure!(!twice, "{name}: {section} #{number}: unmet and moot");
                let numbered = number.parse::<u32>().is_ok();
                ensure!(numbered, "{name}: {section}: {number:?} is no number");
            }
        }
        Ok(list)
    }

    /// All requirements in the order of the RFC.
    pub(super) fn requirements(&self) -> Vec<(Id, &Requirement)> {
        let mut all: Vec<_> = self
            .sections
            .iter()
            .flat_map(|(section, requirements)| {
                requirements.iter().filter_map(|(number, requirement)| {
                    let (rfc, section) = (self.rfc, section.clone());
                    Some((Id { rfc, section, number: number.parse().ok()? }, requirement))
                })
            })
            .collect();
        all.sort_by_key(|(id, _)| (parts(&id.section), id.number));
        all
    }

    /// The requirement of this name.
    pub(super) fn requirement(&self, id: &Id) -> Option<&Requirement> {
        self.sections.get(&id.section)?.get(&id.number.to_string())
    }
}

/// The numbers of a section, so that 2.10 comes after 2.9.
fn parts(section: &str) -> Vec<u32> {
    section.split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect()
}

/// Reads all lists, sorted by RFC.
pub(super) fn read(workspace: &Path) -> Result<Vec<List>> {
    let folder = workspace.join(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {FOLDER}"))?;
    let mut lists = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        lists.push(List::parse(&name, &text)?);
    }
    lists.sort_by_key(|list| list.rfc);
    Ok(lists)
}
