//! Namespaces, links and processes of one test; all are gone when it is over. They are named like
//! those of `vipsec-lab`, which removes what a run that was killed has left.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Makes the names of one test run unlike those of any other.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Which addresses are used outside and inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// One end: its addresses as text.
pub(crate) struct End {
    pub(crate) vip: &'static str,
    pub(crate) outside: &'static str,
    pub(crate) net: &'static str,
    pub(crate) inside: &'static str,
    pub(crate) next_hop: &'static str,
    pub(crate) host: &'static str,
}

const V4: [End; 2] = [
    End {
        vip: "192.0.2.1",
        outside: "10.9.0.1",
        net: "10.20.1.0/24",
        inside: "10.20.1.1",
        next_hop: "10.20.1.254",
        host: "10.20.1.2",
    },
    End {
        vip: "192.0.2.2",
        outside: "10.9.0.2",
        net: "10.20.2.0/24",
        inside: "10.20.2.1",
        next_hop: "10.20.2.254",
        host: "10.20.2.2",
    },
];

const V6: [End; 2] = [
    End {
        vip: "2001:db8::1",
        outside: "fd09::1",
        net: "fd20:1::/64",
        inside: "fd20:1::1",
        next_hop: "fd20:1::fe",
        host: "fd20:1::2",
    },
    End {
        vip: "2001:db8::2",
        outside: "fd09::2",
        net: "fd20:2::/64",
        inside: "fd20:2::1",
        next_hop: "fd20:2::fe",
        host: "fd20:2::2",
    },
];

pub(crate) struct Lab {
    prefix: String,
    pub(crate) family: Family,
}

impl Lab {
    /// Makes hx, x, y and hy with their links and addresses.
    pub(crate) fn new(family: Family) -> Lab {
        let status = std::fs::read_to_string("/proc/self/status").expect("read /proc");
        let uid = status.lines().find(|l| l.starts_with("Uid:")).expect("Uid line");
        assert_eq!(uid.split_whitespace().nth(1), Some("0"), "this test needs root");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab = Lab { prefix: format!("vl{}n{number}", std::process::id()), family };
        for node in ["hx", "x", "y", "hy"] {
            run("ip", &["netns", "add", &lab.name(node)]);
            lab.ip(node, "link set lo up");
            let conf = "/proc/sys/net/ipv6/conf";
            lab.shell(node, &format!("echo 0 | tee {conf}/*/accept_dad >/dev/null"));
        }
        lab.link("x", "out", "y", "out");
        lab.link("hx", "in", "x", "in");
        lab.link("hy", "in", "y", "in");
        for (index, (gateway, host)) in [("x", "hx"), ("y", "hy")].into_iter().enumerate() {
            lab.address(index, gateway, host);
        }
        lab
    }

    pub(crate) fn end(&self, index: usize) -> &'static End {
        match self.family {
            Family::V4 => &V4[index],
            Family::V6 => &V6[index],
        }
    }

    fn address(&self, index: usize, gateway: &str, host: &str) {
        let (own, other) = (self.end(index), self.end(1 - index));
        let length = if self.family == Family::V4 { 24 } else { 64 };
        self.ip(gateway, &format!("addr add {}/{length} dev out nodad", own.outside));
        self.ip(gateway, &format!("addr add {}/{length} dev in nodad", own.inside));
        self.ip(gateway, &format!("route add {} dev out src {}", other.vip, own.outside));
        self.ip(host, &format!("addr add {}/{length} dev in nodad", own.host));
        self.ip(host, &format!("route add default via {}", own.next_hop));
    }

    pub(crate) fn name(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn link(&self, a: &str, a_name: &str, b: &str, b_name: &str) {
        let (na, nb) = (self.name(a), self.name(b));
        let words = ["link", "add", a_name, "netns", &na, "type", "veth", "peer", "name", b_name];
        run("ip", &[&words[..], &["netns", &nb]].concat());
        self.ip(a, &format!("link set {a_name} up"));
        self.ip(b, &format!("link set {b_name} up"));
    }

    /// Runs `ip` in a namespace; it must succeed.
    pub(crate) fn ip(&self, node: &str, words: &str) -> String {
        let name = self.name(node);
        let mut all = vec!["-n", &name];
        if self.family == Family::V6 && words.starts_with("route") {
            all.push("-6");
        }
        all.extend(words.split_whitespace());
        run("ip", &all)
    }

    /// Runs a shell script in a namespace; it may fail.
    pub(crate) fn try_shell(&self, node: &str, script: &str) -> Output {
        let name = self.name(node);
        let words = ["netns", "exec", &name, "bash", "-c", script];
        Command::new("ip").args(words).output().expect("ip runs")
    }

    /// Runs a shell script in a namespace; it must succeed.
    pub(crate) fn shell(&self, node: &str, script: &str) -> String {
        finish(script, &self.try_shell(node, script))
    }

    /// Whether a single ping is answered.
    pub(crate) fn ping(&self, node: &str, to: &str) -> bool {
        self.try_shell(node, &format!("ping -c 1 -W 1 {to}")).status.success()
    }

    /// Starts an end of the tunnel; end 0 is x, end 1 is y.
    pub(crate) fn tunnel(&self, index: usize, more: &[&str]) -> Process {
        let (own, other) = (self.end(index), self.end(1 - index));
        let node = ["x", "y"][index];
        let inner = format!("{}@in", own.next_hop);
        let words = ["--vip", own.vip, "--interface", "out", "--peer", other.vip, "--protect"];
        let rest = [other.net, "--local", own.net, "--inner", &inner];
        self.start(node, "tunnel", &[&words[..], &rest, more].concat())
    }

    /// Starts one of this crate's example programs and waits until it says that it is ready.
    pub(crate) fn start(&self, node: &str, program: &str, words: &[&str]) -> Process {
        let program = example(program);
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name(node)])
            .arg(&program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let input = child.stdin.take();
        let mut process = Process { child, input, lines };
        process.expect("ready");
        process
    }

    /// Counts packets that match, as they come in at an interface; read with [`Lab::counted`].
    pub(crate) fn count(&self, node: &str, name: &str, rule: &str) {
        let table = format!(
            "table inet {name} {{\nchain c {{\ntype filter hook prerouting priority -400\n{rule} counter\n}}\n}}"
        );
        self.shell(node, &format!("echo '{table}' | nft -f -"));
    }

    /// What a counter says.
    pub(crate) fn counted(&self, node: &str, name: &str) -> u64 {
        let text = self.shell(node, &format!("nft list table inet {name}"));
        let mut words = text.split_whitespace().skip_while(|w| *w != "packets");
        words.nth(1).and_then(|n| n.parse().ok()).expect("a counter")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in ["hx", "x", "y", "hy"] {
            let name = self.name(node);
            let pids = Command::new("ip").args(["netns", "pids", &name]).output();
            for pid in String::from_utf8_lossy(&pids.map(|o| o.stdout).unwrap_or_default()).lines()
            {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

/// A program under test.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Waits for a line that starts so, and returns it.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(start) => return line,
                Ok(_) => {}
                Err(error) => panic!("no {start:?}: {error}; ended: {:?}", self.child.try_wait()),
            }
        }
    }

    /// Gives a command and waits until it is done.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input.as_mut().expect("input is open"), "{command}").expect("it listens");
        self.expect("done");
    }

    /// Gives a command and returns the line of its answer that starts so.
    pub(crate) fn ask(&mut self, command: &str, start: &str) -> String {
        writeln!(self.input.as_mut().expect("input is open"), "{command}").expect("it listens");
        let line = self.expect(start);
        self.expect("done");
        line
    }

    /// Gives its last command and waits for its end.
    pub(crate) fn end(mut self, command: &str) {
        writeln!(self.input.as_mut().expect("input is open"), "{command}").expect("it listens");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{command}: {status}");
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An example program of this crate: cargo builds them with the tests, one folder up.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let path = own.parent().and_then(|p| p.parent()).expect("target folder").join("examples");
    let path = path.join(name);
    assert!(path.exists(), "{} is missing: run `cargo test` for the whole package", path.display());
    path
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().expect("program runs");
    finish(&format!("{program} {}", words.join(" ")), &output)
}

fn finish(what: &str, output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until something holds, for at most `patience`.
pub(crate) fn until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
