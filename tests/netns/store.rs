//! A store that fails the program: locked, full, damaged, rolled back. What passes traffic goes on,
//! what is new says so, and nothing is repaired in secret.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, params};
use serde_json::Value;
use vipsec_lab::capture::oracle::judge;
use vipsec_lab::capture::{Capture, frames};
use vipsec_lab::command::wait_for;
use vipsec_lab::disk::Disk;
use vipsec_lab::node::{Node, Place, Setup, Store, make_store_key};
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Settings, StrongSwan};
use vipsec_lab::topology::{self, HOST, IPV4, POOL, SERVICE, Site, VIP};
use vipsec_tests::in_lab;

const PATIENCE: Duration = Duration::from_secs(15);

/// A gateway alone, before two clients who share a host: `net` reaches [`HOST`], `extra`
/// reaches [`SERVICE`], which is the same host here.
struct Gateway {
    site: Site,
    node: Node,
    swan: StrongSwan,
    file: PathBuf,
}

impl Gateway {
    /// Starts it with its store in the given file, and brings `net` up.
    fn start(lab: &Lab, file: PathBuf) -> Result<Self> {
        let site = Site::build(lab)?;
        site.host.address("in0", &format!("{SERVICE}/32"))?;
        site.node("a")?.ip(&format!("route add {SERVICE} via {HOST}"))?;
        let store = Store {
            place: Place::Sqlite(file.clone()),
            key: make_store_key(lab, "store")?,
            when_unavailable: "unprotected".into(),
        };
        let setup = Setup {
            name: "a".into(),
            store: Some(store),
            members: Vec::new(),
            vips: vip(),
            cluster: String::new(),
            log_level: "debug".into(),
        };
        let mut node = Node::start(lab, site.node("a")?, &setup)?;
        node.wait_until_up()?;
        let swan = StrongSwan::start(lab, &site.client, &clients())?;
        let gateway = Self { site, node, swan, file };
        gateway.wait_for_role("owner")?;
        gateway.swan.initiate("net")?;
        Ok(gateway)
    }

    fn wait_for_role(&self, role: &str) -> Result<()> {
        wait_for(&format!("a to be {role}"), PATIENCE, || {
            Ok(self.node.role(VIP).is_ok_and(|now| now == role).then_some(()))
        })
        .with_context(|| self.node.cli("status").unwrap_or_default())
    }

    fn kill(&mut self) -> Result<()> {
        self.node.process().kill()
    }

    fn start_again(&mut self) -> Result<()> {
        self.node.process().start_again()?;
        self.node.wait_until_up()
    }

    /// What `status` says of the store.
    fn store(&self) -> Result<Value> {
        Ok(self.node.json("status")?["store"].clone())
    }

    /// The IKE SA with the given client, as `sas` shows it.
    fn sa(&self, client: &str) -> Result<Option<Value>> {
        let sas = self.node.sas()?;
        let of = |sa: &Value| sa["remote_identity"].as_str().is_some_and(|id| id.contains(client));
        Ok(sas.into_iter().find(of))
    }

    /// Whether the SA with a client is in the store.
    fn is_protected(&self, client: &str) -> Result<Option<bool>> {
        Ok(self.sa(client)?.and_then(|sa| sa["protected"].as_bool()))
    }

    fn ping(&self, to: &str) -> Result<()> {
        self.site.client.run(&format!("ping -c 3 -i 0.05 -W 2 {to}")).map(|_| ())
    }

    fn logs(&mut self, words: &[&str]) -> bool {
        let log = self.node.process().log();
        log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// The store, opened beside the program, as an administrator might.
    fn open_store(&self) -> Result<Connection> {
        let connection = Connection::open(&self.file)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(connection)
    }
}

/// The VIP of [`Gateway`]: anybody with the key may connect.
fn vip() -> String {
    format!(
        "[[vip]]\naddress = \"{VIP}\"\ninterface = \"out0\"\n\
         [vip.inner]\naddress = \"{}\"\ninterface = \"in0\"\n\
         [[vip.pool]]\nname = \"clients\"\nrange = \"10.77.0.10-10.77.0.250\"\n\
         [[vip.connection]]\nname = \"road\"\nlocal_id = \"gw@test\"\npsk = \"topsecretpsk\"\n\
         pool = \"clients\"\n\
         [[vip.connection.child]]\nname = \"net\"\n\
         local = [\"10.3.0.0/24\", \"{SERVICE}/32\"]\nremote = [\"dynamic\"]\n",
        topology::INNER_VIP
    )
}

/// Two clients in one: `client@test` with the child `net`, `second@test` with `extra`.
fn clients() -> Settings {
    let mut settings = topology::client_settings(&IPV4, false);
    settings.connections[0].children[0].remote = "10.3.0.0/24".into();
    let mut second = settings.connections[0].clone();
    second.name = "second".into();
    second.local_id = "second@test".into();
    second.children[0].name = "extra".into();
    second.children[0].remote = format!("{SERVICE}/32");
    settings.connections.push(second);
    settings
}

#[test]
fn a_locked_store_stops_no_traffic_and_is_made_up_for() {
    in_lab(|lab| {
        let gateway = Gateway::start(lab, lab.directory().join("store.db"))?;
        let lock = gateway.open_store()?;
        outage(
            lab,
            gateway,
            "locked",
            || Ok(lock.execute_batch("BEGIN EXCLUSIVE")?),
            || Ok(lock.execute_batch("ROLLBACK")?),
        )
    });
}

#[test]
fn a_full_store_stops_no_traffic_and_is_made_up_for() {
    in_lab(|lab| {
        let disk = Disk::mount(lab, "disk", 2_048)?;
        let gateway = Gateway::start(lab, disk.directory().join("store.db"))?;
        outage(lab, gateway, "no space left", || disk.fill(), || disk.make_room())
    });
}

#[test]
fn a_store_that_is_gone_stops_no_traffic_and_is_made_up_for() {
    in_lab(|lab| {
        let file = lab.directory().join("store.db");
        let elsewhere = lab.directory().join("store.elsewhere");
        let gateway = Gateway::start(lab, file.clone())?;
        outage(
            lab,
            gateway,
            "is not there",
            || Ok(fs::rename(&file, &elsewhere)?),
            || Ok(fs::rename(&elsewhere, &file)?),
        )
    });
}

/// Takes the store away, lets a new client connect meanwhile, and gives the store back.
fn outage(
    lab: &Lab,
    mut gateway: Gateway,
    word: &str,
    take: impl Fn() -> Result<()>,
    give: impl Fn() -> Result<()>,
) -> Result<()> {
    let line = format!("ping --to {HOST}");
    let mut ping = Prober::start(lab, &gateway.site.client, "ping", &line)?;
    ping.wait_until_flowing(1)?;
    take()?;
    wait_for("the store to be found unusable", PATIENCE, || {
        Ok((gateway.store()?["up"] == false).then_some(()))
    })?;
    gateway.swan.initiate("extra").with_context(|| format!("{:?}", gateway.store()))?;
    let store = gateway.store()?;
    let error = store["error"].as_str().unwrap_or_default().to_owned();
    ensure!(store["up"] == false && error.contains(word), "{store}");
    ensure!(store["unprotected"] == 1, "{store}");
    ensure!(gateway.is_protected("second@test")? == Some(false), "{:?}", gateway.node.sas());
    ensure!(gateway.is_protected("client@test")? == Some(true), "{:?}", gateway.node.sas());
    ensure!(gateway.logs(&["unprotected"]), "no event");
    gateway.ping(SERVICE)?;
    give()?;
    wait_for("the new SA to be stored", PATIENCE, || {
        let store = gateway.store()?;
        let is_repaired = store["up"] == true && store["unprotected"] == 0;
        Ok((is_repaired && gateway.is_protected("second@test")? == Some(true)).then_some(()))
    })
    .with_context(|| format!("{:?}", gateway.store()))?;
    check_unbroken(ping)?;
    // That it is in the store now is proven by those who know nothing but the store.
    gateway.kill()?;
    gateway.start_again()?;
    gateway.wait_for_role("owner")?;
    gateway.ping(HOST)?;
    gateway.ping(SERVICE)
}

fn check_unbroken(ping: Prober) -> Result<()> {
    for record in ping.finish()? {
        let lost = record.packets.iter().filter(|packet| packet.received_us.is_none()).count();
        ensure!(record.arrived > 50 && lost == 0, "{lost} of {} pings lost", record.packets.len());
    }
    Ok(())
}

#[test]
fn a_corrupt_record_costs_its_own_sa_and_nothing_else() {
    in_lab(corrupt_one_record);
}

fn corrupt_one_record(lab: &Lab) -> Result<()> {
    let mut gateway = Gateway::start(lab, lab.directory().join("store.db"))?;
    gateway.swan.initiate("extra")?;
    let sa = gateway.sa("second@test")?.context("the second client has no SA")?;
    let id = sa["id"].as_str().context("an SA without name")?.to_owned();
    gateway.kill()?;
    let key = format!("vip/{VIP}/ike/{id}");
    let read = |gateway: &Gateway| -> Result<Vec<u8>> {
        let store = gateway.open_store()?;
        let value = store.query_row("SELECT value FROM entry WHERE key = ?1", [&key], |row| {
            row.get::<_, Vec<u8>>(0)
        });
        value.with_context(|| format!("no record {key}"))
    };
    let mut bytes = read(&gateway)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let written = gateway
        .open_store()?
        .execute("UPDATE entry SET value = ?2 WHERE key = ?1", params![key, bytes])?;
    ensure!(written == 1, "{written} records changed");
    gateway.start_again()?;
    gateway.wait_for_role("owner")?;
    gateway.ping(HOST)?;
    ensure!(gateway.sa("second@test")?.is_none(), "an SA without a good record");
    ensure!(gateway.is_protected("client@test")? == Some(true), "{:?}", gateway.node.sas());
    ensure!(gateway.logs(&["bad-record", &id]), "no event names {key}");
    ensure!(read(&gateway)? == bytes, "the damaged record was changed");
    Ok(())
}

#[test]
fn a_store_that_was_rolled_back_is_refused_until_somebody_accepts_it() {
    in_lab(|lab| {
        roll_back(lab, |gateway| {
            gateway.kill()?;
            gateway.start_again()?;
            gateway.wait_for_role("owner")?;
            gateway.ping(HOST)?;
            gateway.kill()
        })
    });
}

#[test]
fn a_copy_of_the_night_is_refused_although_the_epoch_is_the_same() {
    in_lab(|lab| {
        roll_back(lab, |gateway| {
            gateway.swan.initiate("extra")?;
            gateway.ping(SERVICE)?;
            gateway.node.cli("stop").map(|_| ())
        })
    });
}

/// A copy of the store is made while the gateway runs, and put back after `meanwhile`.
fn roll_back(lab: &Lab, meanwhile: impl Fn(&mut Gateway) -> Result<()>) -> Result<()> {
    let mut gateway = Gateway::start(lab, lab.directory().join("store.db"))?;
    let capture = Capture::start(lab, &gateway.site.switch, "outside")?;
    gateway.ping(HOST)?;
    let copy = lab.directory().join("store.copy");
    let store = gateway.open_store()?;
    store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    store.execute_batch("BEGIN IMMEDIATE")?;
    fs::copy(&gateway.file, &copy)?;
    drop(store);
    meanwhile(&mut gateway)?;
    for companion in ["-wal", "-shm"] {
        let file = gateway.file.with_extension(format!("db{companion}"));
        ensure!(!file.exists() || fs::remove_file(&file).is_ok(), "cannot remove {file:?}");
    }
    fs::copy(&copy, &gateway.file)?;
    gateway.start_again()?;
    let refusal = wait_for("the store to be refused", PATIENCE, || {
        let status = gateway.node.json("status")?;
        Ok(status["vips"][0]["refusal"].as_str().map(str::to_owned))
    })?;
    ensure!(refusal.contains("rolled back"), "{refusal}");
    ensure!(refusal.contains(&format!("vipsec accept-rollback {VIP}")), "no way out: {refusal}");
    ensure!(gateway.node.role(VIP)? != "owner" && gateway.ping(HOST).is_err(), "it goes on");
    gateway.node.cli(&format!("accept-rollback {VIP}"))?;
    gateway.wait_for_role("owner")?;
    ensure!(gateway.node.sas()?.is_empty(), "{:?}", gateway.node.sas());
    // The client's SAs are lost and it does not know; it connects anew.
    gateway.swan.swanctl("--terminate --ike gw --force --timeout 1").ok();
    gateway.swan.initiate("net")?;
    gateway.ping(HOST)?;
    let verdict = judge(&IPV4.outside_rules(), frames(&capture.finish()?)?);
    ensure!(verdict.is_clean() && verdict.esp > 10, "{POOL} in clear? {verdict:?}");
    Ok(())
}
