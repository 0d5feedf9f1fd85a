//! Files that fit a mind, functions that fit a screen: limits on both, and the exceptions with
//! their reasons.

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::sources::Source;

/// Lines of a file, its tests included.
const FILE_LINES: usize = 600;
/// Lines of a function, from its signature to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Files and functions (`path` or `path::function`) that may be longer, and why. An exception
/// that is no longer needed is a fault, too.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// What is too long in a file.
pub(super) fn faults(source: &Source) -> Result<Vec<String>> {
    let mut found: Vec<String> =
        too_long(source)?.into_iter().filter(|(name, _)| !is_excepted(name)).map(|f| f.1).collect();
    found.sort();
    Ok(found)
}

/// Exceptions that excuse nothing.
pub(super) fn idle_exceptions(sources: &[Source]) -> Vec<String> {
    let names: Vec<String> = sources
        .iter()
        .filter_map(|source| too_long(source).ok())
        .flatten()
        .map(|(name, _)| name)
        .collect();
    let idle = EXCEPTIONS.iter().filter(|(name, _)| !names.iter().any(|long| long == name));
    idle.map(|(name, _)| format!("{name}: its exception in tidy is no longer needed")).collect()
}

fn is_excepted(name: &str) -> bool {
    EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name)
}

/// Name and complaint of everything beyond its limit.
fn too_long(source: &Source) -> Result<Vec<(String, String)>> {
    let Source { path, text } = source;
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES {
        let complaint = format!("{path}: {lines} lines, a file has at most {FILE_LINES}");
        found.push((path.clone(), complaint));
    }
    let file = syn::parse_file(text).with_context(|| format!("{path} does not parse"))?;
    let mut functions = Functions { found: Vec::new() };
    functions.visit_file(&file);
    for (name, first, last) in functions.found {
        let lines = last - first + 1;
        if lines > FUNCTION_LINES {
            let complaint = format!(
                "{path}:{first}: {name} has {lines} lines, a function has at most {FUNCTION_LINES}"
            );
            found.push((format!("{path}::{name}"), complaint));
        }
    }
    Ok(found)
}

/// Name, first and last line of every function.
struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.span().start().line;
        self.found.push((signature.ident.to_string(), first, body.span().end().line));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_and_files_are_found_wherever_they_stand() {
        let body = "let _ = 1;\n".repeat(70);
        let text = format!("//! A.\nimpl A {{\nfn long() {{\n{body}}}\nfn short() {{}}\n}}\n");
        let source = Source { path: "core/a.rs".into(), text };
        let found = faults(&source).expect("it parses");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("core/a.rs:3: long has 72 lines"), "{found:?}");
        let text = "//! A.\n".repeat(601);
        let found = faults(&Source { path: "core/a.rs".into(), text }).expect("it parses");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
