//! Mistakes in a configuration file: where they are, what is wrong and what is allowed. All that one
//! reading finds are collected, so that nobody mends them one by one.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// One mistake, placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong; what is allowed.
    pub text: String,
}

/// A configuration file that cannot be used. Displays one line `FILE:LINE:COLUMN: text` for each
/// mistake.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that is not allowed.
    #[error("{}", lines(path, mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// At least one, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

fn lines(path: &Path, mistakes: &[Mistake]) -> String {
    let line = |m: &Mistake| format!("{}:{}:{}: {}", path.display(), m.line, m.column, m.text);
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Collects mistakes while the file is read.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: Vec<(usize, String)>,
}

impl Mistakes {
    /// Notes a mistake at `span`.
    pub(super) fn at(&mut self, span: Range<usize>, text: impl fmt::Display) {
        self.found.push((span.start, text.to_string()));
    }

    /// Parses one text, or notes why it cannot be parsed.
    pub(super) fn parse<T, E: fmt::Display>(
        &mut self,
        text: &Spanned<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text.get_ref()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.at(text.span(), error);
                None
            }
        }
    }

    /// Parses each text of a list; what cannot be parsed is noted and left out.
    pub(super) fn parse_each<T, E: fmt::Display>(
        &mut self,
        texts: &[Spanned<String>],
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        texts.iter().filter_map(|text| self.parse(text, &mut parse)).collect()
    }

    /// A number within `allowed`, or `default` when it is absent or (noted) outside.
    pub(super) fn number<T>(
        &mut self,
        value: Option<&Spanned<i64>>,
        allowed: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display + Copy,
    {
        let Some(value) = value else { return default };
        match T::try_from(*value.get_ref()) {
            Ok(number) if allowed.contains(&number) => number,
            _ => {
                let (low, high) = (allowed.start(), allowed.end());
                let text =
                    format!("{} is out of range; allowed is {low} to {high}", value.get_ref());
                self.at(value.span(), text);
                default
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The error that tells them all, with offsets turned into lines and columns of `source`.
    pub(super) fn into_error(mut self, path: &Path, source: &str) -> ConfigError {
        self.found.sort_by_key(|(offset, _)| *offset);
        let place = |(offset, text): (usize, String)| {
            let before = source.get(..offset).unwrap_or(source);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            Mistake {
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                text,
            }
        };
        let mistakes = self.found.into_iter().map(place).collect();
        ConfigError::Mistakes { path: path.to_owned(), mistakes }
    }
}
