//! Moved, cut or altered: nothing opens.

use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::{BINDING, OTHER_TENANT, SECRET, TENANT, vault};
use crate::{
    domain::{ids::TenantId, random::OsRandom},
    vault::{
        Binding, KeyRing, Sealed, Vault, VaultError, WrappedKey, envelope,
        keyring::{is_key_id, tests::entry},
        secret_key::SecretKey,
    },
};

/// Every value that differs from `bytes` in one bit.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn a_value_moved_to_another_row_column_or_table_does_not_open() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let row = Uuid::from_u128(BINDING.row.as_u128() + 1);
    for moved in [
        Binding { row, ..BINDING },
        Binding {
            column: "password",
            ..BINDING
        },
        Binding {
            table: "schemas",
            ..BINDING
        },
        Binding {
            table: "connectionsc",
            column: "redential",
            ..BINDING
        },
    ] {
        assert_eq!(
            vault.open(&wrapped, &moved, &sealed),
            Err(VaultError::Unopenable),
            "{moved:?}"
        );
    }
}

#[test]
fn a_value_moved_to_another_tenant_does_not_open() {
    let vault = vault(&["a"]);
    let (mine, theirs) = (vault.new_data_key(TENANT), vault.new_data_key(OTHER_TENANT));
    let sealed = vault.seal(&mine, &BINDING, SECRET).unwrap();
    let moved = Binding {
        tenant: OTHER_TENANT,
        ..BINDING
    };
    assert_eq!(
        vault.open(&theirs, &moved, &sealed),
        Err(VaultError::Unopenable)
    );
}

#[test]
fn a_data_key_moved_to_another_tenant_does_not_open() {
    let vault = vault(&["a", "b"]);
    let mine = vault.new_data_key(TENANT);
    let sealed = vault.seal(&mine, &BINDING, SECRET).unwrap();
    let moved = Binding {
        tenant: OTHER_TENANT,
        ..BINDING
    };
    assert_eq!(
        vault.open(&mine, &moved, &sealed),
        Err(VaultError::UnopenableDataKey { id: "a".to_owned() })
    );
    let old = super::vault(&["b"]).new_data_key(TENANT);
    assert_eq!(
        vault.rewrap(OTHER_TENANT, &old),
        Err(VaultError::UnopenableDataKey { id: "b".to_owned() })
    );
}

#[test]
fn tenant_is_bound_to_a_value_even_under_one_data_key() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let data_key = vault.unwrap(TENANT, &wrapped).unwrap();
    let shared = vault.wrap(OTHER_TENANT, &data_key);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let moved = Binding {
        tenant: OTHER_TENANT,
        ..BINDING
    };
    assert_eq!(
        vault.open(&shared, &moved, &sealed),
        Err(VaultError::Unopenable)
    );
}

#[test]
fn a_sealed_value_cut_anywhere_does_not_open() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    let bytes = sealed.as_bytes();
    for end in 0..bytes.len() {
        match Sealed::from_stored(bytes[..end].to_vec()) {
            Err(error) => {
                assert!(end < envelope::OVERHEAD, "cut at {end}");
                assert_eq!(
                    error,
                    VaultError::Malformed {
                        what: "sealed value"
                    }
                );
            }
            Ok(cut) => {
                assert!(end >= envelope::OVERHEAD, "cut at {end}");
                let opened = vault.open(&wrapped, &BINDING, &cut);
                assert_eq!(opened, Err(VaultError::Unopenable), "cut at {end}");
            }
        }
    }
    let longer = Sealed::from_stored([bytes, b"\0"].concat()).unwrap();
    assert_eq!(
        vault.open(&wrapped, &BINDING, &longer),
        Err(VaultError::Unopenable)
    );
}

#[test]
fn a_wrapped_key_of_another_length_is_malformed() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let bytes = wrapped.as_bytes();
    let longer = [bytes, b"\0"].concat();
    for other in (0..bytes.len())
        .map(|end| &bytes[..end])
        .chain([&longer[..]])
    {
        let other = WrappedKey::from_stored("a".to_owned(), other.to_vec());
        assert_eq!(
            vault.seal(&other, &BINDING, SECRET),
            Err(VaultError::Malformed {
                what: "wrapped data key"
            })
        );
    }
}

#[test]
fn no_bit_of_a_sealed_value_can_change() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    for (bit, flipped) in flips(sealed.as_bytes()).enumerate() {
        let opened =
            Sealed::from_stored(flipped).and_then(|sealed| vault.open(&wrapped, &BINDING, &sealed));
        let expected = if bit < 8 {
            VaultError::Malformed {
                what: "sealed value",
            }
        } else {
            VaultError::Unopenable
        };
        assert_eq!(opened, Err(expected), "bit {bit}");
    }
}

#[test]
fn no_bit_of_a_wrapped_key_can_change() {
    let vault = vault(&["a"]);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    for (bit, flipped) in flips(wrapped.as_bytes()).enumerate() {
        let flipped = WrappedKey::from_stored("a".to_owned(), flipped);
        let opened = vault.open(&flipped, &BINDING, &sealed);
        let expected = if bit < 8 {
            VaultError::Malformed {
                what: "wrapped data key",
            }
        } else {
            VaultError::UnopenableDataKey { id: "a".to_owned() }
        };
        assert_eq!(opened, Err(expected), "bit {bit}");
    }
}

#[test]
fn no_bit_of_a_ring_key_id_can_change() {
    // Every id one bit away from the right one is in the ring, so that none fails for want of a key.
    let id = "k5";
    let near: Vec<String> = flips(id.as_bytes())
        .filter_map(|flipped| String::from_utf8(flipped).ok())
        .collect();
    let listed: Vec<&str> = std::iter::once(id)
        .chain(
            near.iter()
                .map(String::as_str)
                .filter(|near| is_key_id(near)),
        )
        .collect();
    assert!(listed.len() > 4, "{listed:?}");
    let vault = vault(&listed);
    let wrapped = vault.new_data_key(TENANT);
    let sealed = vault.seal(&wrapped, &BINDING, SECRET).unwrap();
    for changed in near {
        let renamed = WrappedKey::from_stored(changed.clone(), wrapped.as_bytes().to_vec());
        let opened = vault.open(&renamed, &BINDING, &sealed);
        let expected = if is_key_id(&changed) {
            VaultError::UnopenableDataKey { id: changed }
        } else {
            VaultError::Malformed {
                what: "wrapped data key",
            }
        };
        assert_eq!(opened, Err(expected));
    }
}

#[test]
fn a_wrap_is_bound_to_the_id_of_its_key_not_only_to_the_key() {
    let wrapped = vault(&["a"]).new_data_key(TENANT);
    let renamed = entry("a").replacen("a:", "b:", 1);
    let vault = Vault::new(KeyRing::parse(&renamed).unwrap(), Arc::new(OsRandom));
    let renamed = WrappedKey::from_stored("b".to_owned(), wrapped.as_bytes().to_vec());
    assert_eq!(
        vault.seal(&renamed, &BINDING, SECRET),
        Err(VaultError::UnopenableDataKey { id: "b".to_owned() })
    );
}

fn any_binding() -> impl Strategy<Value = Binding> {
    // Names are static in the program; a test that wants arbitrary ones has to leak them.
    let name = || "[a-c]{0,3}".prop_map(|name| &*name.leak());
    let uuid = || prop_oneof![any::<u128>(), 0..3_u128].prop_map(Uuid::from_u128);
    (uuid(), name(), uuid(), name()).prop_map(|(tenant, table, row, column)| Binding {
        tenant: TenantId(tenant),
        table,
        row,
        column,
    })
}

proptest! {
    #[test]
    fn anything_opens_where_it_was_sealed_and_nowhere_else(
        home in any_binding(),
        elsewhere in any_binding(),
        plaintext: Vec<u8>,
    ) {
        let vault = vault(&["a"]);
        let data_key = SecretKey::draw(&OsRandom);
        // One data key for both tenants: the binding alone must tell them apart.
        let at_home = vault.wrap(home.tenant, &data_key);
        let at_elsewhere = vault.wrap(elsewhere.tenant, &data_key);
        let sealed = vault.seal(&at_home, &home, &plaintext).unwrap();
        prop_assert_eq!(&*vault.open(&at_home, &home, &sealed).unwrap(), &plaintext);

        let opened = vault.open(&at_elsewhere, &elsewhere, &sealed);
        if elsewhere == home {
            prop_assert_eq!(&*opened.unwrap(), &plaintext);
        } else {
            prop_assert_eq!(opened, Err(VaultError::Unopenable));
        }
    }
}
