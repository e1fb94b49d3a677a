//! A key, kept in one place of memory and wiped from it.

use std::fmt;

use zeroize::Zeroizing;

use crate::domain::random::Random;

/// Bytes of every key of the vault.
pub(super) const KEY_LENGTH: usize = 32;

/// 32 secret bytes: nothing in `Debug`, wiped on drop.
///
/// They are boxed because moving an array copies it, and only the last copy would be wiped.
pub(super) struct SecretKey(Box<Zeroizing<[u8; KEY_LENGTH]>>);

impl SecretKey {
    /// Draws a fresh key.
    pub(super) fn draw(random: &dyn Random) -> Self {
        let mut key = Self::blank();
        random.fill(key.0.as_mut_slice());
        key
    }

    /// Copies a key; `None` when it has another length.
    pub(super) fn copy_of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_LENGTH {
            return None;
        }
        let mut key = Self::blank();
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The key itself.
    pub(super) fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    fn blank() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_LENGTH])))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;
    use crate::domain::random::OsRandom;

    #[test]
    fn a_key_is_wiped() {
        // Without the wrapper that wipes, this does not compile.
        fn assert_wiped<T: ZeroizeOnDrop>(_: &T) {}
        assert_wiped(&*SecretKey::draw(&OsRandom).0);
    }

    #[test]
    fn only_32_bytes_are_a_key() {
        let bytes = [7; 64];
        for length in 0..=64 {
            assert_eq!(
                SecretKey::copy_of(&bytes[..length]).is_some(),
                length == 32,
                "{length} bytes"
            );
        }
    }
}
