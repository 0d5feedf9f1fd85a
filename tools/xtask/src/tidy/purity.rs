//! Core is pure: no I/O, clock, thread, environment, chance or unsafe code. Time, random bytes and
//! the results of I/O come in, intentions go out.
//!
//! This looks at the code as written; that no crate with such things is depended on is checked
//! from the manifests. Tests are held to the same law, but for reading recorded vectors.

use super::sources::Source;

/// What may not be named below `core`, and what is to be used instead.
const FORBIDDEN: [(&str, &str); 15] = [
    ("std::fs", "core does no I/O"),
    ("std::net", "core::net has the address types"),
    ("std::io", "core does no I/O"),
    ("std::thread", "core has no threads"),
    ("std::process", "core starts nothing"),
    ("std::env", "core reads no environment"),
    ("std::time", "core::time has Duration; time comes in as a Timestamp"),
    ("sync::atomic", "core has no threads"),
    ("sync::Mutex", "core has no threads"),
    ("SystemTime", "time comes in as a Timestamp"),
    ("Instant::now", "time comes in as a Timestamp"),
    ("tokio", "core awaits nothing"),
    ("async fn", "core awaits nothing"),
    ("unsafe ", "unsafe code lives in edge/dataplane alone"),
    ("thread_local!", "core has no threads"),
];

/// Folders in which core's crates may use more: their benchmarks measure time.
const OUTSIDE: [&str; 2] = ["/benches/", "/examples/"];

/// The one room of the project where unsafe code may live.
const UNSAFE_ROOM: &str = "edge/dataplane/";

/// What a file has against the law.
pub(super) fn faults(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut found = Vec::new();
    let is_core = path.starts_with("core/") && !OUTSIDE.iter().any(|folder| path.contains(folder));
    for (number, line) in (1..).zip(source.text.lines()) {
        let code = without_text(line);
        if !path.starts_with(UNSAFE_ROOM) && is_unsafe(&code) {
            found.push(format!("{path}:{number}: unsafe code lives in {UNSAFE_ROOM} alone"));
        }
        if !is_core {
            continue;
        }
        for (word, instead) in FORBIDDEN {
            if names(&code, word) {
                found.push(format!("{path}:{number}: {word} in core: {instead}"));
            }
        }
    }
    found
}

fn is_unsafe(code: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| code.contains(form))
}

/// Whether the code names this, and not merely something that contains it.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let is_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !is_name(before) && (word.ends_with([' ', '!']) || !is_name(after))
    })
}

/// The line without its comment and without what stands in double quotes.
fn without_text(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => {
                characters.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => code.push(character),
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, line: &str) -> usize {
        faults(&Source { path: path.into(), text: line.into() }).len()
    }

    #[test]
    fn core_may_not_touch_the_world_and_the_edge_may() {
        let core = "core/ike/src/engine.rs";
        assert_eq!(found(core, "use std::net::IpAddr;"), 1);
        assert_eq!(found(core, "let now = Instant::now();"), 1);
        assert_eq!(found(core, "use std::collections::BTreeMap;"), 0);
        assert_eq!(found(core, "use core::net::IpAddr;"), 0);
        assert_eq!(found(core, "// std::net is not for core"), 0);
        assert_eq!(found(core, "panic!(\"no std::fs here\")"), 0);
        assert_eq!(found("edge/store/src/file.rs", "use std::fs;"), 0);
    }

    #[test]
    fn unsafe_code_is_found_everywhere_but_in_the_data_plane() {
        let line = ["unsa", "fe { read() }"].concat();
        assert_eq!(found("edge/store/src/file.rs", &line), 1);
        assert_eq!(found("edge/dataplane/src/sys/tun.rs", &line), 0);
    }
}
