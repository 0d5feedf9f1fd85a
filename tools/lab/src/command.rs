//! Running a program to its end and failing with what it said.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a program with the words of `line` and returns its standard output.
///
/// # Errors
/// When it cannot be started or ends with a failure; the error carries its standard error.
pub fn run(line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    run_words(&words)
}

/// Like [`run`], for words that may contain blanks.
///
/// # Errors
/// As [`run`].
pub fn run_words(words: &[&str]) -> Result<String> {
    let (program, arguments) = words.split_first().context("an empty command")?;
    output_of(Command::new(program).args(arguments))
}

/// Runs a prepared command to its end.
///
/// # Errors
/// As [`run`].
pub fn output_of(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown} failed with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks again every 20 ms until `condition` gives a value.
///
/// # Errors
/// When `limit` has passed, naming `what` was waited for, or when the condition itself fails.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
