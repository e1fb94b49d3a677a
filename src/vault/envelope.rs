//! The one place that encrypts: XChaCha20-Poly1305 with a version in front.
//!
//! Layout: version (1 byte), nonce (24), ciphertext (as long as the plaintext), tag (16). A nonce of
//! 24 random bytes may be drawn for each message without ever counting them.

use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::secret_key::SecretKey;
use crate::domain::random::{self, Random};

/// The layout above; the only one so far.
pub(super) const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;

/// Bytes an envelope adds to what it holds.
pub(super) const OVERHEAD: usize = 1 + NONCE + TAG;

/// Encrypts `plaintext` so that it opens only with the same key and the same context.
pub(super) fn seal(
    key: &SecretKey,
    context: &[u8],
    plaintext: &[u8],
    random: &dyn Random,
) -> Vec<u8> {
    let nonce = random::draw::<NONCE>(random);
    // Allocated once: growing would leave a copy of the plaintext behind.
    let mut envelope = Vec::with_capacity(OVERHEAD + plaintext.len());
    envelope.push(VERSION);
    envelope.extend_from_slice(&nonce);
    envelope.extend_from_slice(plaintext);
    #[expect(
        clippy::expect_used,
        reason = "the cipher refuses only messages beyond 256 GiB, and this one was in memory twice"
    )]
    let tag = cipher(key)
        .encrypt_inout_detached(
            <&XNonce>::from(&nonce),
            context,
            (&mut envelope[1 + NONCE..]).into(),
        )
        .expect("the message is below the cipher's limit");
    envelope.extend_from_slice(&tag);
    envelope
}

/// Decrypts; `None` when the key or the context is another, or a single bit has changed.
pub(super) fn open(key: &SecretKey, context: &[u8], envelope: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (version, rest) = envelope.split_first()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG>()?;
    if *version != VERSION {
        return None;
    }
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    cipher(key)
        .decrypt_inout_detached(
            <&XNonce>::from(nonce),
            context,
            plaintext.as_mut_slice().into(),
            <&Tag>::from(tag),
        )
        .ok()?;
    Some(plaintext)
}

/// Whether bytes can be an envelope at all: a known version, and room for nonce and tag.
pub(super) fn is_envelope(bytes: &[u8]) -> bool {
    bytes.len() >= OVERHEAD && bytes[0] == VERSION
}

fn cipher(key: &SecretKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::OsRandom;

    #[test]
    fn an_envelope_is_as_long_as_promised_and_was_allocated_once() {
        let key = SecretKey::draw(&OsRandom);
        for length in [0, 1, 15, 16, 17, 64, 4096] {
            let envelope = seal(&key, b"context", &vec![7; length], &OsRandom);
            assert_eq!(envelope.len(), OVERHEAD + length);
            assert_eq!(envelope.capacity(), envelope.len());
        }
    }

    #[test]
    fn only_the_same_key_and_context_open() {
        let (key, other) = (SecretKey::draw(&OsRandom), SecretKey::draw(&OsRandom));
        let envelope = seal(&key, b"context", b"plaintext", &OsRandom);
        let opened = open(&key, b"context", &envelope);
        assert_eq!(
            opened.as_deref().map(Vec::as_slice),
            Some(&b"plaintext"[..])
        );
        assert_eq!(open(&other, b"context", &envelope), None);
        assert_eq!(open(&key, b"Context", &envelope), None);
        assert_eq!(open(&key, b"", &envelope), None);
    }

    #[test]
    fn another_version_is_no_envelope() {
        let key = SecretKey::draw(&OsRandom);
        let mut envelope = seal(&key, b"", b"plaintext", &OsRandom);
        assert!(is_envelope(&envelope));
        envelope[0] = VERSION + 1;
        assert!(!is_envelope(&envelope));
        assert_eq!(open(&key, b"", &envelope), None);
    }

    #[test]
    fn anything_shorter_than_nonce_and_tag_is_no_envelope() {
        let key = SecretKey::draw(&OsRandom);
        let envelope = seal(&key, b"", b"", &OsRandom);
        assert!(is_envelope(&envelope));
        for end in 0..envelope.len() {
            assert!(!is_envelope(&envelope[..end]), "cut at {end}");
            assert_eq!(open(&key, b"", &envelope[..end]), None);
        }
    }

    #[test]
    fn the_cipher_wipes_its_key() {
        // Without the crate's `zeroize` feature this does not compile.
        fn assert_wiped<T: zeroize::ZeroizeOnDrop>() {}
        assert_wiped::<XChaCha20Poly1305>();
    }
}
