//! One connection with a member, from the end of the TLS handshake to its close: the greeting, the
//! keys for the fabric, then frames both ways.

use super::{LinkError, LinkEvent, Local};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use vipsec_node::FabricSecrets;
use vipsec_wire::cluster::{FrameDecoder, Hello, Message, frame};
use vipsec_wire::id::NodeName;
use vipsec_wire::secret::SecretBytes;
use zeroize::Zeroizing;

/// Octets of each secret.
const SECRET: usize = vipsec_node::SECRET_LENGTH;
/// Longest wait until the word that closes a connection is on its way.
const FAREWELL: Duration = Duration::from_millis(200);
/// Octets read at once.
const READ: usize = 16 * 1024;

/// A greeted connection.
pub(super) struct Greeted<S> {
    pub(super) stream: TlsStream<S>,
    pub(super) decoder: FrameDecoder,
    pub(super) hello: Hello,
}

/// Exchanges greetings; what the peer sent behind its own stays in the decoder.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: TlsStream<S>,
    local: &Local,
    peer: &NodeName,
) -> Result<Greeted<S>, LinkError> {
    let hello = Message::Hello(Hello {
        name: local.name.clone(),
        incarnation: local.incarnation,
        workers: local.workers,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    });
    stream.write_all(&frame(hello.encode().expose())?).await?;
    stream.flush().await?;
    let mut decoder = FrameDecoder::new();
    let content = loop {
        if let Some(content) = decoder.poll_frame()? {
            break content;
        }
        let mut bytes = [0; 512];
        match stream.read(&mut bytes).await? {
            0 => return Err(LinkError::Io(io::ErrorKind::UnexpectedEof.into())),
            length => decoder.handle_bytes(&bytes[..length]),
        }
    };
    match Message::decode(&content)? {
        Message::Hello(hello) if hello.name == *peer => Ok(Greeted { stream, decoder, hello }),
        Message::Hello(hello) => Err(LinkError::Name { claimed: hello.name, proven: peer.clone() }),
        _ => Err(LinkError::NoHello),
    }
}

/// The secrets for the fabric between us and the peer, from the TLS exporter (RFC 8446 section 7.5)
/// with a label for each direction.
pub(super) fn fabric_secrets<S>(
    greeted: &Greeted<S>,
    local: &NodeName,
) -> Result<FabricSecrets, LinkError> {
    let peer = &greeted.hello;
    let secret =
        |sender: &NodeName, receiver: &NodeName| export(&greeted.stream, sender < receiver);
    Ok(FabricSecrets {
        outbound: secret(local, &peer.name)?,
        inbound: secret(&peer.name, local)?,
        peer_workers: peer.workers,
    })
}

fn export<S>(stream: &TlsStream<S>, from_lower: bool) -> Result<SecretBytes, LinkError> {
    let label: &[u8] = match from_lower {
        true => b"EXPORTER-vipsec-fabric-from-lower-name",
        false => b"EXPORTER-vipsec-fabric-from-higher-name",
    };
    let mut secret = Zeroizing::new([0; SECRET]);
    let out = secret.as_mut_slice();
    match stream {
        TlsStream::Client(stream) => stream.get_ref().1.export_keying_material(out, label, None)?,
        TlsStream::Server(stream) => stream.get_ref().1.export_keying_material(out, label, None)?,
    };
    Ok(SecretBytes::from(secret.as_slice()))
}

/// Where the events of one connection go.
pub(super) struct Inbox<'a> {
    pub(super) id: u64,
    pub(super) node: &'a NodeName,
    pub(super) events: &'a mpsc::Sender<(u64, LinkEvent)>,
}

impl Inbox<'_> {
    /// Waits when events are not taken, and the peer with us.
    pub(super) async fn tell(&self, event: LinkEvent) {
        let _ = self.events.send((self.id, event)).await;
    }
}

/// How a connection came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// The peer's kernel closed it without a word.
    Closed,
    /// Anything else.
    Lost(LinkError),
}

/// Moves frames until the connection ends: those of `outgoing` out, those that come to `inbox`.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    greeted: Greeted<S>,
    outgoing: &mut mpsc::Receiver<SecretBytes>,
    inbox: &Inbox<'_>,
) -> End {
    let Greeted { stream, decoder, .. } = greeted;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let result = tokio::select! {
        result = read(&mut reader, decoder, inbox) => result,
        result = write(&mut writer, outgoing) => result,
    };
    match result {
        Ok(()) => {
            let _ = timeout(FAREWELL, writer.shutdown()).await;
            End::Lost(LinkError::Retired)
        }
        Err(LinkError::Io(error)) if closed_by_kernel(&error) => End::Closed,
        Err(error) => End::Lost(error),
    }
}

/// Closes a connection that is not needed, in words.
pub(super) async fn retire<S: AsyncRead + AsyncWrite + Unpin>(mut greeted: Greeted<S>) {
    let _ = timeout(FAREWELL, greeted.stream.shutdown()).await;
}

async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    mut decoder: FrameDecoder,
    inbox: &Inbox<'_>,
) -> Result<(), LinkError> {
    let mut bytes = Zeroizing::new(vec![0; READ]);
    loop {
        while let Some(content) = decoder.poll_frame()? {
            inbox.tell(LinkEvent::Message { node: inbox.node.clone(), content }).await;
        }
        match reader.read(&mut bytes).await? {
            0 => return Err(LinkError::Retired),
            length => decoder.handle_bytes(&bytes[..length]),
        }
    }
}

/// Ends without error when nobody can send any more.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut mpsc::Receiver<SecretBytes>,
) -> Result<(), LinkError> {
    while let Some(content) = outgoing.recv().await {
        writer.write_all(&frame(content.expose())?).await?;
        while let Ok(more) = outgoing.try_recv() {
            writer.write_all(&frame(more.expose())?).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

/// TLS closes with a word, close_notify; a FIN or RST without it comes from the kernel of a process
/// that is gone.
fn closed_by_kernel(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
