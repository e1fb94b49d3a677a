//! What the vault hands to storage: bytes that mean nothing without it.

use std::fmt;

use super::{VaultError, envelope, keyring::is_key_id, secret_key::KEY_LENGTH};

/// A sealed value, as it is stored.
///
/// Made from a plaintext by the vault alone, so a column of this type cannot hold one.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    pub(super) fn new(envelope: Vec<u8>) -> Self {
        Self(envelope)
    }

    /// Takes back what [`Sealed::as_bytes`] gave; [`VaultError::Malformed`] when it can't have.
    pub fn from_stored(bytes: Vec<u8>) -> Result<Self, VaultError> {
        if envelope::is_envelope(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(VaultError::Malformed {
                what: "sealed value",
            })
        }
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A tenant's data key, wrapped by a key of the ring, as it is stored.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct WrappedKey {
    ring_key_id: String,
    bytes: Vec<u8>,
}

impl WrappedKey {
    /// Takes back what the two accessors gave. Whether they can have is checked when the key is
    /// used, so that a damaged row fails alone and not the list it is read with.
    #[must_use]
    pub fn from_stored(ring_key_id: String, bytes: Vec<u8>) -> Self {
        Self { ring_key_id, bytes }
    }

    /// Whether a vault of this version can have made it.
    pub(super) fn is_well_formed(&self) -> bool {
        is_key_id(&self.ring_key_id)
            && envelope::is_envelope(&self.bytes)
            && self.bytes.len() == envelope::OVERHEAD + KEY_LENGTH
    }

    /// Which key of the ring wraps it.
    #[must_use]
    pub fn ring_key_id(&self) -> &str {
        &self.ring_key_id
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey")
            .field("ring_key_id", &self.ring_key_id)
            .finish_non_exhaustive()
    }
}
