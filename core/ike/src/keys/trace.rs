//! Key derivation and AUTH against an independent implementation: values that strongSwan 5.9.8
//! (charon, log level 4) printed for SAs that it had with this engine. "GCM": it initiated, AES-GCM
//! 256, PRF HMAC-SHA2-256, X25519. "CBC": it responded, AES-CBC 256 with HMAC-SHA2-256-128, P-256.
//! "PFS": a Child SA rekeyed with a key exchange of its own.

use super::*;
use crate::auth::SignedOctets;
use crate::auth::psk::shared_key_auth;
use vipsec_wire::ike::{AdditionalGroups, Esn, Identity, Message};

const GCM_REQUEST: &str = concat!(
    "edcc2f73acbdc50300000000000000002120220800000000000000e82200002800000024010100030300",
    "000c01000014800e01000300000802000005000000080400001f28000028001f00003dbf4b0f94cb9feb",
    "0739db7ecbb93704b700cf5e0f555fab54553c1b4265d22129000024680e2e3c0fe555a0d7d9a6e115d2",
    "7110687f36467da329372d73d4d2eb1f589a2900001c000040045b17561cbd97d23fe7e2cc5a8e73d5e0",
    "de616fa32900001c00004005e0208cbdb2e47c75a9615169dfaaa2de899cbfa4290000080000402e2900",
    "00100000402f00020003000400050000000800004016",
);
const GCM_RESPONSE: &str = concat!(
    "edcc2f73acbdc50307f7d2a235feae7c2120222000000000000000c82200002800000024010100030300",
    "000c01000014800e01000300000802000005000000080400001f28000028001f00004f3f369db75c92ee",
    "19aacc70997e0e77111afb0a6803bbd386ad3b00e210062b29000024218f5777945f7e5989b50a88b001",
    "64f9ed0d1108b6959212ecd83bb401e0ce682900001c00004004f05a0ddb1bcf7c48d464cc7a4588cd49",
    "bcafe0150000001c000040051433eff30c7d6d8f4de04576eadd1da6cd7bf7b0",
);
const GCM_NI: &str = "680e2e3c0fe555a0d7d9a6e115d27110687f36467da329372d73d4d2eb1f589a";
const GCM_NR: &str = "218f5777945f7e5989b50a88b00164f9ed0d1108b6959212ecd83bb401e0ce68";
const GCM_SHARED: &str = "d24f71254aa6601cb29d6022dd07202bc71ced23088d306087f74babcc01dd5e";
const GCM_SK_D: &str = "26fe702255e15ef9dba6ce3fb1c46451d6de79db03ec2c58874afbde1f53932e";
const GCM_SK_EI: &str = "0bbef31e469b35ee5e429d7a145df40c693b324b195ce0f8b1f24c81e92f64532f2cd04c";
const GCM_SK_ER: &str = "43256d2dcd98c6283d1a3e1f060a2b7499d21985206cd3338a7990907a8ef452d95c238f";
const GCM_SK_PI: &str = "4b05437366bdf050b4fc4017dc58cc3ebeea92b6236a8bcad7717fc4bab033a2";
const GCM_SK_PR: &str = "cf49e86fde3fdb8390a00f289a243cbc4a604768ced50e44e6cc8e68edc92730";
const GCM_AUTH_I: &str = "ac912b0245c6c89c63132c5f6981e6bbce6837139ed198e0184e4ae61fb1df3a";
const GCM_AUTH_R: &str = "de21cfa5222fb64107268454bef3077150d179d40cbf5ca74c90a29afc9d5a3e";
const GCM_CHILD_EI: &str =
    "b08796d52f26cdd2945b6bb41834985bd917e40ad609ca4d2db2b6f6400f7c0f6998f3ac";
const GCM_CHILD_ER: &str =
    "a90ab057e1a804426ef21e03f3e5c179ba1ee0c2944887a9362fb08c674c05d6d3ffc4c0";
const CBC_REQUEST: &str = concat!(
    "2898609393ed5d2f000000000000000021202208000000000000016c220000ac02000050010100080300",
    "000c01000014800e01000300000c01000014800e00800300000802000005030000080200000603000008",
    "02000007030000080400001f0300000804000013000000080400000e00000058020100090300000c0100",
    "000c800e01000300000c0100000c800e0080030000080300000c03000008020000050300000802000006",
    "0300000802000007030000080400001f0300000804000013000000080400000e28000048001300002546",
    "391cdd8ecaccd69d9416b28e11339d6f5fca8864a0ef6b2fa3a7b04addd2539e28df04eabbcfcbd370b0",
    "ee831ae1972d6428a1ad5788d81239cb6ed2003529000024fbfaaea116fe50f0741da9f2ab801308c9c2",
    "6bdae1571293ebf2630bdee082de2900001c000040049c64b36c4368dc9ef22d22ee78595dec649d1670",
    "0000001c00004005ea230b0dc330a402cf6714ce0e9dcd31fe7f55d4",
);
const CBC_RESPONSE: &str = concat!(
    "2898609393ed5d2f05fd0100b690d737212022200000000000000100220000300000002c020100040300",
    "000c0100000c800e0100030000080300000c030000080200000500000008040000132800004800130000",
    "b68921257303f0990d5f791a30d27d43490db5f0935fcf80b5d65c9cfe6deba508e62544e2449af5414d",
    "855f2cd51621a6aee607f2c7305ce1964848f2ea58f429000024ba6e31177ee72934b36175c8d509e46b",
    "518453ba31e8a7f7158f8a93d314a2d32900001c000040045a80c94e34ea9cee29425582002cbe070fcf",
    "ad382900001c0000400528451282e4d223ab64942f511667be8b0f9c3c57290000080000402200000008",
    "00004014",
);
const CBC_NI: &str = "fbfaaea116fe50f0741da9f2ab801308c9c26bdae1571293ebf2630bdee082de";
const CBC_NR: &str = "ba6e31177ee72934b36175c8d509e46b518453ba31e8a7f7158f8a93d314a2d3";
const CBC_SHARED: &str = "46d950f77a39da0fd35c021ff6f13b0d7d9541f78b4ff9274adcdd0bf43eec99";
const CBC_SK_D: &str = "bbad2d09660abecda04830e1648f71d2105e8f18fde29b007d70ab6be5ff1324";
const CBC_SK_AI: &str = "0ecbb24b8eaa113c8506e68502b38809760192533849fc4f1474224810e41b8c";
const CBC_SK_AR: &str = "97b1beebd78d8a4bbb7c77778285d774e89b888397af148c75645f7d9cb1a32f";
const CBC_SK_EI: &str = "45d11ca644331249d28aa56734cab2b3cbd75a8d76cdc5b46a74b680b1320f6a";
const CBC_SK_ER: &str = "31e227c275170be51c888fc549c7b6971e0b4361d8fd168d76ba35d49c0ee305";
const CBC_SK_PI: &str = "9d37170834feda3554c64e6d2ac9dee31a6a341950fce5980408a12925a6854b";
const CBC_SK_PR: &str = "e68427f7d1cb859e3fc57bd6cdd9865312eaee0adc17d9f72bb4a96e24be0db6";
const CBC_AUTH_I: &str = "5a88fe956177317081873d9a43d2559637d58e29378f8a0b7d225df88cb02403";
const CBC_AUTH_R: &str = "372e8ee9d386a64e3513833c1c7c6a50e6892fbc949d1ad14ece9e123a08f0e0";
const CBC_CHILD_EI: &str = "a101c22e7dc4f8da1e1af76c33407d57a78cd4c73f28d9d911ffd17ecdcf6e22";
const CBC_CHILD_ER: &str = "42a095af48fd675e08dd8e6ceb9b73ba0c7dd9ebebd77cb111f95b092e8d65ee";
const CBC_CHILD_AI: &str = "0f3eaa783bafc2be5991b3c8bb9649f0577d3375f73acf806b88789656c93c7b";
const CBC_CHILD_AR: &str = "95ea10b6808734cbb1d5195092f4bec7847ab89b2aefd9a7c051da0d1c22a945";
const PFS_SK_D: &str = "e3f7ec01d1780a023440c893492f90d7531585eb11e58374fd5701a1c09007f5";
const PFS_SHARED: &str = "2c51b101a27d85ae45f9301e4bce97e238fa5aae558404735b8d997ae9478d33";
const PFS_NI: &str = "a8852673a1f0973b81a05087d60eaef915464938db4cc284e7b883dc581b1269";
const PFS_NR: &str = "a241d9bb41013d93cd89756f7bf79b335253122f34f207bfc00c9ff6d43d4353";
const PFS_EI: &str = "ff54305382dca038fad13fe267bfe338d12aa11eba28462e2984716f3ed0f0c5a9a33033";
const PFS_ER: &str = "1e5c33099ff2514e545e8ea901585347e300182929085e0a097b10f7a8b98dc192e17f62";

const KEY: &[u8] = b"topsecretpsk";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal")
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::new(bytes(text))
}

fn gcm() -> IkeAlgorithms {
    IkeAlgorithms {
        encryption: Encryption::AesGcm16 { bits: 256 },
        integrity: Integrity::None,
        prf: Prf::HmacSha2_256,
        group: Group::X25519,
        additional: AdditionalGroups::default(),
    }
}

fn cbc() -> IkeAlgorithms {
    IkeAlgorithms {
        encryption: Encryption::AesCbc { bits: 256 },
        integrity: Integrity::HmacSha2_256_128,
        prf: Prf::HmacSha2_256,
        group: Group::EcpP256,
        additional: AdditionalGroups::default(),
    }
}

fn esp(of: &IkeAlgorithms, group: Group) -> EspAlgorithms {
    EspAlgorithms {
        encryption: of.encryption,
        integrity: of.integrity,
        group,
        additional: of.additional,
        esn: Esn::No,
    }
}

fn derive(algorithms: &IkeAlgorithms, shared: &str, ni: &str, nr: &str, response: &str) -> IkeKeys {
    let spis = Message::parse(&bytes(response)).expect("a message").header.spis;
    let (ni, nr) = (bytes(ni), bytes(nr));
    let nonces = Nonces { initiator: &ni, responder: &nr };
    derive_ike(algorithms, &Secret::new(bytes(shared)), nonces, spis).expect("known algorithms")
}

//= RFC 7296 section 2.13 #4: all of a length
#[test]
fn keys_of_an_ike_sa_with_aes_gcm() {
    let keys = derive(&gcm(), GCM_SHARED, GCM_NI, GCM_NR, GCM_RESPONSE);
    let expected = IkeKeys {
        d: secret(GCM_SK_D),
        ai: secret(""),
        ar: secret(""),
        ei: secret(GCM_SK_EI),
        er: secret(GCM_SK_ER),
        pi: secret(GCM_SK_PI),
        pr: secret(GCM_SK_PR),
    };
    assert_eq!(keys, expected);
}

#[test]
fn keys_of_an_ike_sa_with_aes_cbc() {
    let keys = derive(&cbc(), CBC_SHARED, CBC_NI, CBC_NR, CBC_RESPONSE);
    let expected = IkeKeys {
        d: secret(CBC_SK_D),
        ai: secret(CBC_SK_AI),
        ar: secret(CBC_SK_AR),
        ei: secret(CBC_SK_EI),
        er: secret(CBC_SK_ER),
        pi: secret(CBC_SK_PI),
        pr: secret(CBC_SK_PR),
    };
    assert_eq!(keys, expected);
}

#[test]
fn auth_values_of_both_sides() {
    let strongswan = Identity::Email("client@test".to_owned());
    let vipsec = Identity::Email("gw@test".to_owned());
    let auth = |algorithms: &IkeAlgorithms, keys: &IkeKeys, message, nonce, identity, initiator| {
        let (message, nonce) = (bytes(message), bytes(nonce));
        let octets = SignedOctets {
            message: &message,
            nonce: &nonce,
            identity,
            initiator,
            intermediate: &[],
        };
        shared_key_auth(algorithms, keys, KEY, octets).data
    };
    let keys = derive(&gcm(), GCM_SHARED, GCM_NI, GCM_NR, GCM_RESPONSE);
    let initiator = auth(&gcm(), &keys, GCM_REQUEST, GCM_NR, &strongswan, true);
    let responder = auth(&gcm(), &keys, GCM_RESPONSE, GCM_NI, &vipsec, false);
    assert_eq!((initiator, responder), (bytes(GCM_AUTH_I), bytes(GCM_AUTH_R)));
    let keys = derive(&cbc(), CBC_SHARED, CBC_NI, CBC_NR, CBC_RESPONSE);
    let initiator = auth(&cbc(), &keys, CBC_REQUEST, CBC_NR, &vipsec, true);
    let responder = auth(&cbc(), &keys, CBC_RESPONSE, CBC_NI, &strongswan, false);
    assert_eq!((initiator, responder), (bytes(CBC_AUTH_I), bytes(CBC_AUTH_R)));
}

//= RFC 7296 section 2.17 #1: in order
//= RFC 7296 section 2.17 #2: likewise
#[test]
fn keys_of_child_sas() {
    let keys = derive(&gcm(), GCM_SHARED, GCM_NI, GCM_NR, GCM_RESPONSE);
    let (ni, nr) = (bytes(GCM_NI), bytes(GCM_NR));
    let nonces = Nonces { initiator: &ni, responder: &nr };
    let child = derive_child((&gcm(), &keys), &esp(&gcm(), Group::None), &[], nonces).unwrap();
    assert_eq!(child.initiator_encryption, secret(GCM_CHILD_EI));
    assert_eq!(child.responder_encryption, secret(GCM_CHILD_ER));
    let keys = derive(&cbc(), CBC_SHARED, CBC_NI, CBC_NR, CBC_RESPONSE);
    let (ni, nr) = (bytes(CBC_NI), bytes(CBC_NR));
    let nonces = Nonces { initiator: &ni, responder: &nr };
    let child = derive_child((&cbc(), &keys), &esp(&cbc(), Group::None), &[], nonces).unwrap();
    assert_eq!(child.initiator_encryption, secret(CBC_CHILD_EI));
    assert_eq!(child.responder_encryption, secret(CBC_CHILD_ER));
    assert_eq!(child.initiator_integrity, secret(CBC_CHILD_AI));
    assert_eq!(child.responder_integrity, secret(CBC_CHILD_AR));
}

#[test]
fn keys_of_a_child_sa_with_forward_secrecy() {
    let mut keys = derive(&gcm(), GCM_SHARED, GCM_NI, GCM_NR, GCM_RESPONSE);
    keys.d = secret(PFS_SK_D);
    let (ni, nr) = (bytes(PFS_NI), bytes(PFS_NR));
    let nonces = Nonces { initiator: &ni, responder: &nr };
    let shared = Secret::new(bytes(PFS_SHARED));
    let algorithms = esp(&gcm(), Group::X25519);
    let child = derive_child((&gcm(), &keys), &algorithms, &[shared], nonces).unwrap();
    assert_eq!(child.initiator_encryption, secret(PFS_EI));
    assert_eq!(child.responder_encryption, secret(PFS_ER));
}
