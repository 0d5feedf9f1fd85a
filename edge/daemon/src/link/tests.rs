//! Links between real sockets on the loopback interface.

use super::*;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

struct End {
    local: Local,
    identity: Identity,
}

impl End {
    fn new(name: &str, workers: u16) -> End {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let control = free.local_addr().expect("bound");
        let name = node(name);
        let local = Local { name, incarnation: 1, workers, control, mark: None };
        let identity = Identity::generate(&mut OsRandom::default()).expect("an identity");
        End { local, identity }
    }

    fn as_peer(&self) -> Peer {
        Peer {
            name: self.local.name.clone(),
            public_key: self.identity.public_key(),
            control: self.local.control,
        }
    }

    fn start(&self, peers: &[Peer]) -> Links {
        Links::start(self.local.clone(), &self.identity, peers).expect("links")
    }
}

fn node(name: &str) -> NodeName {
    NodeName::try_from(name.to_owned()).expect("a name")
}

async fn next(links: &mut Links) -> LinkEvent {
    timeout(Duration::from_secs(5), links.next_event()).await.expect("an event in time")
}

/// Reads events until it has been quiet for a while, and gives the secrets of the last Up.
async fn settle(links: &mut Links) -> Option<FabricSecrets> {
    let mut last = None;
    while let Ok(event) = timeout(Duration::from_millis(400), links.next_event()).await {
        match event {
            LinkEvent::Up { secrets, .. } => last = Some(secrets),
            LinkEvent::Down { .. } => last = None,
            LinkEvent::Message { .. } => {}
        }
    }
    last
}

async fn is_quiet(links: &mut Links) -> bool {
    timeout(Duration::from_millis(700), links.next_event()).await.is_err()
}

#[tokio::test]
async fn two_nodes_agree_on_keys_and_exchange_frames() {
    let (a, b) = (End::new("a", 1), End::new("b", 3));
    let (mut at_a, mut at_b) = (a.start(&[b.as_peer()]), b.start(&[a.as_peer()]));
    let (keys_a, keys_b) = (settle(&mut at_a).await, settle(&mut at_b).await);
    let (keys_a, keys_b) = (keys_a.expect("up"), keys_b.expect("up"));
    assert_eq!((keys_a.peer_workers, keys_b.peer_workers), (3, 1));
    assert_eq!(keys_a.outbound, keys_b.inbound);
    assert_eq!(keys_a.inbound, keys_b.outbound);
    assert_ne!(keys_a.inbound, keys_a.outbound, "each direction has its own");
    let long = vec![7; 200_000];
    at_a.send(&node("b"), SecretBytes::new(long.clone()));
    at_a.send(&node("b"), SecretBytes::from(&b"second"[..]));
    for expected in [long.as_slice(), b"second"] {
        let LinkEvent::Message { node, content } = next(&mut at_b).await else { panic!("a frame") };
        assert_eq!((node.as_str(), content.as_slice()), ("a", expected));
    }
    at_b.send(&node("a"), SecretBytes::from(&b"back"[..]));
    assert!(
        matches!(next(&mut at_a).await, LinkEvent::Message { content, .. } if *content == b"back")
    );
}

#[tokio::test]
async fn of_two_opened_at_once_one_stays_the_same_at_both_ends() {
    for _ in 0..5 {
        let (a, b) = (End::new("a", 1), End::new("b", 1));
        let (mut at_a, mut at_b) = (a.start(&[b.as_peer()]), b.start(&[a.as_peer()]));
        let greedy = tls::Tls::new(&b.identity).expect("tls");
        let client = greedy.client(a.identity.public_key()).expect("a client");
        let mut extra = JoinSet::new();
        extra.spawn(dial::keep_open(at_b.shared.clone(), client, a.as_peer()));
        let (keys_a, keys_b) = (settle(&mut at_a).await, settle(&mut at_b).await);
        assert_eq!(keys_a.expect("up").outbound, keys_b.expect("up").inbound);
        assert!(is_quiet(&mut at_a).await, "it does not go on changing");
    }
}

#[tokio::test]
async fn a_link_of_age_is_renewed_with_new_keys() {
    const AGE: Duration = Duration::from_secs(2);
    let (a, b) = (End::new("a", 1), End::new("b", 1));
    let (mut at_a, mut at_b) = (a.start(&[b.as_peer()]), b.start(&[a.as_peer()]));
    let first = settle(&mut at_a).await.expect("up");
    settle(&mut at_b).await.expect("up");
    let client = tls::Tls::new(&a.identity).expect("tls").client(b.identity.public_key());
    let renewing = dial::renew(at_a.shared.clone(), client.expect("a client"), b.as_peer(), AGE);
    at_a.tasks.spawn(renewing);
    let mut renewed = Vec::new();
    for end in [&mut at_a, &mut at_b] {
        assert!(matches!(next(end).await, LinkEvent::Down { closed_by_kernel: false, .. }));
        let LinkEvent::Up { secrets, .. } = next(end).await else { panic!("it comes up again") };
        renewed.push(secrets);
    }
    assert_eq!(renewed[0].outbound, renewed[1].inbound);
    assert_ne!(renewed[0].outbound, first.outbound);
    at_a.send(&node("b"), SecretBytes::from(&b"on the new one"[..]));
    assert!(matches!(next(&mut at_b).await, LinkEvent::Message { .. }));
    assert!(is_quiet(&mut at_a).await, "once, and the old one's end is no news");
}

#[test]
fn links_are_renewed_at_different_ages() {
    let ages: Vec<Duration> = (0..50).map(|_| renewal()).collect();
    assert!(ages.iter().all(|age| (7 * 3600..=9 * 3600).contains(&age.as_secs())));
    assert!(ages.iter().any(|age| *age != ages[0]));
}

#[tokio::test]
async fn a_death_is_told_at_once_and_a_return_is_noticed() {
    let (a, mut b) = (End::new("a", 1), End::new("b", 1));
    let (mut at_a, mut at_b) = (a.start(&[b.as_peer()]), b.start(&[a.as_peer()]));
    settle(&mut at_a).await.expect("up");
    settle(&mut at_b).await.expect("up");
    let killed = Instant::now();
    drop(at_b);
    assert!(matches!(next(&mut at_a).await, LinkEvent::Down { closed_by_kernel: true, .. }));
    assert!(killed.elapsed() < Duration::from_millis(250), "{:?}", killed.elapsed());
    b.local.incarnation = 2;
    let mut at_b = b.start(&[a.as_peer()]);
    let (keys_a, keys_b) = (settle(&mut at_a).await, settle(&mut at_b).await);
    assert_eq!(keys_a.expect("up again").outbound, keys_b.expect("up").inbound);
}

#[tokio::test]
async fn a_farewell_is_no_death() {
    let (a, b) = (End::new("a", 1), End::new("b", 1));
    let (mut at_a, mut at_b) = (a.start(&[b.as_peer()]), b.start(&[a.as_peer()]));
    settle(&mut at_a).await.expect("up");
    settle(&mut at_b).await.expect("up");
    at_b.shut_down().await;
    assert!(matches!(next(&mut at_a).await, LinkEvent::Down { closed_by_kernel: false, .. }));
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_either_end() {
    let (a, b, stranger) = (End::new("a", 1), End::new("b", 1), End::new("b", 1));
    // The stranger sits on b's address; a knows b's key.
    let b_elsewhere = Peer { control: stranger.local.control, ..b.as_peer() };
    let (mut at_a, mut at_s) = (a.start(&[b_elsewhere]), stranger.start(&[a.as_peer()]));
    assert!(is_quiet(&mut at_a).await && is_quiet(&mut at_s).await);
}

#[tokio::test]
async fn a_member_under_another_s_name_is_refused() {
    let (a, b) = (End::new("a", 1), End::new("b", 1));
    let mut liar = End::new("c", 1);
    liar.identity = Identity::from_seed(
        b.identity.seed().expect("a seed").expose().try_into().expect("32 bytes"),
    )
    .expect("an identity");
    let mut at_a = a.start(&[Peer { control: liar.local.control, ..b.as_peer() }]);
    let _at_liar = liar.start(&[a.as_peer()]);
    assert!(is_quiet(&mut at_a).await);
}

#[tokio::test]
async fn rubbish_at_the_door_disturbs_nobody() {
    let (a, b) = (End::new("a", 1), End::new("b", 1));
    let (mut at_a, mut at_b) = (a.start(&[b.as_peer()]), b.start(&[a.as_peer()]));
    settle(&mut at_a).await.expect("up");
    settle(&mut at_b).await.expect("up");
    for _ in 0..40 {
        let stream = TcpStream::connect(a.local.control).await.expect("connected");
        stream.try_write(b"GET / HTTP/1.1\r\n\r\n").expect("written");
        drop(stream);
    }
    sleep(Duration::from_millis(50)).await;
    at_b.send(&node("a"), SecretBytes::from(&b"still here"[..]));
    assert!(matches!(next(&mut at_a).await, LinkEvent::Message { .. }));
}
