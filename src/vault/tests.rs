//! What a vault keeps, and for how long.

mod disclosure;
mod tampering;

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    keyring::tests::{entry, ring},
    *,
};
use crate::domain::random::OsRandom;

const TENANT: TenantId = TenantId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));
const OTHER_TENANT: TenantId = TenantId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002));

const BINDING: Binding = Binding {
    tenant: TENANT,
    table: "connections",
    row: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0003),
    column: "credential",
};

const SECRET: &[u8] = b"a plaintext long enough to be recognised";

fn vault(names: &[&str]) -> Vault {
    Vault::new(ring(names), Arc::new(OsRandom))
}

fn credential() -> Credential {
    Credential::new("the client id".to_owned(), "the secret of it".to_owned())
}

#[test]
fn what_was_sealed_opens() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    for plaintext in [&b""[..], b"x", SECRET, &vec![0; 100_000]] {
        let sealed = vault.seal(&wrapped, &BINDING, plaintext).unwrap();
        assert_eq!(*vault.open(&wrapped, &BINDING, &sealed).unwrap(), plaintext);
    }
}

#[test]
fn who_logs_in_to_a_database_opens_with_and_without_a_password() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    for password in [None, Some(""), Some("a password")] {
        let login = DatabaseLogin {
            user: SecretText::new("a user".to_owned()),
            password: password.map(|text| SecretText::new(text.to_owned())),
        };
        let sealed = vault
            .seal_database_login(&wrapped, &BINDING, &login)
            .unwrap();
        let opened = vault
            .open_database_login(&wrapped, &BINDING, &sealed)
            .unwrap();
        assert_eq!(opened.user.expose(), "a user");
        let opened = opened.password.map(|text| text.expose().to_owned());
        assert_eq!(opened.as_deref(), password);
    }
    let other = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let refused = vault.open_database_login(&wrapped, &BINDING, &other);
    assert!(matches!(refused, Err(VaultError::Malformed { .. })));
}

#[test]
fn what_was_stored_opens_after_a_restart() {
    let before = vault(&["a"]);
    let wrapped = before.new_data_key(TENANT);
    let sealed = before.seal(&wrapped, &BINDING, SECRET).unwrap();

    let wrapped = WrappedKey::from_stored(
        wrapped.ring_key_id().to_owned(),
        wrapped.as_bytes().to_vec(),
    );
    let sealed = Sealed::from_stored(sealed.as_bytes().to_vec()).unwrap();
    assert_eq!(
        *vault(&["a"]).open(&wrapped, &BINDING, &sealed).unwrap(),
        SECRET
    );
}

#[test]
fn what_the_first_release_stored_still_opens() {
    // Written by another program, from the description of the format alone.
    let vault = vault(&["golden"]);
    let bytes = |text: &str| BASE64_STANDARD.decode(text).unwrap();
    let wrapped = bytes(
        "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWF+cy21gI6ld65LIPhdZhhHxWhOw6JmBcc5IhPze77sLTUErf\
         RcQL3FBS05tN33wkuA==",
    );
    let sealed = bytes(
        "AWRlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e4UG7GdIMvOWcvOxC2Cyi43YCHuNkC3o4sQeATin4r556XTW\
         o+hpd1RUDILg8qHgfKV9vQFCs2CTwYDbhO8=",
    );
    let wrapped = WrappedKey::from_stored("golden".to_owned(), wrapped);
    let sealed = Sealed::from_stored(sealed).unwrap();
    assert_eq!(
        vault.open_credential(&wrapped, &BINDING, &sealed).unwrap(),
        credential()
    );
    assert!(vault.signer().verify(
        "connections",
        b"a cursor",
        &bytes("JLBCAQEd9Z9u4IZl6K3/qjeAhgVPg5nmgW4nmQMF77c=")
    ));
}

#[test]
fn a_credential_opens_as_itself() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    for (client_id, secret) in [
        ("the client id", "the secret of it"),
        ("", ""),
        ("", "secret"),
        ("client", ""),
        ("cli", "ent:secret\n\0"),
        ("ünï", "çødé 🔑"),
    ] {
        let credential = Credential::new(client_id.to_owned(), secret.to_owned());
        let sealed = vault
            .seal_credential(&wrapped, &BINDING, &credential)
            .unwrap();
        let opened = vault.open_credential(&wrapped, &BINDING, &sealed).unwrap();
        assert_eq!((opened.client_id(), opened.secret()), (client_id, secret));
    }
}

#[test]
fn a_single_secret_opens_as_itself() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    for secret in ["", "a password", "çødé 🔑"] {
        let sealed = vault.seal_secret(&wrapped, &BINDING, secret).unwrap();
        assert_eq!(
            *vault.open_secret(&wrapped, &BINDING, &sealed).unwrap(),
            secret
        );
    }
}

#[test]
fn a_secret_is_not_read_as_a_credential_nor_the_other_way_round() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let secret = vault.seal_secret(&wrapped, &BINDING, "a password").unwrap();
    let pair = vault
        .seal_credential(&wrapped, &BINDING, &credential())
        .unwrap();
    assert_eq!(
        vault.open_credential(&wrapped, &BINDING, &secret),
        Err(VaultError::Malformed { what: "credential" })
    );
    assert_eq!(
        vault.open_secret(&wrapped, &BINDING, &pair),
        Err(VaultError::Malformed { what: "secret" })
    );
}

#[test]
fn a_text_that_is_not_utf_8_is_malformed() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let plaintext = fields::encode(&[b"\xff"]);
    let sealed = vault.seal(&wrapped, &BINDING, &plaintext).unwrap();
    assert_eq!(
        vault.open_secret(&wrapped, &BINDING, &sealed),
        Err(VaultError::Malformed { what: "secret" })
    );
}

#[test]
fn a_retired_key_still_opens_and_no_longer_wraps() {
    let before = vault(&["old"]);
    let wrapped = before.new_data_key(TENANT);
    let sealed = before.seal(&wrapped, &BINDING, SECRET).unwrap();

    let after = vault(&["new", "old"]);
    assert_eq!(*after.open(&wrapped, &BINDING, &sealed).unwrap(), SECRET);
    assert_eq!(after.new_data_key(TENANT).ring_key_id(), "new");
    assert_eq!(after.primary_ring_key_id(), "new");
    assert_eq!(after.ring_key_ids().collect::<Vec<_>>(), ["new", "old"]);
}

#[test]
fn a_dropped_key_is_named() {
    let wrapped = vault(&["old"]).new_data_key(TENANT);
    let vault = vault(&["new"]);
    let unknown = VaultError::UnknownRingKey {
        id: "old".to_owned(),
    };
    assert_eq!(vault.seal(&wrapped, &BINDING, SECRET), Err(unknown.clone()));
    assert_eq!(vault.rewrap(TENANT, &wrapped), Err(unknown));
}

#[test]
fn another_key_under_the_same_name_is_named() {
    let wrapped = vault(&["a"]).new_data_key(TENANT);
    let imposter = entry("b").replacen("b:", "a:", 1);
    let vault = Vault::new(KeyRing::parse(&imposter).unwrap(), Arc::new(OsRandom));
    assert_eq!(
        vault.seal(&wrapped, &BINDING, SECRET),
        Err(VaultError::UnopenableDataKey { id: "a".to_owned() })
    );
}

#[test]
fn rewrapping_keeps_the_data_key_and_what_it_sealed() {
    let before = vault(&["old"]);
    let wrapped = before.new_data_key(TENANT);
    let sealed = before.seal(&wrapped, &BINDING, SECRET).unwrap();

    let during = vault(&["new", "old"]);
    let rewrapped = during.rewrap(TENANT, &wrapped).unwrap().unwrap();
    assert_eq!(rewrapped.ring_key_id(), "new");
    assert_ne!(rewrapped.as_bytes(), wrapped.as_bytes());
    // A reader may hold either wrap while the change goes on.
    assert_eq!(*during.open(&wrapped, &BINDING, &sealed).unwrap(), SECRET);
    assert_eq!(*during.open(&rewrapped, &BINDING, &sealed).unwrap(), SECRET);

    let after = vault(&["new"]);
    assert_eq!(*after.open(&rewrapped, &BINDING, &sealed).unwrap(), SECRET);
}

#[test]
fn rewrapping_again_does_nothing() {
    let wrapped = vault(&["old"]).new_data_key(TENANT);
    let vault = vault(&["new", "old"]);
    let rewrapped = vault.rewrap(TENANT, &wrapped).unwrap().unwrap();
    assert_eq!(vault.rewrap(TENANT, &rewrapped), Ok(None));
}

#[test]
fn a_shredded_tenant_stays_shredded() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let replacement = vault.new_data_key(TENANT);
    assert_eq!(
        vault.open(&replacement, &BINDING, &sealed),
        Err(VaultError::Unopenable)
    );
}

proptest! {
    #[test]
    fn any_credential_opens_as_itself(client_id: String, secret: String) {
        let vault = vault(&["a"]);
        let wrapped = vault.new_data_key(TENANT);
        let credential = Credential::new(client_id, secret);
        let sealed = vault.seal_credential(&wrapped, &BINDING, &credential).unwrap();
        prop_assert_eq!(vault.open_credential(&wrapped, &BINDING, &sealed).unwrap(), credential);
    }
}
