//! The syntax of strongSwan's settings files (strongswan.conf(5)): sections, values, includes, and
//! sections that inherit from others.

use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Includes within includes, and references within references, that are followed.
const DEPTH_MAX: usize = 16;
/// Files that one import reads.
const FILES_MAX: usize = 256;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file itself.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What stands in it.
    #[error("{}:{line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A section: its own values and sections in their order, and where it inherits from.
#[derive(Default)]
pub struct Section {
    values: Vec<(String, Zeroizing<String>)>,
    sections: Vec<(String, Section)>,
    references: Vec<String>,
}

impl Section {
    /// Reads a file with all that it includes.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn load(path: &Path) -> Result<Section, SettingsError> {
        let mut root = Section::default();
        let mut files = 0;
        include(path, &mut root, 0, &mut files)?;
        Ok(root)
    }

    fn child(&mut self, name: &str) -> &mut Section {
        let place = self.sections.iter().position(|(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            self.sections.push((name.to_owned(), Section::default()));
            self.sections.len() - 1
        });
        &mut self.sections[place].1
    }

    fn set(&mut self, key: &str, value: Zeroizing<String>) {
        match self.values.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.values.push((key.to_owned(), value)),
        }
    }
}

/// A section as it is used: with what it inherits behind what it has itself.
#[derive(Clone)]
pub struct View<'a> {
    root: &'a Section,
    parts: Vec<&'a Section>,
}

impl<'a> View<'a> {
    /// The whole file.
    #[must_use]
    pub fn root(root: &'a Section) -> View<'a> {
        View { root, parts: vec![root] }
    }

    fn of(root: &'a Section, sections: Vec<&'a Section>) -> View<'a> {
        let mut parts = Vec::new();
        for section in sections {
            gather(root, section, 0, &mut parts);
        }
        View { root, parts }
    }

    /// A value; an empty one counts as none.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let mut values = self.parts.iter().flat_map(|part| &part.values);
        let (_, value) = values.find(|(known, _)| known == key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All keys with a value, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<&'a str> {
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in self.parts.iter().flat_map(|part| &part.values) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        keys.retain(|key| self.get(key).is_some());
        keys
    }

    /// The sections in it, in their order.
    #[must_use]
    pub fn sections(&self) -> Vec<(&'a str, View<'a>)> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.parts.iter().flat_map(|part| &part.sections) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.into_iter().filter_map(|name| Some((name, self.section(name)?))).collect()
    }

    /// A section in it.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<View<'a>> {
        let all = self.parts.iter().flat_map(|part| &part.sections);
        let named: Vec<&Section> =
            all.filter(|(known, _)| known == name).map(|(_, section)| section).collect();
        (!named.is_empty()).then(|| View::of(self.root, named))
    }
}

/// A section, then all that it inherits, from left to right; each once.
fn gather<'a>(root: &'a Section, section: &'a Section, depth: usize, out: &mut Vec<&'a Section>) {
    if depth > DEPTH_MAX || out.iter().any(|known| std::ptr::eq(*known, section)) {
        return;
    }
    out.push(section);
    for reference in &section.references {
        let mut found = View::root(root);
        for name in reference.split('.') {
            let parts = found.parts.iter().flat_map(|part| &part.sections);
            let named = parts.filter(|(known, _)| known == name).map(|(_, section)| section);
            found.parts = named.collect();
        }
        for section in found.parts {
            gather(root, section, depth + 1, out);
        }
    }
}

fn include(
    path: &Path,
    into: &mut Section,
    depth: usize,
    files: &mut usize,
) -> Result<(), SettingsError> {
    *files += 1;
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let text = Zeroizing::new(text);
    let mut reader = Reader { path, rest: &text, line: 1, depth, files };
    reader.settings(into, false)
}

struct Reader<'a> {
    path: &'a Path,
    rest: &'a str,
    line: usize,
    depth: usize,
    files: &'a mut usize,
}

impl Reader<'_> {
    fn wrong<T>(&self, what: &'static str) -> Result<T, SettingsError> {
        Err(SettingsError::Syntax { path: self.path.to_owned(), line: self.line, what })
    }

    /// Takes so many octets.
    fn take(&mut self, length: usize) -> &str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Passes over space, line ends too, and comments.
    fn skip(&mut self) {
        loop {
            let space = self.rest.len() - self.rest.trim_start().len();
            self.take(space);
            if !self.rest.starts_with('#') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    fn name(&mut self) -> String {
        let ends = |c: char| c.is_whitespace() || ".,:{}=\"#".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        self.take(end).to_owned()
    }

    fn settings(&mut self, into: &mut Section, nested: bool) -> Result<(), SettingsError> {
        loop {
            self.skip();
            if self.rest.is_empty() {
                return if nested { self.wrong("a closing } is missing") } else { Ok(()) };
            }
            if self.rest.starts_with('}') {
                self.take(1);
                return if nested { Ok(()) } else { self.wrong("there is a } too many") };
            }
            let name = self.name();
            if name.is_empty() {
                return self.wrong("here should be the name of a section or of a value");
            }
            if name == "include" && !self.rest.trim_start().starts_with(['=', '{', ':']) {
                self.include(into)?;
                continue;
            }
            self.skip();
            match self.rest.chars().next() {
                Some('=') => {
                    self.take(1);
                    let value = self.value()?;
                    into.set(&name, value);
                }
                Some(':') => {
                    self.take(1);
                    let references = self.references()?;
                    let section = into.child(&name);
                    section.references = references;
                    self.settings(section, true)?;
                }
                Some('{') => {
                    self.take(1);
                    self.settings(into.child(&name), true)?;
                }
                _ => return self.wrong("behind a name should be =, { or :"),
            }
        }
    }

    fn references(&mut self) -> Result<Vec<String>, SettingsError> {
        let Some(end) = self.rest.find('{') else {
            return self.wrong("behind the names of sections should be {");
        };
        let names = self.take(end).split(',').map(|name| name.trim().to_owned());
        let names = names.filter(|name| !name.is_empty()).collect();
        self.take(1);
        Ok(names)
    }

    /// A value up to the end of the line, or a text in quotes, which may have several.
    fn value(&mut self) -> Result<Zeroizing<String>, SettingsError> {
        let space = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.take(space);
        if !self.rest.starts_with('"') {
            let end = self.rest.find(['\n', '#', '}', '{']).unwrap_or(self.rest.len());
            return Ok(Zeroizing::new(self.take(end).trim().to_owned()));
        }
        let mut text = Zeroizing::new(String::new());
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match (escaped, c) {
                (false, '"') => {
                    self.take(at + 1);
                    return Ok(text);
                }
                (false, '\\') => escaped = true,
                (false, c) => text.push(c),
                (true, c) => {
                    text.push(match c {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    });
                    escaped = false;
                }
            }
        }
        self.wrong("a closing \" is missing")
    }

    fn include(&mut self, into: &mut Section) -> Result<(), SettingsError> {
        let pattern = self.value()?;
        let base = self.path.parent().unwrap_or(Path::new("."));
        let pattern = base.join(pattern.as_str());
        for file in matching(&pattern) {
            if self.depth >= DEPTH_MAX || *self.files >= FILES_MAX {
                return self.wrong("files include each other too deep, or there are too many");
            }
            include(&file, into, self.depth + 1, self.files)?;
        }
        Ok(())
    }
}

/// The files that a path with wildcards in its last part names, in order. One without wildcards is
/// given whether it is there or not.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(directory)) = (name, pattern.parent()) else { return Vec::new() };
    if !name.contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let visible = |found: &String| !found.starts_with('.') && fits(&name, found);
    let mut names: Vec<String> = names.filter(visible).collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    let mut rest = name.chars();
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let behind = &pattern[1..];
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| fits(behind, name)))
        }
        Some(wanted) => match rest.next() {
            Some(found) if wanted == '?' || wanted == found => {
                fits(&pattern[wanted.len_utf8()..], rest.as_str())
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Section, SettingsError> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("swanctl.conf");
        std::fs::write(&file, text).expect("written");
        Section::load(&file)
    }

    #[test]
    fn values_sections_comments_and_quotes() {
        let root = read(
            "a = b # says b\nsection { x = 1 , 2\n  y = \"one\\n\\\"two\\\" # {}\"\n z = q }\n\
             section { x = 3 }\nempty =\nafter = c\n",
        );
        let root = root.expect("sound");
        let view = View::root(&root);
        assert_eq!(
            (view.get("a"), view.get("empty"), view.get("after")),
            (Some("b"), None, Some("c"))
        );
        let section = view.section("section").expect("there");
        assert_eq!(section.get("x"), Some("3"));
        assert_eq!(section.get("y"), Some("one\n\"two\" # {}"));
        assert_eq!(section.keys(), ["x", "y", "z"]);
    }

    #[test]
    fn sections_inherit_from_left_to_right_also_through_others_and_later_ones() {
        let root = read(
            "conns { a : base, extra {\n own = 1\n shared =\n children { net : child {\n x = 2\n } } }\n\
             b : conns.a { own = 3\n } }\n\
             base { own = 0\n shared = base\n level = base\n children { net { y = base\n } } }\n\
             extra { level = extra\n more = extra\n }\nchild { x = 0\n z = child\n }\n\
             loop : loop { k = v\n }\n",
        );
        let root = root.expect("sound");
        let conns = View::root(&root).section("conns").expect("there");
        let a = conns.section("a").expect("there");
        let values = |view: &View<'_>| {
            ["own", "shared", "level", "more"].map(|key| view.get(key).map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(values(&a), [some("1"), None, some("base"), some("extra")]);
        let net = a.section("children").and_then(|c| c.section("net")).expect("there");
        assert_eq!(
            (net.get("x"), net.get("y"), net.get("z")),
            (Some("2"), Some("base"), Some("child"))
        );
        let b = conns.section("b").expect("there");
        assert_eq!(values(&b), [some("3"), None, some("base"), some("extra")]);
        let own = View::root(&root).section("loop").expect("there");
        assert_eq!(own.get("k"), Some("v"));
    }

    #[test]
    fn files_are_included_where_they_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("written");
        };
        std::fs::create_dir(dir.path().join("conf.d")).expect("made");
        put("swanctl.conf", "s { x = 1\n include part.inc\n }\ninclude conf.d/*.conf\n");
        put("part.inc", "x = 2\ny = 2\n");
        put("conf.d/b.conf", "s { y = b\n }\n");
        put("conf.d/a.conf", "s { y = a\n z = a\n }\n");
        put("conf.d/.hidden.conf", "s { y = h\n }\n");
        let root = Section::load(&dir.path().join("swanctl.conf")).expect("sound");
        let section = View::root(&root).section("s").expect("there");
        let get = |key| section.get(key);
        assert_eq!((get("x"), get("y"), get("z")), (Some("2"), Some("b"), Some("a")));
        put("swanctl.conf", "include swanctl.conf\n");
        let why = Section::load(&dir.path().join("swanctl.conf")).err().expect("a ring");
        assert!(why.to_string().contains("too deep"), "{why}");
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (text, line, what) in [
            ("a = b\n}\n", 2, "too many"),
            ("s {\n x = 1\n", 3, "} is missing"),
            ("x\n", 2, "should be ="),
            ("a = \"never ends\n", 1, "\" is missing"),
            ("= 3\n", 1, "the name of"),
            ("s : base\n", 1, "should be {"),
        ] {
            let why = read(text).err().expect("a mistake").to_string();
            assert!(why.contains(&format!("swanctl.conf:{line}: ")) && why.contains(what), "{why}");
        }
        assert!(Section::load(Path::new("/nonexistent/swanctl.conf")).is_err());
    }
}
