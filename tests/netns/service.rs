//! What a service manager sees of the program: that it is ready, that it lives, that it stops
//! (sd_notify(3)).

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vipsec_lab::binaries::binaries;
use vipsec_lab::process::{Process, Program};
use vipsec_lab::run::Lab;
use vipsec_lab::topology::{self, Site, VIP};
use vipsec_tests::in_lab;

/// What the service manager allows between two signs of life.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn a_service_manager_is_told_of_readiness_life_and_stop() {
    in_lab(be_a_service_manager);
}

fn be_a_service_manager(lab: &Lab) -> Result<()> {
    let site = Site::build(lab)?;
    let mut node = topology::start_single(lab, &site)?;
    node.process().kill()?;
    let path = lab.directory().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    let environment = [
        ("NOTIFY_SOCKET", path.display().to_string()),
        ("WATCHDOG_USEC", LIMIT.as_micros().to_string()),
    ];
    let file = node.log_path().with_file_name("vipsec.toml");
    let mut process = Process::start(Program {
        namespace: site.node("a")?.clone(),
        path: binaries()?.vipsec,
        arguments: ["run", "-c", &file.to_string_lossy()].map(str::to_owned).into(),
        environment: environment.map(|(key, value)| (key.to_owned(), value)).into(),
        log: node.log_path().with_file_name("service.log"),
        lasting: false,
    })?;
    ensure!(next(&manager, 10 * LIMIT)?.as_deref() == Some("READY=1"), "{}", process.obituary());
    // Ready means that it answers.
    ensure!(!node.role(VIP)?.is_empty());
    let began = Instant::now();
    while began.elapsed() < 3 * LIMIT {
        let said = next(&manager, LIMIT)?;
        ensure!(said.as_deref() == Some("WATCHDOG=1"), "{said:?} instead of a sign of life");
    }
    process.suspend()?;
    while next(&manager, Duration::from_millis(1))?.is_some() {}
    ensure!(next(&manager, 2 * LIMIT)?.is_none(), "a process that hangs gives signs of life");
    process.resume()?;
    node.cli("stop")?;
    let said = |word: &str| -> Result<bool> {
        while let Some(said) = next(&manager, 5 * LIMIT)? {
            if said == word {
                return Ok(true);
            }
        }
        Ok(false)
    };
    ensure!(said("STOPPING=1")?, "it stops without a word");
    ensure!(process.wait_for_end(Duration::from_secs(10))?.success(), "{}", process.obituary());
    Ok(())
}

/// The next that is said within a time.
fn next(manager: &UnixDatagram, limit: Duration) -> Result<Option<String>> {
    let mut buffer = [0; 256];
    manager.set_read_timeout(Some(limit))?;
    match manager.recv(&mut buffer) {
        Ok(length) => Ok(Some(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
