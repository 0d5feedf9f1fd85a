//! strongSwan's files: `strongswan.conf` for the daemon, `swanctl.conf` for the connections.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::authority::Certificate;

/// Everything that one daemon is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Its connections.
    pub connections: Vec<Connection>,
    /// Pools of virtual addresses to give out: name and prefix or range.
    pub pools: Vec<(String, String)>,
    /// Whether it outlives this process.
    pub lasting: bool,
    /// Whether it logs nothing.
    pub quiet: bool,
    /// Additional lines inside the `charon-systemd` section, such as `threads = 32`.
    pub extra: String,
    /// Additional sections of the secrets.
    pub secrets: String,
    /// The root of another distribution whose daemon is taken ([`crate::sid`]).
    pub root: Option<PathBuf>,
}

/// An IKE connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Own outer address.
    pub local: String,
    /// The peer's outer address, or `%any`.
    pub remote: String,
    /// IKE proposal in strongSwan's notation.
    pub proposal: String,
    /// Own identity.
    pub local_id: String,
    /// The peer's identity.
    pub remote_id: String,
    /// How both prove who they are.
    pub credential: Credential,
    /// Ask the peer for a virtual address (`0.0.0.0`, `::`), or empty.
    pub request: String,
    /// Give out addresses of this pool, or empty.
    pub pool: String,
    /// Additional lines inside the connection, such as `dpd_delay = 2s`.
    pub extra: String,
    /// Its Child SAs.
    pub children: Vec<Child>,
}

/// Authentication of a connection.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The same pre-shared key both ways.
    SharedKey(String),
    /// A password of ours (EAP-MSCHAPv2), and the peer's certificate.
    Password {
        /// Whom the peer's certificate has to come from.
        authority: PathBuf,
        /// Who we are.
        user: String,
        /// Our password.
        password: String,
    },
    /// Certificates both ways, all of them PEM files.
    Certificate {
        /// Whom the peer's certificate has to come from, and what stands between them and the own.
        authorities: Vec<PathBuf>,
        /// The own one.
        own: Certificate,
        /// How both sign: `pubkey` for any way, or a scheme as `rsa/pss-sha256`.
        scheme: String,
    },
}

/// A Child SA of a connection.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Own selectors, or empty for the own (virtual) address.
    pub local: String,
    /// The peer's selectors, or empty for the peer's (virtual) address.
    pub remote: String,
    /// ESP proposal in strongSwan's notation.
    pub proposal: String,
    /// Additional lines inside the child, such as `rekey_time = 5s`.
    pub extra: String,
}

/// Writes both files below `directory`.
pub(super) fn write(directory: &Path, settings: &Settings) -> Result<()> {
    let swanctl = directory.join("swanctl");
    fs::create_dir_all(&swanctl).with_context(|| format!("cannot make {}", swanctl.display()))?;
    for connection in &settings.connections {
        if let Credential::Certificate { authorities, own, .. } = &connection.credential {
            for authority in authorities {
                copy(authority, &swanctl.join("x509ca"))?;
            }
            copy(&own.certificate, &swanctl.join("x509"))?;
            copy(&own.key, &swanctl.join("private"))?;
        }
        if let Credential::Password { authority, .. } = &connection.credential {
            copy(authority, &swanctl.join("x509ca"))?;
        }
    }
    put(&directory.join("strongswan.conf"), &daemon_file(directory, settings))?;
    put(&swanctl.join("swanctl.conf"), &connections_file(settings))
}

fn copy(file: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let to = into.join(file_name(file));
    fs::copy(file, &to).with_context(|| format!("cannot copy {}", file.display())).map(|_| ())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn daemon_file(directory: &Path, settings: &Settings) -> String {
    let directory = directory.display();
    let extra = &settings.extra;
    let level = if settings.quiet { -1 } else { 1 };
    // kernel-libipsec must stand before kernel-netlink, which would claim the kernel's own ESP.
    format!(
        "charon-systemd {{
  load = random nonce openssl aes sha1 sha2 md5 hmac kdf gcm chapoly curve25519 drbg pem pkcs1 pkcs8 x509 pubkey revocation constraints kernel-libipsec kernel-netlink socket-default vici updown eap-identity eap-md5 eap-mschapv2 eap-tls
  {extra}
  plugins {{
    vici {{
      socket = unix://{directory}/charon.vici
    }}
    kernel-netlink {{
      fwmark = !0x42
    }}
    socket-default {{
      fwmark = 0x42
    }}
    kernel-libipsec {{
      allow_peer_ts = yes
    }}
  }}
  filelog {{
    log {{
      path = {directory}/charon.log
      default = {level}
      time_format = %H:%M:%S
      time_add_ms = yes
      flush_line = yes
    }}
  }}
  journal {{
    default = -1
  }}
}}
swanctl {{
  socket = unix://{directory}/charon.vici
}}
"
    )
}

fn connections_file(settings: &Settings) -> String {
    let mut text = String::from("connections {\n");
    for connection in &settings.connections {
        add_connection(&mut text, connection);
    }
    text.push_str("}\nsecrets {\n");
    for (index, connection) in settings.connections.iter().enumerate() {
        if let Credential::Password { user, password, .. } = &connection.credential {
            let secret = format!("id = {user}\n    secret = \"{password}\"");
            text.push_str(&format!("  eap-{index} {{\n    {secret}\n  }}\n"));
        }
        let Credential::SharedKey(key) = &connection.credential else { continue };
        let ids = [("local", &connection.local_id), ("remote", &connection.remote_id)];
        text.push_str(&format!("  ike-{index} {{\n    secret = \"{key}\"\n"));
        for (side, id) in ids.iter().filter(|(_, id)| !id.is_empty()) {
            text.push_str(&format!("    id-{side} = {id}\n"));
        }
        text.push_str("  }\n");
    }
    text.push_str(&settings.secrets);
    text.push_str("}\npools {\n");
    for (name, range) in &settings.pools {
        text.push_str(&format!("  {name} {{\n    addrs = {range}\n  }}\n"));
    }
    text.push_str("}\n");
    text
}

fn add_connection(text: &mut String, connection: &Connection) {
    let mut settings = vec![
        ("version", "2"),
        ("mobike", "no"),
        ("local_addrs", &connection.local),
        ("remote_addrs", &connection.remote),
        ("proposals", &connection.proposal),
        ("vips", &connection.request),
        ("pools", &connection.pool),
    ];
    settings.retain(|(_, value)| !value.is_empty());
    text.push_str(&format!("  {} {{\n", connection.name));
    for (key, value) in settings {
        text.push_str(&format!("    {key} = {value}\n"));
    }
    text.push_str(&format!("    {}\n", connection.extra));
    for (side, id) in [("local", &connection.local_id), ("remote", &connection.remote_id)] {
        let auth = match (&connection.credential, side) {
            (Credential::SharedKey(_), _) => "psk".to_owned(),
            (Credential::Certificate { own, scheme, .. }, "local") => {
                format!("{scheme}\n      certs = {}", file_name(&own.certificate))
            }
            (Credential::Password { user, .. }, "local") => {
                format!("eap-mschapv2\n      eap_id = {user}")
            }
            (Credential::Certificate { .. } | Credential::Password { .. }, _) => {
                "pubkey".to_owned()
            }
        };
        text.push_str(&format!("    {side} {{\n      auth = {auth}\n"));
        if !id.is_empty() {
            text.push_str(&format!("      id = {id}\n"));
        }
        text.push_str("    }\n");
    }
    text.push_str("    children {\n");
    for child in &connection.children {
        text.push_str(&child_section(child));
    }
    text.push_str("    }\n  }\n");
}

fn child_section(child: &Child) -> String {
    let mut text = format!("      {} {{\n", child.name);
    let settings = [
        ("local_ts", &child.local),
        ("remote_ts", &child.remote),
        ("esp_proposals", &child.proposal),
    ];
    for (key, value) in settings.iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        {key} = {value}");
    }
    text.push_str(&format!("        {}\n      }}\n", child.extra));
    text
}
