//! A tunnel with static keys between two namespaces, or machines: two of these programs facing each
//! other. For measurements and for the tests in namespaces; never for secrets, the keys stand here.
//!
//! ```text
//! tunnel --vip A --interface IF --peer B --protect PREFIX [--local PREFIX] [--plain]
//!        [--workers N] [--mtu BYTES] [--inner ADDRESS@IF] [--proxy PREFIX] [--epoch N]
//! ```
//! `--protect` names what is behind the peer. Once it works it prints `ready`, then obeys lines on
//! its standard input: `announce`, `withdraw`, `protect PREFIX…`, `counters`, `stop`, `open`; at the
//! end of the input it stops as if told so. `tunnel remove` takes away what a killed one left.
#![allow(clippy::print_stdout, reason = "a program for people and tests")]

use std::error::Error;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use vipsec_crypto::Random;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_dataplane::{Clock, Config, DataPlane, Handle, InnerSide, Prefix, VipConfig};
use vipsec_esp::{ChildSa, Cipher, Endpoints, HalfKeys, Lifetime, Mode};
use vipsec_path::{Command, InstallState, Limits, Path, PathConfig, Role};
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::ike::traffic_selector::TrafficSelector;
use vipsec_wire::secret::SecretBytes;

type Failure = Box<dyn Error>;

/// Not random, but different in every process.
struct Counted(u64);

impl Random for Counted {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

/// What the command line says.
struct Arguments {
    vip: IpAddr,
    interface: String,
    peer: IpAddr,
    protect: Prefix,
    local: Prefix,
    inner: Option<InnerSide>,
    plain: bool,
    workers: u16,
    mtu: u16,
    epoch: u64,
}

fn prefix(text: &str) -> Result<Prefix, Failure> {
    let (address, length) = text.split_once('/').ok_or("a prefix is ADDRESS/LENGTH")?;
    Ok(Prefix::new(address.parse()?, length.parse()?).ok_or("prefix length")?)
}

fn arguments() -> Result<Arguments, Failure> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let get = |name: &str| {
        let at = all.iter().position(|a| a == name)?;
        all.get(at + 1).cloned()
    };
    let need = |name: &str| get(name).ok_or_else(|| format!("{name} is missing"));
    let vip: IpAddr = need("--vip")?.parse()?;
    let inner = get("--inner").map(|text| {
        let (address, interface) = text.split_once('@').ok_or("--inner ADDRESS@IF")?;
        let address = Some(address.parse::<IpAddr>()?);
        let proxied = get("--proxy").map(|text| prefix(&text)).transpose()?.into_iter().collect();
        Ok::<_, Failure>(InnerSide { interface: interface.to_owned(), address, proxied })
    });
    Ok(Arguments {
        vip,
        interface: need("--interface")?,
        peer: need("--peer")?.parse()?,
        protect: prefix(&need("--protect")?)?,
        local: get("--local").map_or(Ok(Prefix::host(vip)), |text| prefix(&text))?,
        inner: inner.transpose()?,
        plain: all.iter().any(|a| a == "--plain"),
        workers: get("--workers").map_or(Ok(1), |n| n.parse())?,
        mtu: get("--mtu").map_or(Ok(1438), |n| n.parse())?,
        epoch: get("--epoch").map_or(Ok(2), |n| n.parse())?,
    })
}

fn selector(prefix: Prefix) -> TrafficSelector {
    let host = |address: IpAddr, length: u8| match address {
        IpAddr::V4(first) => {
            let rest = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            IpAddr::from((u32::from(first) | rest).to_be_bytes())
        }
        IpAddr::V6(first) => {
            let rest = u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            IpAddr::from((u128::from(first) | rest).to_be_bytes())
        }
    };
    TrafficSelector {
        protocol: 0,
        first_port: 0,
        last_port: 65535,
        first_address: prefix.address(),
        last_address: host(prefix.address(), prefix.length()),
    }
}

/// Keys and SPI of the direction towards `receiver`. They are always the same, so a program that is
/// started again must be given a higher epoch, or it repeats IVs.
fn half(receiver: IpAddr) -> HalfKeys {
    let (seed, low) = match receiver {
        IpAddr::V4(v4) => (v4.octets()[3], v4.octets()[3]),
        IpAddr::V6(v6) => (v6.octets()[15], v6.octets()[15]),
    };
    HalfKeys {
        spi: EspSpi(0x1000 + u32::from(low)),
        encryption: SecretBytes::new(vec![seed; AeadAlgorithm::Aes128Gcm16.key_and_salt_length()]),
        integrity: SecretBytes::default(),
    }
}

fn child_sa(from: &Arguments, clock: Clock) -> ChildSa {
    ChildSa {
        vip: Vip(from.vip),
        ike: IkeSaId(0),
        connection: "static".to_owned(),
        child: "static".to_owned(),
        inbound: half(from.vip),
        outbound: half(from.peer),
        cipher: Cipher::Aead(AeadAlgorithm::Aes128Gcm16),
        mode: Mode::Tunnel,
        esn: false,
        replay_window: 1024,
        local: vec![selector(from.local)],
        remote: vec![selector(from.protect)],
        born: Epoch(1),
        created: clock.now(),
        lifetime: Lifetime::default(),
        endpoints: Endpoints {
            local: SocketAddr::new(from.vip, 4500),
            remote: SocketAddr::new(from.peer, 4500),
            encapsulated: !from.plain,
            local_nat: false,
        },
    }
}

fn make_path(worker: u16, workers: u16, mtu: u16) -> Path {
    let node = NodeName::try_from("static".to_owned()).unwrap_or_else(|e| panic!("{e}"));
    let limits = Limits { inner_mtu: mtu, ..Limits::default() };
    let config = PathConfig { worker, workers, members: vec![node.clone()], node, limits };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = u64::try_from(time.as_nanos() & u128::from(u64::MAX)).unwrap_or(1);
    Path::new(config, Box::new(Counted(seed ^ u64::from(worker))))
}

async fn start(from: &Arguments) -> Result<Handle, Failure> {
    let mut config = Config::new(Clock::start());
    let clock = config.clock;
    config.workers = from.workers;
    config.tun.mtu = from.mtu;
    config.forwarding = true;
    config.protected = vec![from.protect];
    config.vips = vec![VipConfig {
        vip: Vip(from.vip),
        interface: Some(from.interface.clone()),
        service_addresses: Vec::new(),
        inner: from.inner.clone(),
    }];
    let (sender, mut reports) = mpsc::channel(1024);
    tokio::spawn(async move { while reports.recv().await.is_some() {} });
    let handle = DataPlane::start(config, |w| make_path(w, from.workers, from.mtu), sender).await?;
    let vip = Vip(from.vip);
    handle.send_all(&Command::ConfigureVip(Box::new(vipsec_path::VipConfig {
        vip,
        inner_addresses: Vec::new(),
        services: Vec::new(),
        protected: Vec::new(),
        replay: vipsec_path::Replay::Bounded,
        traps: Vec::new(),
        mss_max: None,
        timeouts: vipsec_distributor::Timeouts::default(),
    })))?;
    handle.send_all(&Command::SetRole { vip, role: Role::Owner { epoch: Epoch(from.epoch) } })?;
    let state = InstallState { outbound: true, ..InstallState::default() };
    handle.send_all(&Command::Install(Box::new(child_sa(from, clock)), state))?;
    handle.announce(vip);
    Ok(handle)
}

async fn obey(handle: Handle, vip: Vip) -> Result<(), Failure> {
    let (sender, mut lines) = mpsc::channel::<String>(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        if let Some(text) = line.strip_prefix("protect ") {
            let prefixes: Result<Vec<Prefix>, Failure> =
                text.split_whitespace().map(prefix).collect();
            handle.protect(&prefixes?).await?;
            println!("done");
            continue;
        }
        match line.trim() {
            "announce" => handle.announce(vip),
            "withdraw" => handle.withdraw(vip),
            "counters" => {
                let fence = handle.fence_drops().await;
                for (name, value) in handle.counters().iter().chain(fence) {
                    println!("{name} {value}");
                }
            }
            "stop" => break,
            "open" => return Ok(handle.stop_open().await?),
            other => println!("unknown: {other}"),
        }
        println!("done");
    }
    Ok(handle.stop().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    if std::env::args().nth(1).as_deref() == Some("remove") {
        return Ok(vipsec_dataplane::remove_fence("main").await?);
    }
    let from = arguments()?;
    let handle = start(&from).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    println!("ready");
    obey(handle, Vip(from.vip)).await
}
