//! A swanctl.conf(5) in our words. What has no counterpart is listed, never passed over in silence.

use super::settings::View;
use crate::config::address::{AddressRange, Prefix, selector};
use crate::config::proposal;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use vipsec_wire::ike::Identity;
use zeroize::Zeroizing;

/// What swanctl.conf does not say.
#[derive(Debug, Clone)]
pub struct Place {
    /// The VIP of connections that name no local address.
    pub vip: Option<IpAddr>,
    /// The interface of every VIP.
    pub interface: String,
    /// Where the files of pre-shared keys will be.
    pub secrets: PathBuf,
}

/// The outcome.
#[derive(Default)]
pub struct Imported {
    /// The configuration, without anything secret.
    pub text: String,
    /// Files to be made, for their owner's eyes only, and what belongs into them.
    pub secrets: Vec<(PathBuf, Zeroizing<String>)>,
    /// What was not taken over, and why.
    pub left_out: Vec<String>,
}

/// Settings that say nothing that matters here, or only what we do anyway.
const SILENT: &[&str] = &[
    "version",
    "mobike",
    "fragmentation",
    "send_cert",
    "send_certreq",
    "dpd_timeout",
    "keyingtries",
    "round",
    "priority",
    "reqid",
    "pull",
];

struct Importer<'a> {
    root: View<'a>,
    place: &'a Place,
    done: Imported,
    /// The connections and pools of each VIP.
    vips: BTreeMap<IpAddr, (String, Vec<String>)>,
}

/// Takes a configuration over.
#[must_use]
pub fn import(root: &View<'_>, place: &Place) -> Imported {
    let mut importer =
        Importer { root: root.clone(), place, done: Imported::default(), vips: BTreeMap::new() };
    for (name, connection) in root.section("connections").map(|c| c.sections()).unwrap_or_default()
    {
        importer.connection(name, &connection);
    }
    importer.others();
    importer.finish()
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn quoted_list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// Seconds of a time such as `4h`.
fn seconds(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1),
        'm' => (&text[..text.len() - 1], 60),
        'h' => (&text[..text.len() - 1], 3600),
        'd' => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}

fn is_yes(text: &str) -> bool {
    matches!(text, "yes" | "true" | "1" | "enabled")
}

impl Importer<'_> {
    fn leave(&mut self, place: &str, why: &str) {
        self.done.left_out.push(format!("{place}: {why}"));
    }

    fn connection(&mut self, name: &str, from: &View<'_>) {
        let place = format!("connections.{name}");
        if from.get("version") == Some("1") {
            return self.leave(&place, "IKEv1 is not spoken");
        }
        let Some(vip) = self.vip(&place, from) else { return };
        let Some((local_id, remote_id)) = self.sides(&place, from) else { return };
        let Some(secret) = self.secret(&place, name, local_id.as_deref(), remote_id.as_deref())
        else {
            return;
        };
        let mut out = format!("\n[[vip.connection]]\nname = {}\n", quoted(name));
        for (key, id) in [("local_id", &local_id), ("remote_id", &remote_id)] {
            if let Some(id) = id {
                let _ = writeln!(out, "{key} = {}", quoted(id));
            }
        }
        let _ = writeln!(out, "psk_file = {}", quoted(&secret.display().to_string()));
        let known_remote = self.remote(&place, from, &mut out);
        self.proposals(&place, "proposals", from, &mut out, |text| proposal::ike(text).map(|_| ()));
        let pools = self.pools(&place, from, &mut out);
        self.settings(&place, from, &mut out);
        let children = from.section("children").map(|c| c.sections()).unwrap_or_default();
        self.initiative(&place, &children, known_remote, &mut out);
        let mut any = false;
        for (child, section) in &children {
            any |= self.child(&format!("{place}.children.{child}"), child, section, &mut out);
        }
        if !any {
            return self
                .leave(&place, "no child of it can be taken over, so that it carries nothing");
        }
        let entry = self.vips.entry(vip).or_default();
        entry.0.push_str(&out);
        entry.1.extend(pools);
    }

    fn vip(&mut self, place: &str, from: &View<'_>) -> Option<IpAddr> {
        let addresses: Vec<&str> = list(from.get("local_addrs").unwrap_or_default()).collect();
        let parsed: Vec<IpAddr> = addresses.iter().filter_map(|text| text.parse().ok()).collect();
        if addresses.len() > 1 {
            self.leave(place, "local_addrs: the first address alone becomes the VIP");
        }
        let vip = self.place.vip.or_else(|| parsed.first().copied());
        if vip.is_none() {
            self.leave(place, "no local address; name the VIP with --vip");
        }
        vip
    }

    /// The identities of both sides, if both prove them with a pre-shared key.
    fn sides(&mut self, place: &str, from: &View<'_>) -> Option<(Option<String>, Option<String>)> {
        let mut ids = [None, None];
        for (id, side) in ids.iter_mut().zip(["local", "remote"]) {
            let sections = from.sections();
            let rounds: Vec<_> =
                sections.iter().filter(|(name, _)| name.starts_with(side)).collect();
            let [(_, round)] = rounds.as_slice() else {
                self.leave(place, &format!("{side}: one round of authentication is needed"));
                return None;
            };
            let auth = round.get("auth").unwrap_or("pubkey");
            if auth != "psk" {
                self.leave(
                    place,
                    &format!("{side}.auth = {auth}: pre-shared keys alone are taken over"),
                );
                return None;
            }
            let text = round.get("id").filter(|text| *text != "%any");
            if let Some(text) = text
                && (text.contains('*') || text.parse::<Identity>().is_err())
            {
                self.leave(place, &format!("{side}.id = {text}: not an identity of ours"));
                return None;
            }
            *id = text.map(str::to_owned);
            for key in round.keys().into_iter().filter(|key| !["auth", "id", "round"].contains(key))
            {
                self.leave(place, &format!("{side}.{key} has no counterpart"));
            }
        }
        let [local, remote] = ids;
        Some((local, remote))
    }

    /// The key that fits both identities best, as a file.
    fn secret(
        &mut self,
        place: &str,
        name: &str,
        local: Option<&str>,
        remote: Option<&str>,
    ) -> Option<PathBuf> {
        let secrets = self.root.section("secrets").map(|s| s.sections()).unwrap_or_default();
        let score = |section: &View<'_>| {
            let keys = section.keys();
            let ids: Vec<&str> = keys
                .into_iter()
                .filter(|key| key.starts_with("id"))
                .filter_map(|key| section.get(key))
                .collect();
            let has = |id: Option<&str>| id.is_some_and(|id| ids.contains(&id));
            match (ids.is_empty(), has(local), has(remote)) {
                (true, ..) => Some(0),
                (_, true, true) => Some(3),
                (_, false, true) => Some(2),
                (_, true, false) => Some(1),
                _ => None,
            }
        };
        let shared = secrets.iter().filter(|(name, _)| name.starts_with("ike"));
        let fitting =
            shared.filter_map(|(_, section)| Some((score(section)?, section.get("secret")?)));
        let Some((_, secret)) = fitting.max_by_key(|(score, _)| *score) else {
            self.leave(place, "no pre-shared key fits its identities");
            return None;
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let file: String = name.chars().map(plain).collect();
        let path = self.place.secrets.join(format!("{file}.psk"));
        self.done
            .secrets
            .push((path.clone(), Zeroizing::new(format!("{}\n", written(secret).as_str()))));
        Some(path)
    }

    /// Where the peer is; whether that is known.
    fn remote(&mut self, place: &str, from: &View<'_>, out: &mut String) -> bool {
        let all: Vec<&str> = list(from.get("remote_addrs").unwrap_or("%any")).collect();
        if all.iter().any(|text| text.starts_with("%any")) {
            return false;
        }
        let single = |text: &&&str| {
            !text.contains('/') && !text.contains('-') || text.parse::<IpAddr>().is_ok()
        };
        let taken: Vec<&str> = all.iter().filter(single).copied().collect();
        if taken.len() < all.len() {
            self.leave(
                place,
                "remote_addrs: ranges are not known; the peer may come from anywhere",
            );
            return false;
        }
        let _ = writeln!(out, "remote = {}", quoted_list(&taken));
        true
    }

    fn proposals(
        &mut self,
        place: &str,
        key: &str,
        from: &View<'_>,
        out: &mut String,
        check: impl Fn(&str) -> Result<(), String>,
    ) {
        let Some(text) = from.get(key) else { return };
        let mut taken = Vec::new();
        for one in list(text).filter(|one| *one != "default") {
            match check(one) {
                Ok(()) => taken.push(one),
                Err(why) => self.leave(place, &format!("{key}: {why}")),
            }
        }
        if !taken.is_empty() {
            let _ = writeln!(out, "proposals = {}", quoted_list(&taken));
        } else if list(text).any(|one| one != "default") {
            self.leave(place, &format!("{key}: none is left; the usual ones are offered"));
        }
    }

    /// Names the pools, and gives them back as sections of the VIP.
    fn pools(&mut self, place: &str, from: &View<'_>, out: &mut String) -> Vec<String> {
        let mut names = Vec::new();
        let mut sections = Vec::new();
        let (mut dns, mut subnets, mut domains) = (Vec::new(), Vec::new(), Vec::new());
        for name in list(from.get("pools").unwrap_or_default()) {
            let pool = self.root.section("pools").and_then(|pools| pools.section(name));
            let range = pool.as_ref().and_then(|pool| pool.get("addrs"));
            let Some((pool, range)) = pool.as_ref().zip(range) else {
                self.leave(place, &format!("pools: {name} is not in this file"));
                continue;
            };
            if let Err(why) = range.parse::<AddressRange>() {
                self.leave(&format!("pools.{name}"), &why);
                continue;
            }
            for key in pool.keys() {
                let values: Vec<String> =
                    list(pool.get(key).unwrap_or_default()).map(str::to_owned).collect();
                match key {
                    "addrs" => {}
                    "dns" => dns.extend(values),
                    "subnet" | "split_include" => {
                        subnets.extend(values.into_iter().filter(|v| v.parse::<Prefix>().is_ok()));
                    }
                    "25" => domains.extend(values),
                    _ => self.leave(&format!("pools.{name}"), &format!("{key} has no counterpart")),
                }
            }
            sections.push(format!(
                "\n[[vip.pool]]\nname = {}\nrange = {}\n",
                quoted(name),
                quoted(range)
            ));
            names.push(name);
        }
        for (key, values) in [("dns", dns), ("dns_domains", domains), ("subnets", subnets)] {
            if !values.is_empty() {
                let _ = writeln!(out, "{key} = {}", quoted_list(&values));
            }
        }
        if !names.is_empty() {
            let _ = writeln!(out, "pool = {}", quoted_list(&names));
        }
        sections
    }

    fn settings(&mut self, place: &str, from: &View<'_>, out: &mut String) {
        for key in from.keys() {
            let value = from.get(key).unwrap_or_default();
            match key {
                "encap" if is_yes(value) => out.push_str("force_encapsulation = true\n"),
                "vips" if list(value).all(|vip| matches!(vip, "0.0.0.0" | "::")) => {
                    out.push_str("request_address = true\n");
                }
                "dpd_delay" | "rekey_time" => match seconds(value) {
                    Some(0) => self.leave(place, &format!("{key} = 0: cannot be switched off")),
                    Some(s) => {
                        let key = if key == "dpd_delay" { "dpd_s" } else { "rekey_s" };
                        let _ = writeln!(out, "{key} = {s}");
                    }
                    None => self.leave(place, &format!("{key} = {value} is no time")),
                },
                "local_addrs" | "remote_addrs" | "proposals" | "pools" | "encap" => {}
                "unique" if matches!(value, "no" | "replace") => {}
                "aggressive" if !is_yes(value) => {}
                "reauth_time" if seconds(value) == Some(0) => {}
                key if SILENT.contains(&key) => {}
                key => self.leave(place, &format!("{key} = {value} has no counterpart")),
            }
        }
    }

    /// What its children say of beginning holds for the whole connection here.
    fn initiative(
        &mut self,
        place: &str,
        children: &[(&str, View<'_>)],
        known_remote: bool,
        out: &mut String,
    ) {
        let said = |key: &str| children.iter().filter_map(|(_, c)| c.get(key)).collect::<Vec<_>>();
        let starts = said("start_action");
        let start = match () {
            () if starts.iter().any(|s| s.contains("start")) => "at-start",
            () if starts.iter().any(|s| s.contains("trap") || *s == "route") => "on-traffic",
            () => "never",
        };
        let actions = said("dpd_action");
        let action = match () {
            () if actions.iter().any(|a| matches!(*a, "restart" | "start")) => "restart",
            () if actions.iter().any(|a| matches!(*a, "trap" | "hold")) => "trap",
            () => "clear",
        };
        if !known_remote {
            if start != "never" || action != "clear" {
                self.leave(
                    place,
                    "start_action, dpd_action: nobody can begin with a peer that is anywhere",
                );
            }
            return;
        }
        let _ = writeln!(out, "start = \"{start}\"\ndpd_action = \"{action}\"");
    }

    fn child(&mut self, place: &str, name: &str, from: &View<'_>, out: &mut String) -> bool {
        let mode = from.get("mode").unwrap_or("tunnel");
        if mode != "tunnel" && mode != "transport" {
            self.leave(place, &format!("mode = {mode} has no counterpart"));
            return false;
        }
        let mut text =
            format!("\n[[vip.connection.child]]\nname = {}\nmode = \"{mode}\"\n", quoted(name));
        for (key, ours) in [("local_ts", "local"), ("remote_ts", "remote")] {
            let mut taken = Vec::new();
            for one in list(from.get(key).unwrap_or("dynamic")) {
                match selector(one) {
                    Ok(_) => taken.push(one),
                    Err(why) => self.leave(place, &format!("{key}: {why}")),
                }
            }
            if taken.is_empty() {
                return false;
            }
            let _ = writeln!(text, "{ours} = {}", quoted_list(&taken));
        }
        self.proposals(place, "esp_proposals", from, &mut text, |text| {
            proposal::esp(text).map(|_| ())
        });
        for key in from.keys() {
            let value = from.get(key).unwrap_or_default();
            let number = match key {
                "rekey_time" => seconds(value).map(|s| ("rekey_s", s)),
                "rekey_bytes" => value.parse().ok().map(|n| ("rekey_bytes", n)),
                "rekey_packets" => value.parse().ok().map(|n| ("rekey_packets", n)),
                "replay_window" => value.parse().ok().map(|n| ("replay_window", n)),
                "mode" | "local_ts" | "remote_ts" | "esp_proposals" | "start_action"
                | "dpd_action" => continue,
                "close_action" | "start-action" if value == "none" => continue,
                "policies" | "sha256_96" | "ipcomp" | "hostaccess"
                    if is_yes(value) == (key == "policies") =>
                {
                    continue;
                }
                key if SILENT.contains(&key) => continue,
                _ => None,
            };
            match number.filter(|(_, number)| *number != 0) {
                Some((key, number)) => {
                    let _ = writeln!(text, "{key} = {number}");
                }
                None => self.leave(place, &format!("{key} = {value} has no counterpart")),
            }
        }
        out.push_str(&text);
        true
    }

    /// Sections that nothing is taken from.
    fn others(&mut self) {
        for (name, _) in self.root.section("secrets").map(|s| s.sections()).unwrap_or_default() {
            if !name.starts_with("ike") {
                self.leave(
                    &format!("secrets.{name}"),
                    "pre-shared keys for IKE alone are taken over",
                );
            }
        }
        for (name, _) in self.root.section("authorities").map(|s| s.sections()).unwrap_or_default()
        {
            self.leave(&format!("authorities.{name}"), "has no counterpart");
        }
    }

    fn finish(mut self) -> Imported {
        let interface = quoted(&self.place.interface);
        let mut text =
            "[node]\nname = \"gw\"\n\n[store]\nkey = \"/etc/vipsec/store.key\"\n".to_owned();
        for (vip, (connections, mut pools)) in core::mem::take(&mut self.vips) {
            pools.sort();
            pools.dedup();
            let _ = write!(text, "\n[[vip]]\naddress = \"{vip}\"\ninterface = {interface}\n");
            text.push_str(&pools.concat());
            text.push_str(&connections);
        }
        self.done.text = text;
        self.done
    }
}

/// A key as a line: what would not fit on one is written in base64.
fn written(secret: &str) -> Zeroizing<String> {
    use base64::Engine as _;
    match secret.chars().any(char::is_control) {
        true => Zeroizing::new(format!(
            "0s{}",
            base64::engine::general_purpose::STANDARD.encode(secret)
        )),
        false => Zeroizing::new(secret.to_owned()),
    }
}

/// Whether a path may be made for secrets.
pub(super) fn is_free(path: &Path) -> bool {
    !path.exists()
}
