//! Where secrets are sealed, and the only place where they are opened.
//!
//! Three layers of keys: the [`KeyRing`] the operator holds wraps one data key per tenant
//! ([`WrappedKey`]), and the data key seals that tenant's secrets ([`Sealed`]), each bound to the row
//! and column it is stored in ([`Binding`]). So changing the ring's key rewrites one small value per
//! tenant, and destroying a tenant's data key makes all of that tenant's secrets unreadable.
//!
//! The vault is pure: it computes, and leaves storing to storage. What it does not protect from is an
//! older sealed value of the very same cell put back in place of the present one, and the length of
//! a secret, which the length of its sealed value tells.

mod binding;
mod envelope;
mod fields;
mod keyring;
mod secret_key;
mod signer;
mod stored;
mod weakness;

use std::sync::Arc;

use thiserror::Error;
use zeroize::Zeroizing;

use self::{binding::wrap_context, keyring::RingKey, secret_key::SecretKey};
pub use self::{
    binding::{Binding, stored_row},
    keyring::{EntryFlaw, EntryName, KeyFault, KeyRing, KeyRingError, UnusableKeyId},
    signer::Signer,
    stored::{Sealed, WrappedKey},
    weakness::Weakness,
};
use crate::domain::{
    credential::Credential, database::DatabaseLogin, ids::TenantId, random::Random,
    secret::SecretText,
};

/// Why the vault could not give back what was asked of it. No message holds any material.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum VaultError {
    /// The operator took a key away too early, or has not given it to this node yet.
    #[error(
        "the key ring does not list `{id}`, which wraps this data key: add that key to the ring again, behind the first one"
    )]
    UnknownRingKey {
        /// The missing key's id.
        id: String,
    },
    /// The ring has a key of that name, but the data key does not open with it.
    #[error(
        "ring key `{id}` does not open this data key: check that the id still names the key it always did, else restore the data key, which was altered or is another tenant's"
    )]
    UnopenableDataKey {
        /// The id of the key that was tried.
        id: String,
    },
    /// The data key is fine, the sealed value is not.
    #[error(
        "the sealed value does not open: it was altered, moved here from another row, column or tenant, or sealed with a data key since replaced; the secret has to be entered again"
    )]
    Unopenable,
    /// The bytes are not what a vault of this version writes.
    #[error(
        "the stored {what} is in no form this version knows: run the newer version that wrote it, or restore it if it is damaged"
    )]
    Malformed {
        /// What the bytes should have been.
        what: &'static str,
    },
}

/// Seals and opens.
#[derive(Debug)]
pub struct Vault {
    ring: KeyRing,
    random: Arc<dyn Random>,
}

impl Vault {
    /// A vault over the operator's keys.
    #[must_use]
    pub fn new(ring: KeyRing, random: Arc<dyn Random>) -> Self {
        Self { ring, random }
    }

    /// The ids of the ring's keys, in the ring's order.
    pub fn ring_key_ids(&self) -> impl Iterator<Item = &str> {
        self.ring.ids()
    }

    /// The id of the key that wraps: the ring's first.
    #[must_use]
    pub fn primary_ring_key_id(&self) -> &str {
        self.ring.primary()
    }

    /// What authenticates cursors; its keys come from the ring too.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::new(&self.ring)
    }

    /// Draws a tenant's data key and wraps it with the ring's first key.
    #[must_use]
    pub fn new_data_key(&self, tenant: TenantId) -> WrappedKey {
        self.wrap(tenant, &SecretKey::draw(&*self.random))
    }

    /// Wraps a data key with the ring's first key, whichever wrapped it so far; `None` when that is
    /// the one already. What was sealed with the data key stays as it is.
    pub fn rewrap(
        &self,
        tenant: TenantId,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>, VaultError> {
        if wrapped.ring_key_id() == self.primary_ring_key_id() {
            return Ok(None);
        }
        let data_key = self.unwrap(tenant, wrapped)?;
        Ok(Some(self.wrap(tenant, &data_key)))
    }

    /// Seals bytes for one place, with the data key of the place's tenant.
    pub fn seal(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        let data_key = self.unwrap(binding.tenant, wrapped)?;
        let envelope = envelope::seal(&data_key, &binding.context(), plaintext, &*self.random);
        Ok(Sealed::new(envelope))
    }

    /// Opens what was sealed for just this place.
    pub fn open(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let data_key = self.unwrap(binding.tenant, wrapped)?;
        envelope::open(&data_key, &binding.context(), sealed.as_bytes())
            .ok_or(VaultError::Unopenable)
    }

    /// Seals a vendor's credential.
    pub fn seal_credential(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        credential: &Credential,
    ) -> Result<Sealed, VaultError> {
        let plaintext = Zeroizing::new(fields::encode(&[
            credential.client_id().as_bytes(),
            credential.secret().as_bytes(),
        ]));
        self.seal(wrapped, binding, &plaintext)
    }

    /// Opens a vendor's credential.
    pub fn open_credential(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        sealed: &Sealed,
    ) -> Result<Credential, VaultError> {
        let plaintext = self.open(wrapped, binding, sealed)?;
        let [client_id, secret] =
            texts(&plaintext).ok_or(VaultError::Malformed { what: "credential" })?;
        Ok(Credential::new(client_id.to_owned(), secret.to_owned()))
    }

    /// Seals who logs in to a database.
    pub fn seal_database_login(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        login: &DatabaseLogin,
    ) -> Result<Sealed, VaultError> {
        let user = login.user.expose().as_bytes();
        let plaintext = Zeroizing::new(match &login.password {
            Some(password) => fields::encode(&[user, password.expose().as_bytes()]),
            None => fields::encode(&[user]),
        });
        self.seal(wrapped, binding, &plaintext)
    }

    /// Opens who logs in to a database.
    pub fn open_database_login(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        sealed: &Sealed,
    ) -> Result<DatabaseLogin, VaultError> {
        let plaintext = self.open(wrapped, binding, sealed)?;
        let secret = |text: &str| SecretText::new(text.to_owned());
        if let Some([user, password]) = texts(&plaintext) {
            return Ok(DatabaseLogin {
                user: secret(user),
                password: Some(secret(password)),
            });
        }
        let [user] = texts(&plaintext).ok_or(VaultError::Malformed {
            what: "database login",
        })?;
        Ok(DatabaseLogin {
            user: secret(user),
            password: None,
        })
    }

    /// Seals a single secret, such as a database password.
    pub fn seal_secret(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        secret: &str,
    ) -> Result<Sealed, VaultError> {
        let plaintext = Zeroizing::new(fields::encode(&[secret.as_bytes()]));
        self.seal(wrapped, binding, &plaintext)
    }

    /// Opens a single secret.
    pub fn open_secret(
        &self,
        wrapped: &WrappedKey,
        binding: &Binding,
        sealed: &Sealed,
    ) -> Result<Zeroizing<String>, VaultError> {
        let plaintext = self.open(wrapped, binding, sealed)?;
        let [secret] = texts(&plaintext).ok_or(VaultError::Malformed { what: "secret" })?;
        Ok(Zeroizing::new(secret.to_owned()))
    }

    fn wrap(&self, tenant: TenantId, data_key: &SecretKey) -> WrappedKey {
        let RingKey { id, key } = self.ring.primary_key();
        let context = wrap_context(tenant, id);
        let bytes = envelope::seal(key, &context, data_key.bytes(), &*self.random);
        WrappedKey::from_stored(id.clone(), bytes)
    }

    fn unwrap(&self, tenant: TenantId, wrapped: &WrappedKey) -> Result<SecretKey, VaultError> {
        if !wrapped.is_well_formed() {
            return Err(VaultError::Malformed {
                what: "wrapped data key",
            });
        }
        let id = wrapped.ring_key_id();
        let Some(key) = self.ring.find(id) else {
            return Err(VaultError::UnknownRingKey { id: id.to_owned() });
        };
        envelope::open(key, &wrap_context(tenant, id), wrapped.as_bytes())
            .and_then(|data_key| SecretKey::copy_of(&data_key))
            .ok_or_else(|| VaultError::UnopenableDataKey { id: id.to_owned() })
    }
}

/// Reads exactly `N` fields of text.
fn texts<const N: usize>(plaintext: &[u8]) -> Option<[&str; N]> {
    let mut texts = [""; N];
    for (text, field) in texts.iter_mut().zip(fields::decode::<N>(plaintext)?) {
        *text = str::from_utf8(field).ok()?;
    }
    Some(texts)
}

#[cfg(test)]
mod tests;
