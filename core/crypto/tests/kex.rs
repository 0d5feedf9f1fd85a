//! Key exchange against published values: RFC 7748 section 6.1, RFC 5903 section 8, and the
//! selected cases of Wycheproof (C2SP/wycheproof, testvectors_v1: x25519_test.json and
//! ecdh_secp256r1_ecpoint_test.json) that an attacker would choose. The MODP groups have no published
//! exchange: their values were computed with Python's pow(), the primes from RFC 3526's formulas.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::digest::sha256;
use vipsec_crypto::kex::{Group, PrivateKey};
use vipsec_crypto::{KexError, KeyError, Random};

fn private(group: Group, value: &str) -> PrivateKey {
    PrivateKey::from_bytes(group, &hex::decode(value).unwrap()).unwrap()
}

fn agreed(key: &PrivateKey, public: &str) -> String {
    hex::encode(key.agree(&hex::decode(public).unwrap()).unwrap().expose())
}

fn refused(key: &PrivateKey, public: &str) {
    let agreed = key.agree(&hex::decode(public).unwrap());
    assert_eq!(agreed.map(|_| ()), Err(KexError::Value), "{public}");
}

#[test]
fn x25519_rfc_7748_section_6_1() {
    let alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    let bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
    let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    let (alice, bob) = (private(Group::X25519, alice), private(Group::X25519, bob));
    let alice_public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    let bob_public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(hex::encode(alice.public()), alice_public);
    assert_eq!(hex::encode(bob.public()), bob_public);
    assert_eq!(agreed(&alice, bob_public), shared);
    assert_eq!(agreed(&bob, alice_public), shared);
}

/// Wycheproof x25519_test.json, tcId 11, 21, 24, 30, 31, 34 and 44.
const X25519_EDGES: [[&str; 3]; 7] = [
    [
        "a8c9df5820eb399d471dfa3215d96055b3c7d0f4ea49f8ab028d6a6e3194517b",
        "0000010000000000000000000000000000000000000000000000000000000000",
        "a92a96fa029960f9530e6fe37e2429cd113be4d8f3f4431f8546e6c76351475d",
    ],
    [
        "80bbad168222276200aafd36f7f25fdc025632d8bf9f6354bb762e06fb63e250",
        "0000000000000000000000000000000000000000000000000000000000800000",
        "f134e6267bf93903085117b99932cc0c7ba26f25fca12102a26d7533d9c4272a",
    ],
    [
        "18bffb16f92680a9e267473e43c464476d5372ddd1f664f3d0678efe7c98bc79",
        "000000fcffff070000e0ffff3f000000ffffff010000f8ffff0f0000c0ffff7f",
        "5894e0963583ae14a0b80420894167f4b759c8d2eb9b69cb675543f66510f646",
    ],
    [
        "d0fca64cc5f3a0c8e75c824e8b09d1615aa79aeba139bb7302e2bb2fcbe54b40",
        "edfeffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "7d62f189444c6231a48afab10a0af2eee4a52e431ea05ff781d616af2114672f",
    ],
    [
        "d02456e456911d3c6cd054933199807732dfdc958642ad1aebe900c793bef24a",
        "eaffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "07ba5fcbda21a9a17845c401492b10e6de0a168d5c94b606694c11bac39bea41",
    ],
    [
        "a8386f7f16c50731d64f82e6a170b142a4e34f31fd7768fcb8902925e7d1e25a",
        "0400000000000000000000000000000000000000000000000000000000000000",
        "34b7e4fa53264420d9f943d15513902342b386b172a0b0b7c8b8f2dd3d669f59",
    ],
    [
        "9899d5e265e1fc7c32345227d6699a6d6b5517cf33b43ab156ee20df4878794e",
        "0000000000000000000000000000000001000000000000000000000000000000",
        "30eca56f1f1c2e8ff780134e0e9382c5927d305d86b53477e9aeca79fc9ced05",
    ],
];

#[test]
fn x25519_wycheproof_edge_cases() {
    for [key, public, shared] in X25519_EDGES {
        assert_eq!(agreed(&private(Group::X25519, key), public), shared);
    }
}

/// The points of small order, in the forms below 2^255 and with the ignored top bit set
/// (Wycheproof flags them LowOrderPublic and ZeroSharedSecret, from tcId 32 on).
#[test]
fn x25519_low_order_points_are_refused() {
    let key =
        private(Group::X25519, "88227494038f2bb811d47805bcdf04a2ac585ada7f2f23389bfd4658f9ddd45e");
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        refused(&key, point);
        let mut with_top_bit = hex::decode(point).unwrap();
        with_top_bit[31] |= 0x80;
        refused(&key, &hex::encode(with_top_bit));
    }
}

#[test]
fn p256_rfc_5903_section_8_1() {
    let i = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433";
    let r = "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53";
    let gi = "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180\
              5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3";
    let gr = "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63\
              56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab";
    let shared = "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de";
    let (i, r) = (private(Group::P256, i), private(Group::P256, r));
    assert_eq!(hex::encode(i.public()), gi);
    assert_eq!(hex::encode(r.public()), gr);
    assert_eq!(agreed(&i, gr), shared);
    assert_eq!(agreed(&r, gi), shared);
}

/// Both sides' private values, public values and what they agree on.
fn exchange(group: Group, privates: [&str; 2], publics: [&str; 2], shared: &str) {
    let [i, r] = privates.map(|value| private(group, value));
    assert_eq!(hex::encode(i.public()), publics[0]);
    assert_eq!(hex::encode(r.public()), publics[1]);
    assert_eq!(agreed(&i, publics[1]), shared);
    assert_eq!(agreed(&r, publics[0]), shared);
}

#[test]
fn p384_rfc_5903_section_8_2() {
    let i = "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b5380\
             41e649ee3faef896783ab194";
    let r = "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312\
             916b8ed2960e4bd55a7448fc";
    let gi = "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808\
              acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ad\
              a024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c";
    let gr = "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a\
              0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416\
              dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c";
    let shared = "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d6031355\
              69b9e9d09cf5d4a270f59746";
    exchange(Group::P384, [i, r], [gi, gr], shared);
}

#[test]
fn p521_rfc_5903_section_8_3() {
    let i = "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a3\
             0fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52";
    let r = "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d60\
             0b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9";
    let gi = "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42\
              e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e017cae20b664\
              1d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799d\
              c75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582";
    let gr = "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356\
              436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383\
              956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2ae\
              bb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a";
    let shared = "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73\
              ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea";
    exchange(Group::P521, [i, r], [gi, gr], shared);
}

/// A point off the curve, the point at infinity's stand-in, and coordinates above the prime.
#[test]
fn points_off_the_larger_curves_are_refused() {
    for group in [Group::P384, Group::P521] {
        let key = PrivateKey::generate(group, &mut Counter(1)).unwrap();
        let length = group.public_length();
        let mut off = PrivateKey::generate(group, &mut Counter(2)).unwrap().public();
        off[length - 1] ^= 1;
        for point in [off, vec![0; length], vec![0xff; length]] {
            refused(&key, &hex::encode(point));
        }
    }
}

/// Wycheproof ecdh_secp256r1_ecpoint_test.json, tcId 1, 3, 4 and 331.
const P256_EDGES: [[&str; 4]; 4] = [
    [
        "0612465c89a023ab17855b0a6bcebfd3febb53aef84138647b5352e02c10c346",
        "62d5bd3372af75fe85a040715d0f502428e07046868b0bfdfa61d731afe44f26",
        "ac333a93a9e70a81cd5a95b5bf8d13990eb741c8c38872b4a07d275a014e30cf",
        "53020d908b0219328b658b525f26780e3ae12bcd952bb25a93bc0895e1714285",
    ],
    [
        "0a0d622a47e48f6bc1038ace438c6f528aa00ad2bd1da5f13ee46bf5f633d71a",
        "58fd4168a87795603e2b04390285bdca6e57de6027fe211dd9d25e2212d29e62",
        "080d36bd224d7405509295eed02a17150e03b314f96da37445b0d1d29377d12c",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ],
    [
        "0a0d622a47e48f6bc1038ace438c6f528aa00ad2bd1da5f13ee46bf5f633d71a",
        "a1ecc24bf0d0053d23f5fd80ddf1735a1925039dc1176c581a7e795163c8b9ba",
        "2cb5a4e4d5109f4527575e3137b83d79a9bcb3faeff90d2aca2bed71bb523e7e",
        "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
    ],
    [
        "313f72ff9fe811bf573176231b286a3bdb6f1b14e05c40146590727a71c3bccd",
        "cc11887b2d66cbae8f4d306627192522932146b42f01d3c6f92bd5c8ba739b06",
        "a2f08a029cd06b46183085bae9248b0ed15b70280c7ef13a457f5af382426031",
        "831c3f6b5f762d2f461901577af41354ac5f228c2591f84f8a6e51e2e3f17991",
    ],
];

#[test]
fn p256_wycheproof_edge_cases() {
    for [key, x, y, shared] in P256_EDGES {
        assert_eq!(agreed(&private(Group::P256, key), &format!("{x}{y}")), shared);
    }
}

/// Wycheproof InvalidCurveAttack, tcId 332 to 347: every pair of these coordinates.
#[test]
fn p256_points_off_the_curve_are_refused() {
    let key =
        private(Group::P256, "7e4aa54f714bf01df85c50269bea3a86721f84afe74f7b41ea58abcf3474e88d");
    let coordinates = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "ffffffff00000001000000000000000000000000fffffffffffffffffffffffe",
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    ];
    for x in coordinates {
        for y in coordinates {
            refused(&key, &format!("{x}{y}"));
        }
    }
}

/// Exponents 01 02 … 20 and 65 66 … 84 (hexadecimal).
const MODP_PUBLIC: &str = "ce8736a3ad7c8260e0c5e5a457931ad19966d693e5c32414496b73d7f4e8bdaf51763d49d07a56b0a188\
    048d61d52bd2a06e706a7a46664113e794057474d04c96b5bb151a50b27818a513cd8d6ecf037fc638b3\
    b2f1084c58d4419735ba12c9a4391e2b3133bd660785e468569be85c7ad4f904d98a13f5e8695ff8cc5e\
    22834228a8ea2c082ff49a07607e8e5c1278ce8091725678fde112491091bf4cf3b1759ccb32c1de0b90\
    a074b1e3ffe179d71a292ff29ce9580c3a978793598c0e008289e7ab7783b2b75caf9152267e8c981dbb\
    28fde07f2e11ffe1e3984097d1602c61ffd0714d9523455377c177df3be6b3c81e69f762c04be910a225\
    f323882d";
const MODP_SHARED: &str = "cc8f59fca5de8be5c530d8bae12ae08d3ca92f3f9c1b3ba3a79a1a7ffdec53154ade449451e0b9e860ce\
    02e1b676233f4dc74ae837b27f988bfa0af696da86e10476ac1ab2dca18a50d2fc5c4c7f4af454601b06\
    10fccf3a15945acd2fc0f36c1f9509add27c191e17a33bce7cc40fc631521d83aa49ea0294919c177f7a\
    36a319dc82a43d55c3ea44ada33655acab0a317febe1b0d88fc6bbeb220234545fdc42e89776b4fe227f\
    1c16f3a271ebd7cd0ab0b8657852a21b66ff4377b36486dc6e25ba6c48d0559007380e7b6e6089e118fd\
    7c16d4bbc0d8ab28c02069301aee4657fe12fbf3dc5454c848d35f425744f90dd3f4b6be9de00248fabd\
    632d00a3";

#[test]
fn modp_2048_agrees_with_an_independent_computation() {
    let ours = PrivateKey::from_bytes(Group::Modp2048, &(1..=32).collect::<Vec<u8>>()).unwrap();
    let theirs =
        PrivateKey::from_bytes(Group::Modp2048, &(101..=132).collect::<Vec<u8>>()).unwrap();
    assert_eq!(hex::encode(ours.public()), MODP_PUBLIC);
    assert_eq!(agreed(&theirs, MODP_PUBLIC), MODP_SHARED);
    assert_eq!(agreed(&ours, &hex::encode(theirs.public())), MODP_SHARED);
}

/// Exponents 01 02 … and 65 66 … (hexadecimal) of full length; SHA-256 of both public values and of
/// what is agreed on.
#[test]
fn larger_modp_groups_agree_with_an_independent_computation() {
    let cases = [
        (
            Group::Modp3072,
            [
                "71cd9b27251732586c6a41ac0f0a75656b6a8230b1ec2452d3bca7a4da036034",
                "dbcb3d04d2005c7a9fb5ef8ceeb207ae27cca662e398fcc0422e3a9b972d2395",
                "d31b56e3a3fbbd5b27c09c9a055cca245538846093e94b0f33a8be002af19142",
            ],
        ),
        (
            Group::Modp4096,
            [
                "fc916cbbbf2d65c638734f4328faf64611b7f43fc26016c21cb8024c5eeac22d",
                "245d2ba0d40ea5641a88ce5de1fa899592f6bf5aed99034591c0334b0508d91f",
                "1d3eeb28061c19a8b64d26698d01007a6b95fe4515935963b30c2eb83d8763cd",
            ],
        ),
        (
            Group::Modp6144,
            [
                "92ab7e413f32d664bc3409384258dda1b703432fec9f2e5a02ab5b507a4e3e13",
                "f79f5d97eeb4dc7890f716df766090eb7f824c2ace685dc27b20979dd9eac53e",
                "fc95d367d8cc74826e63689c20ba2abac2f1142fbb5d6d7c75f1589d781ddf6f",
            ],
        ),
        (
            Group::Modp8192,
            [
                "c503dad9d869f57884092c76f3a6745d71f87a7a2d295abe980e58298e3b9851",
                "c0e316938425f8b1d7eaa7d04fd97c6506845190e47620c13e60e3762c6a0a3e",
                "b851ed19c5eadc212e25314fa1684b55b3140f421e98c160934277d72209fcbf",
            ],
        ),
    ];
    for (group, hashes) in cases {
        let key = |first: u8| {
            let bytes = (first..).take(group.private_length()).collect::<Vec<u8>>();
            PrivateKey::from_bytes(group, &bytes).unwrap()
        };
        let (ours, theirs) = (key(0x01), key(0x65));
        let shared = ours.agree(&theirs.public()).unwrap();
        assert_eq!(shared, theirs.agree(&ours.public()).unwrap());
        let values = [ours.public(), theirs.public(), shared.into_vec()];
        assert_eq!(values.map(|value| hex::encode(sha256(&[&value]))), hashes, "{group:?}");
    }
}

/// RFC 6989 section 2.1, for every prime: all of them end with 64 ones.
#[test]
fn larger_modp_groups_refuse_trivial_values() {
    for group in [Group::Modp3072, Group::Modp4096, Group::Modp6144, Group::Modp8192] {
        let key = PrivateKey::generate(group, &mut Counter(1)).unwrap();
        let length = group.public_length();
        let small = |value: u8| [vec![0; length - 1], vec![value]].concat();
        for value in [small(0), small(1), vec![0xff; length]] {
            refused(&key, &hex::encode(value));
        }
        assert!(key.agree(&small(2)).is_ok());
    }
}

/// RFC 6989 section 2.1: 0, 1, p-1, p and above.
#[test]
fn modp_2048_trivial_values_are_refused() {
    let key = PrivateKey::from_bytes(Group::Modp2048, &[0x5a; 32]).unwrap();
    let p = hex::decode(P).unwrap();
    let with_end = |end: u8| {
        let mut value = p.clone();
        value[255] = end;
        hex::encode(value)
    };
    let small = |value: u8| format!("{}{value:02x}", "00".repeat(255));
    for value in [small(0), small(1), with_end(0xfe), with_end(0xff), "ff".repeat(256)] {
        refused(&key, &value);
    }
    assert!(key.agree(&hex::decode(small(2)).unwrap()).is_ok());
    assert!(key.agree(&hex::decode(with_end(0xfd)).unwrap()).is_ok());
}

/// The prime of RFC 3526 section 3, computed from its formula
/// 2^2048 - 2^1984 - 1 + 2^64 ([2^1918 pi] + 124476).
const P: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a\
    08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9\
    a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163\
    bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d\
    670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c5\
    5df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffff\
    ffffffff";

struct Counter(u8);

impl Random for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(181).wrapping_add(59);
            *byte = self.0;
        }
    }
}

/// Gives the same byte a number of times, then works.
struct Stuck(usize, u8, Counter);

impl Random for Stuck {
    fn fill(&mut self, out: &mut [u8]) {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                out.fill(self.1);
            }
            None => self.2.fill(out),
        }
    }
}

const GROUPS: [Group; 9] = [
    Group::X25519,
    Group::P256,
    Group::P384,
    Group::P521,
    Group::Modp2048,
    Group::Modp3072,
    Group::Modp4096,
    Group::Modp6144,
    Group::Modp8192,
];

#[test]
fn both_sides_agree_also_after_export() {
    let mut random = Counter(1);
    for group in GROUPS {
        let ours = PrivateKey::generate(group, &mut random).unwrap();
        let theirs = PrivateKey::generate(group, &mut random).unwrap();
        assert_eq!(ours.public().len(), group.public_length());
        assert_eq!(ours.to_bytes().len(), group.private_length());
        let restored = PrivateKey::from_bytes(group, ours.to_bytes().expose()).unwrap();
        assert_eq!(restored.public(), ours.public());
        assert_ne!(ours.public(), theirs.public());
        let shared = restored.agree(&theirs.public()).unwrap();
        assert_eq!(shared, theirs.agree(&ours.public()).unwrap());
    }
}

//= RFC 7296 section 3.4 #1: that of the modulus
#[test]
fn public_values_have_one_length() {
    let mut random = Counter(1);
    for group in GROUPS {
        let key = PrivateKey::generate(group, &mut random).unwrap();
        let wanted = group.public_length();
        for found in [0, 1, wanted - 1, wanted + 1] {
            let agreed = key.agree(&vec![4; found]).map(|_| ());
            assert_eq!(agreed, Err(KexError::Length { found, wanted }));
        }
    }
}

/// The order of P-256 is below 2^256, so 0 and ff…ff are no scalars.
#[test]
fn an_unusable_draw_is_drawn_again() {
    for byte in [0, 0xff] {
        let mut random = Stuck(3, byte, Counter(1));
        let key = PrivateKey::generate(Group::P256, &mut random).unwrap();
        assert_ne!(key.to_bytes().expose(), [byte; 32]);
        let mut broken = Stuck(usize::MAX, byte, Counter(1));
        let failed = PrivateKey::generate(Group::P256, &mut broken);
        assert_eq!(failed.map(|_| ()).unwrap_err(), KeyError::Random);
    }
    let failed = PrivateKey::generate(Group::Modp2048, &mut Stuck(usize::MAX, 0, Counter(1)));
    assert_eq!(failed.map(|_| ()).unwrap_err(), KeyError::Random);
}

#[test]
fn debug_shows_no_private_value() {
    let key = PrivateKey::from_bytes(Group::X25519, &[0x77; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey { group: X25519, .. }");
}
