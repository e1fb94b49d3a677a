//! What a vault hands out tells nothing.

use std::{
    collections::HashSet,
    fmt::Write,
    sync::{Arc, Mutex},
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};

use super::{BINDING, SECRET, TENANT, credential, vault};
use crate::{
    domain::random::Random,
    vault::{
        KeyRing, Vault, VaultError,
        keyring::tests::{entry, key_bytes, ring},
    },
};

/// Draws 0, 1, 2, … and keeps what it drew.
#[derive(Debug, Default)]
struct Counting(Mutex<Vec<u8>>);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut drawn = self.0.lock().unwrap();
        for byte in bytes {
            *byte = u8::try_from(drawn.len()).unwrap();
            drawn.push(*byte);
        }
    }
}

#[test]
fn nothing_sealed_shows_its_plaintext() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let data_key = vault.unwrap(TENANT, &wrapped).unwrap();
    for (ciphertext, plaintext) in [
        (sealed.as_bytes(), SECRET),
        (wrapped.as_bytes(), &data_key.bytes()[..]),
    ] {
        for part in plaintext.windows(8) {
            assert!(!ciphertext.windows(8).any(|window| window == part));
        }
    }
}

#[test]
fn nonces_and_data_keys_never_repeat() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let nonce = |bytes: &[u8]| bytes[1..25].to_vec();
    let mut nonces = HashSet::from([nonce(wrapped.as_bytes())]);
    let mut data_keys = HashSet::from([*vault.unwrap(TENANT, &wrapped).unwrap().bytes()]);
    for _ in 0..2_000 {
        let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
        assert!(nonces.insert(nonce(sealed.as_bytes())));
        let another = vault.new_data_key(TENANT);
        assert!(nonces.insert(nonce(another.as_bytes())));
        assert!(data_keys.insert(*vault.unwrap(TENANT, &another).unwrap().bytes()));
    }
}

#[test]
fn nonces_are_drawn_whole_and_used_once() {
    let random = Arc::new(Counting::default());
    let vault = Vault::new(ring(&["a"]), Arc::clone(&random) as Arc<dyn Random>);
    let wrapped = vault.new_data_key(TENANT);
    let first = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let second = vault.seal(&wrapped, &BINDING, SECRET).unwrap();

    let drawn = random.0.lock().unwrap().clone();
    assert_eq!(drawn.len(), 32 + 3 * 24);
    assert_eq!(
        vault.unwrap(TENANT, &wrapped).unwrap().bytes(),
        &drawn[..32]
    );
    assert_eq!(wrapped.as_bytes()[1..25], drawn[32..56]);
    assert_eq!(first.as_bytes()[1..25], drawn[56..80]);
    assert_eq!(second.as_bytes()[1..25], drawn[80..]);
}

#[test]
fn neither_debug_nor_an_error_shows_a_secret() {
    let vault = vault(&["a", "old"]);
    let wrapped = vault.new_data_key(TENANT);
    let data_key = vault.unwrap(TENANT, &wrapped).unwrap();
    let sealed = vault
        .seal_credential(&wrapped, &BINDING, &credential())
        .unwrap();
    let opened = vault.open_credential(&wrapped, &BINDING, &sealed).unwrap();
    let refused = KeyRing::parse(&format!("{0},{0}", entry("a"))).unwrap_err();
    let errors = [
        VaultError::UnknownRingKey { id: "a".to_owned() },
        VaultError::UnopenableDataKey { id: "a".to_owned() },
        VaultError::Unopenable,
        VaultError::Malformed { what: "secret" },
    ];
    let mut shown = format!(
        "{vault:?} {vault:#?} {wrapped:?} {wrapped:#?} {sealed:?} {sealed:#?} {data_key:?} \
         {data_key:#?} {opened:?} {:?} {:#?} {refused} {refused:?} {refused:#?}",
        vault.signer(),
        ring(&["a", "old"]),
    );
    for error in errors {
        write!(shown, " {error} {error:?}").unwrap();
    }
    let is_no_separator = |c: char| c != ',' && !c.is_whitespace();
    // However a list of numbers would be set, without separators it is one text.
    shown.retain(is_no_separator);

    for secret in [
        &key_bytes("a")[..],
        &key_bytes("old"),
        data_key.bytes(),
        wrapped.as_bytes(),
        sealed.as_bytes(),
        credential().client_id().as_bytes(),
        credential().secret().as_bytes(),
    ] {
        let mut hexadecimal = String::new();
        for byte in secret {
            write!(hexadecimal, "{byte:02x}").unwrap();
        }
        let mut list = format!("{secret:?}");
        list.retain(is_no_separator);
        for form in [
            BASE64_STANDARD.encode(secret)[..8].to_owned(),
            BASE64_URL_SAFE_NO_PAD.encode(secret)[..8].to_owned(),
            hexadecimal[..8].to_owned(),
            hexadecimal[..8].to_uppercase(),
            list[1..list.len() / 2].to_owned(),
            String::from_utf8_lossy(secret).replace(' ', ""),
        ] {
            assert!(!shown.contains(&form), "{form:?} is in {shown}");
        }
    }
}

#[test]
fn errors_say_what_to_do() {
    for (error, message) in [
        (
            VaultError::UnknownRingKey {
                id: "k1".to_owned(),
            },
            "the key ring does not list `k1`, which wraps this data key: add that key to the ring \
             again, behind the first one",
        ),
        (
            VaultError::UnopenableDataKey {
                id: "k1".to_owned(),
            },
            "ring key `k1` does not open this data key: check that the id still names the key it \
             always did, else restore the data key, which was altered or is another tenant's",
        ),
        (
            VaultError::Unopenable,
            "the sealed value does not open: it was altered, moved here from another row, column \
             or tenant, or sealed with a data key since replaced; the secret has to be entered \
             again",
        ),
        (
            VaultError::Malformed { what: "credential" },
            "the stored credential is in no form this version knows: run the newer version that \
             wrote it, or restore it if it is damaged",
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
}
