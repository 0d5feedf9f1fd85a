//! Starting, steering and stopping a data plane.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::sync::mpsc::Sender;
use vipsec_path::{Command, Path};
use vipsec_wire::id::Vip;

use crate::answer::{Answerer, open_sites};
use crate::config::{Clock, Config, Prefix};
use crate::counters::{CounterValues, Counters};
use crate::error::DataPlaneError;
use crate::setup::{Fence, Netlink, Scaffold};
use crate::sys::{TunQueue, namespace_lock, open_tun};
use crate::worker::{
    Equipment, IkeMessage, Instruction, Mailbox, Reporter, Sockets, Worker, WorkerReport,
};

/// How long the start waits for what a killed predecessor still holds.
const PREDECESSOR: Duration = Duration::from_secs(2);
/// How long a full mailbox is waited for.
const FULL: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// The data plane of this process; see [`DataPlane::start`].
pub struct DataPlane;

/// Steers a running data plane. Dropping it without [`Handle::stop`] stops the threads and leaves
/// what was set up in the kernel for the next start to find.
pub struct Handle {
    mailboxes: Arc<[Mailbox]>,
    threads: Vec<JoinHandle<()>>,
    answerer: Option<Answerer>,
    counters: Arc<Counters>,
    fence: Mutex<Fence>,
    scaffold: Option<Scaffold>,
    netlink: Netlink,
    config: Config,
    _lock: UnixDatagram,
}

impl DataPlane {
    /// Builds the fence, puts the VIPs on `lo`, opens TUN and sockets, and starts the workers, which
    /// report to `reports`. `make_path` makes the path of each worker. Nothing is answered for or
    /// announced until [`Handle::announce`]. What an earlier process left behind is taken over.
    ///
    /// Must be called within a tokio runtime and needs root or `CAP_NET_ADMIN` and `CAP_NET_RAW`.
    ///
    /// # Errors
    /// Names what could not be set up. The fence stays if it stood by then.
    pub async fn start(
        config: Config,
        mut make_path: impl FnMut(u16) -> Path,
        reports: Sender<WorkerReport>,
    ) -> Result<Handle, DataPlaneError> {
        check(&config)?;
        let lock = take_lock().await?;
        let netlink = Netlink::open()?;
        let mut fence = Fence::build(netlink.clone(), &config).await?;
        let scaffold = Scaffold::build(netlink.clone(), &config).await?;
        let (queues, udp_offload) = make_tun(&config).await?;
        fence.open_gate(scaffold.raise_tun(&config).await?).await?;
        let sites = open_sites(&netlink, &config).await?;
        let answerer =
            Answerer::start(sites).map_err(|e| DataPlaneError::io("start a thread", e))?;
        let mut handle = Handle {
            mailboxes: mailboxes(config.workers)?,
            threads: Vec::new(),
            answerer: Some(answerer),
            counters: Arc::default(),
            fence: Mutex::new(fence),
            scaffold: Some(scaffold),
            netlink,
            config,
            _lock: lock,
        };
        for (index, tun) in (0u16..).zip(queues) {
            let worker = Equipment {
                index,
                path: make_path(index),
                sockets: Sockets::open(&handle.config, index)?,
                tun,
                udp_offload,
                mailboxes: Arc::clone(&handle.mailboxes),
                reporter: Reporter::new(index, reports.clone(), Arc::clone(&handle.counters)),
                counters: Arc::clone(&handle.counters),
                clock: handle.config.clock,
            };
            handle.spawn(Worker::new(worker)?, index)?;
        }
        Ok(handle)
    }
}

impl Handle {
    fn spawn(&mut self, mut worker: Worker, index: u16) -> Result<(), DataPlaneError> {
        let thread = std::thread::Builder::new()
            .name(format!("vipsec-{index}"))
            .spawn(move || crate::or_abort("a worker", || worker.run()))
            .map_err(|e| DataPlaneError::io("start a worker", e))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Number of workers.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.config.workers
    }

    /// The clock by which the workers stamp their reports.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.config.clock
    }

    /// What the data plane itself has dropped since its start.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.counters.values()
    }

    /// What the fence has dropped since it was loaded, by reason. Asks `nft`, and needs not be
    /// awaited where it was called.
    pub fn fence_drops(&self) -> impl Future<Output = Vec<(&'static str, u64)>> + use<> {
        Fence::drops(self.config.instance.clone())
    }

    /// Gives a command to one worker. Commands keep their order. Blocks, for at most a second, when
    /// thousands wait already.
    ///
    /// # Errors
    /// [`DataPlaneError::WorkerStuck`] when the worker does not take them or does not exist.
    pub fn send(&self, worker: u16, command: Command) -> Result<(), DataPlaneError> {
        self.instruct(worker, Instruction::Command(Box::new(command)))
    }

    /// Gives a command to every worker.
    ///
    /// # Errors
    /// As [`Handle::send`].
    pub fn send_all(&self, command: &Command) -> Result<(), DataPlaneError> {
        (0..self.workers()).try_for_each(|worker| self.send(worker, command.clone()))
    }

    /// Sends an IKE message from port 500 or 4500 of a VIP; on 4500 the non-ESP marker is put in
    /// front. It leaves when every worker has done all that it was told before, so that whichever
    /// gets the peer's first ESP packet has the SA. Like any datagram it may get lost.
    ///
    /// # Errors
    /// As [`Handle::send`].
    pub fn send_ike(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
    ) -> Result<(), DataPlaneError> {
        let message = IkeMessage { local, remote, message: message.to_vec() };
        let copies = message.copies(usize::from(self.workers()));
        (0..self.workers())
            .zip(copies)
            .try_for_each(|(worker, copy)| self.instruct(worker, Instruction::Ike(copy)))
    }

    fn instruct(&self, worker: u16, instruction: Instruction) -> Result<(), DataPlaneError> {
        let stuck = || DataPlaneError::WorkerStuck(worker);
        let mailbox = self.mailboxes.get(usize::from(worker)).ok_or_else(stuck)?;
        let mut instruction = instruction;
        let mut waited = Duration::ZERO;
        while let Err(back) = mailbox.instruct(instruction) {
            if waited >= FULL {
                return Err(stuck());
            }
            instruction = back;
            let step = Duration::from_micros(100);
            std::thread::sleep(step);
            waited += step;
        }
        Ok(())
    }

    /// This node owns the VIP: its addresses are answered for and announced from now on.
    pub fn announce(&self, vip: Vip) {
        if let Some(answerer) = &self.answerer {
            answerer.announce(vip);
        }
    }

    /// This node does not own the VIP: once this returns, nothing is said about it any more.
    pub fn withdraw(&self, vip: Vip) {
        if let Some(answerer) = &self.answerer {
            answerer.withdraw(vip);
        }
    }

    /// Adds prefixes to what must go through a tunnel, before an SA for them is installed. They stay
    /// so until [`Handle::stop_open`]: whoever talked to the peer through the tunnel may go on to when
    /// its SAs have ended. Returns those that were not protected before.
    ///
    /// # Errors
    /// What the kernel or `nft` refused; [`DataPlaneError::Unfenced`] for more than 65,536 prefixes
    /// and for one of length 0, unless it is configured: it would cut the host off.
    pub async fn protect(&self, prefixes: &[Prefix]) -> Result<Vec<Prefix>, DataPlaneError> {
        self.fence.lock().await.protect(prefixes).await
    }

    /// Stops, and takes down everything but the fence.
    ///
    /// # Errors
    /// What could not be taken down; the threads have ended all the same.
    pub async fn stop(mut self) -> Result<(), DataPlaneError> {
        self.halt();
        match self.scaffold.take() {
            Some(scaffold) => scaffold.take_down().await,
            None => Ok(()),
        }
    }

    /// Stops, and takes down everything, the fence included: from then on what belonged in a tunnel
    /// may leave in clear.
    ///
    /// # Errors
    /// As [`Handle::stop`].
    pub async fn stop_open(mut self) -> Result<(), DataPlaneError> {
        self.halt();
        if let Some(scaffold) = self.scaffold.take() {
            scaffold.take_down().await?;
        }
        Fence::remove(&self.netlink, &self.config.instance).await
    }

    /// Ends the threads: first what keeps addresses alive, then the workers with their sockets and
    /// the TUN.
    fn halt(&mut self) {
        self.answerer = None;
        for worker in 0..self.workers() {
            let _ = self.instruct(worker, Instruction::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Takes away everything that a process which is gone left behind, the fence included.
///
/// # Errors
/// What the kernel or `nft` refused, or that a data plane is running here.
pub async fn remove_fence(instance: &str) -> Result<(), DataPlaneError> {
    let _lock = namespace_lock().map_err(|_| DataPlaneError::AlreadyRunning)?;
    let netlink = Netlink::open()?;
    Scaffold::sweep(netlink.clone()).await?;
    Fence::remove(&netlink, instance).await
}

fn mailboxes(workers: u16) -> Result<Arc<[Mailbox]>, DataPlaneError> {
    let all: std::io::Result<Vec<Mailbox>> = (0..workers).map(|_| Mailbox::new()).collect();
    all.map(Arc::from).map_err(|e| DataPlaneError::io("make a worker's mailbox", e))
}

fn check(config: &Config) -> Result<(), DataPlaneError> {
    let refuse = |text: &str| Err(DataPlaneError::Config(text.to_owned()));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(1..=64).contains(&config.workers) {
        return refuse("workers: 1 to 64");
    }
    if !(1..=32).contains(&config.instance.len()) || !config.instance.chars().all(plain) {
        return refuse("instance: 1 to 32 characters of a-z, 0-9 and '_'");
    }
    let name = &config.tun.name;
    let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=15).contains(&name.len()) || !name.chars().all(named) {
        return refuse("TUN name: 1 to 15 letters, digits, '-', '_' or '.'");
    }
    if !(1280..=9000).contains(&config.tun.mtu) {
        return refuse("TUN MTU: 1280 to 9000 bytes");
    }
    if config.mark == 0 || config.table == 0 {
        return refuse("mark and routing table must not be 0");
    }
    Ok(())
}

/// A predecessor that was killed may take a moment to go.
async fn take_lock() -> Result<UnixDatagram, DataPlaneError> {
    let mut waited = Duration::ZERO;
    loop {
        match namespace_lock() {
            Ok(lock) => return Ok(lock),
            Err(_) if waited < PREDECESSOR => {
                tokio::time::sleep(STEP).await;
                waited += STEP;
            }
            Err(_) => return Err(DataPlaneError::AlreadyRunning),
        }
    }
}

async fn make_tun(config: &Config) -> Result<(Vec<TunQueue>, bool), DataPlaneError> {
    let mut waited = Duration::ZERO;
    loop {
        match open_tun(&config.tun.name, config.workers) {
            Ok(made) => return Ok(made),
            Err(_) if waited < PREDECESSOR => {
                tokio::time::sleep(STEP).await;
                waited += STEP;
            }
            Err(e) => {
                return Err(DataPlaneError::io(format!("make TUN {}", config.tun.name), e));
            }
        }
    }
}
