//! Core is pure: no I/O, clock, thread, environment, chance or unsafe code. Time, random bytes and
//! the results of I/O come in, intentions go out.
//!
//! This looks at every path that the code names (also in groups of `use`, and within macros); what
//! the crates that core depends on may be is in `layers`. Tests are held to the same law.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::sources::Source;

/// What core may name of the standard library's crates: data, and nothing of the world.
const MODULES: [&str; 34] = [
    "any",
    "array",
    "ascii",
    "assert",
    "borrow",
    "boxed",
    "cell",
    "char",
    "cmp",
    "collections",
    "convert",
    "debug_assert",
    "default",
    "error",
    "fmt",
    "format",
    "hash",
    "hint",
    "iter",
    "marker",
    "matches",
    "mem",
    "num",
    "ops",
    "option",
    "panic",
    "primitive",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "vec",
    "write",
];
/// What is there in `core`, and pure there.
const PURE_IN_CORE: [&str; 2] = ["net", "time"];

/// Names that may not occur below `core`, wherever they come from, and what is to be used instead.
const FORBIDDEN: [(&str, &str); 12] = [
    ("tokio", "core awaits nothing"),
    ("async", "core awaits nothing"),
    ("await", "core awaits nothing"),
    ("SystemTime", "time comes in as a Timestamp"),
    ("Instant", "time comes in as a Timestamp"),
    ("thread_local", "core has no threads"),
    ("RandomState", "random bytes come in"),
    ("print", "intentions go out as outputs"),
    ("println", "intentions go out as outputs"),
    ("eprint", "intentions go out as outputs"),
    ("eprintln", "intentions go out as outputs"),
    ("dbg", "intentions go out as outputs"),
];

/// The generator of the operating system, and the room whose library needs one to sign.
const CHANCE: (&str, &str) = ("SystemRandom", "core/crypto/");

/// Tables that draw their seed from the operating system unless they are given a hasher, and how
/// many parameters their type has then.
const HASHED: [(&str, usize); 2] = [("HashMap", 3), ("HashSet", 2)];

/// Words after which `::` begins a path.
const KEYWORDS: [&str; 12] =
    ["as", "dyn", "else", "for", "if", "impl", "in", "match", "mut", "return", "use", "while"];

/// The one room of the project where unsafe code may live.
const UNSAFE_ROOM: &str = "edge/dataplane/";

/// What a file has against the law.
pub(super) fn faults(source: &Source) -> Result<Vec<String>> {
    let Source { path, text } = source;
    let tokens =
        TokenStream::from_str(text).map_err(|error| anyhow!("{path} does not parse: {error}"))?;
    let is_core = path.starts_with("core/");
    let mut named = Vec::new();
    collect(tokens, &[], &mut named);
    let mut found = Vec::new();
    for named in &named {
        let line = named.line;
        if !path.starts_with(UNSAFE_ROOM) && named.path == ["unsafe"] {
            found.push(format!("{path}:{line}: unsafe code lives in {UNSAFE_ROOM} alone"));
        }
        if let Some(complaint) = is_core.then(|| impure(path, named)).flatten() {
            found.push(format!("{path}:{line}: {} in core: {complaint}", named.path.join("::")));
        }
    }
    Ok(found)
}

/// Why core may not name this.
fn impure(file: &str, named: &Named) -> Option<String> {
    let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
    let (chance, room) = CHANCE;
    if path.contains(&chance) && !file.starts_with(room) {
        return Some("random bytes come in".to_owned());
    }
    let forbidden = FORBIDDEN.iter().find(|(name, _)| path.contains(name));
    if let Some((_, instead)) = forbidden {
        return Some((*instead).to_owned());
    }
    if let [root @ ("std" | "core" | "alloc"), rest @ ..] = path.as_slice() {
        let pure = match rest {
            [] => false,
            [module, ..] => {
                MODULES.contains(module) || (*root == "core" && PURE_IN_CORE.contains(module))
            }
        };
        if !pure {
            return Some(format!("{root} is named for {} alone", MODULES.join(", ")));
        }
    }
    let (name, parameters) = HASHED.iter().find(|(name, _)| path.contains(name))?;
    let makes = path.iter().skip_while(|part| *part != name).nth(1);
    let seeded = makes.is_none_or(|makes| makes.starts_with("with_"))
        && !matches!(makes, Some(&"with_capacity"))
        && named.parameters.is_none_or(|given| given >= *parameters);
    (!seeded).then(|| format!("{name} needs a hasher whose seed came in"))
}

/// A path as the code names it, in full.
struct Named {
    line: usize,
    path: Vec<String>,
    /// How many type parameters follow in angle brackets.
    parameters: Option<usize>,
}

/// All paths of the code; `prefix` is what stands before a group of `use`.
fn collect(tokens: TokenStream, prefix: &[String], named: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) => collect(group.stream(), &[], named),
            TokenTree::Ident(first) => {
                let mut path = prefix.to_vec();
                path.push(bare(&first.to_string()));
                let mut in_group = None;
                // `use ::std` and `as ::std` begin a path of their own.
                while !KEYWORDS.contains(&path[path.len() - 1].as_str())
                    && is_separator(&tokens, at)
                {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(next)) => path.push(bare(&next.to_string())),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            in_group = Some(group.stream());
                        }
                        _ => break,
                    }
                    at += 3;
                }
                match in_group {
                    Some(group) => collect(group, &path, named),
                    None => {
                        // `use std::{self}` names std itself.
                        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
                            path.pop();
                        }
                        let parameters = parameters(&tokens, at);
                        named.push(Named { line: first.span().start().line, path, parameters });
                    }
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// `r#name` is `name`.
fn bare(name: &str) -> String {
    name.trim_start_matches("r#").to_owned()
}

/// Whether `::` stands here.
fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize, spacing: Option<Spacing>| match tokens.get(at) {
        Some(TokenTree::Punct(punct)) => {
            punct.as_char() == ':' && spacing.is_none_or(|wanted| punct.spacing() == wanted)
        }
        _ => false,
    };
    colon(at, Some(Spacing::Joint)) && colon(at + 1, None)
}

/// How many parameters stand in the angle brackets that open here, perhaps behind `::`.
fn parameters(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let at = if is_separator(tokens, at) { at + 2 } else { at };
    let mut depth = 0_usize;
    let mut count = 1;
    let mut before = ' ';
    for token in tokens.get(at..)? {
        let character = match token {
            TokenTree::Punct(punct) => punct.as_char(),
            _ => ' ',
        };
        match character {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            ',' if depth == 1 => count += 1,
            _ => {}
        }
        if depth == 0 {
            return (character == '>').then_some(count);
        }
        before = character;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        faults(&Source { path: path.into(), text: text.into() }).expect("it parses").len()
    }

    const CORE: &str = "core/ike/src/engine.rs";

    #[test]
    fn core_may_not_touch_the_world_and_the_edge_may() {
        for line in [
            "use std::net::IpAddr;",
            "use std::{net, fmt};",
            "use std::{\n    collections::BTreeMap,\n    sync::Mutex,\n};",
            "use std::sync::RwLock;",
            "use core::sync::atomic::AtomicBool;",
            "use std::os::fd::RawFd;",
            "use std::*;",
            "use std::{self};",
            "use std as s;",
            "use ::std::fs;",
            "let now = Instant::now();",
            "fn f() { assert!(std::fs::exists(a)); }",
            "async fn f() {}",
            "let t = HashMap::new();",
            "let t: HashMap<u32, u32> = a.collect();",
            "let t = a.collect::<HashSet<(u8, u8)>>();",
            "let t = std::collections::HashMap::with_capacity(9);",
            "let r = aws_lc_rs::rand::SystemRandom::new();",
            "eprintln!(\"{a}\");",
            "let a = '\"'; std::env::args();",
        ] {
            assert_eq!(found(CORE, line), 1, "{line}");
            assert_eq!(found("edge/store/src/file.rs", line), 0, "{line}");
        }
        for line in [
            "use std::collections::{BTreeMap, HashMap};",
            "use core::{net::IpAddr, time::Duration};",
            "struct A { index: HashMap<(u16, u32), Vec<u8>, SeededState> }",
            "let t = HashMap::with_hasher(seed);",
            "// std::net is not for core\nlet a = 1;",
            "panic!(\"no std::fs here\")",
            "let instant = 1;",
        ] {
            assert_eq!(found(CORE, line), 0, "{line}");
        }
        assert_eq!(found("core/crypto/src/sign.rs", "let r = SystemRandom::new();"), 0);
    }

    #[test]
    fn a_benchmark_of_core_is_core() {
        let line = "let start = Instant::now();";
        for folder in ["src", "tests", "benches", "examples"] {
            assert_eq!(found(&format!("core/esp/{folder}/seal.rs"), line), 1, "{folder}");
        }
        assert_eq!(found("tools/load/src/seal.rs", line), 0);
    }

    #[test]
    fn unsafe_code_is_found_everywhere_but_in_the_data_plane() {
        for line in
            ["unsafe { read() }", "#[unsafe(no_mangle)] fn f() {}", "unsafe impl A for B {}"]
        {
            assert_eq!(found("edge/store/src/file.rs", line), 1, "{line}");
            assert_eq!(found("edge/dataplane/src/sys/tun.rs", line), 0);
        }
        assert_eq!(found("core/ike/src/lib.rs", "#![forbid(unsafe_code)]"), 0);
    }
}
