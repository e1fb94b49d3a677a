//! Message authentication, for what callers carry for us and must not change: cursors.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{fields, keyring::KeyRing, secret_key::SecretKey};

/// Sets the signing keys apart from everything else that could ever be derived from the ring.
const DERIVATION: &[u8] = b"matcher-discovery/signer/1";

/// Signs with the ring's first key and verifies with any of them (HMAC-SHA256).
///
/// A signature is bound to its purpose, so that one made for a list of connections is worth nothing
/// for a list of transactions. It outlives a change of keys for as long as the old key is listed.
#[derive(Clone, Debug)]
pub struct Signer {
    /// In the ring's order; never empty, because a ring never is. They are keyed once, at the start:
    /// keying passes the key over the stack, while a keyed state is wiped when dropped.
    keyed: Vec<Hmac<Sha256>>,
}

impl Signer {
    pub(super) fn new(ring: &KeyRing) -> Self {
        Self {
            keyed: ring.keys().iter().map(|entry| derive(&entry.key)).collect(),
        }
    }

    /// Authenticates a message for one purpose.
    #[must_use]
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let input = fields::encode(&[purpose.as_bytes(), message]);
        let mac = self.keyed[0].clone().chain_update(input);
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` was signed for just this purpose and message, in constant time.
    #[must_use]
    pub fn verify(&self, purpose: &str, message: &[u8], tag: &[u8]) -> bool {
        let input = fields::encode(&[purpose.as_bytes(), message]);
        self.keyed.iter().any(|keyed| {
            let mac = keyed.clone().chain_update(&input);
            mac.verify_slice(tag).is_ok()
        })
    }
}

fn derive(ring_key: &SecretKey) -> Hmac<Sha256> {
    let signing_key = keyed(ring_key.bytes()).chain_update(DERIVATION).finalize();
    keyed(signing_key.as_bytes())
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::keyring::tests::{entry, ring};

    fn signer(names: &[&str]) -> Signer {
        Signer::new(&ring(names))
    }

    #[test]
    fn what_was_signed_verifies() {
        let signer = signer(&["a"]);
        for message in [&b""[..], b"cursor", &[0; 10_000]] {
            let tag = signer.sign("connections", message);
            assert!(signer.verify("connections", message, &tag));
        }
    }

    #[test]
    fn a_changed_message_does_not_verify() {
        let signer = signer(&["a"]);
        let message = *b"a cursor of some length";
        let tag = signer.sign("connections", &message);
        for bit in 0..message.len() * 8 {
            let mut changed = message;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!signer.verify("connections", &changed, &tag), "bit {bit}");
        }
        assert!(!signer.verify("connections", &message[..22], &tag));
        assert!(!signer.verify("connections", b"", &tag));
    }

    #[test]
    fn a_changed_tag_does_not_verify() {
        let signer = signer(&["a", "b"]);
        let tag = signer.sign("connections", b"cursor");
        for bit in 0..256 {
            let mut changed = tag;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !signer.verify("connections", b"cursor", &changed),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_shortened_or_lengthened_tag_does_not_verify() {
        let signer = signer(&["a"]);
        let tag = signer.sign("connections", b"cursor");
        for end in 0..tag.len() {
            assert!(!signer.verify("connections", b"cursor", &tag[..end]));
        }
        let longer = [&tag[..], b"\0"].concat();
        assert!(!signer.verify("connections", b"cursor", &longer));
    }

    #[test]
    fn another_purpose_does_not_verify() {
        let signer = signer(&["a"]);
        let tag = signer.sign("connections", b"cursor");
        assert!(!signer.verify("transactions", b"cursor", &tag));
        assert!(!signer.verify("", b"cursor", &tag));
    }

    #[test]
    fn letters_cannot_move_from_purpose_to_message() {
        let signer = signer(&["a"]);
        let tag = signer.sign("connections", b"cursor");
        assert!(!signer.verify("connection", b"scursor", &tag));
        assert!(!signer.verify("connectionsc", b"ursor", &tag));
    }

    #[test]
    fn a_signature_outlives_a_rotation_until_its_key_is_dropped() {
        let tag = signer(&["old"]).sign("connections", b"cursor");
        assert!(signer(&["new", "old"]).verify("connections", b"cursor", &tag));
        assert!(!signer(&["new"]).verify("connections", b"cursor", &tag));
    }

    #[test]
    fn the_first_key_signs() {
        let tag = signer(&["new", "old"]).sign("connections", b"cursor");
        assert!(signer(&["new"]).verify("connections", b"cursor", &tag));
        assert!(!signer(&["old"]).verify("connections", b"cursor", &tag));
    }

    #[test]
    fn the_id_of_a_key_has_no_part_in_it() {
        let renamed = entry("a").replacen("a:", "b:", 1);
        let renamed = Signer::new(&KeyRing::parse(&renamed).unwrap());
        let tag = signer(&["a"]).sign("connections", b"cursor");
        assert!(renamed.verify("connections", b"cursor", &tag));
    }

    #[test]
    fn the_ring_key_itself_does_not_sign() {
        let ring = ring(&["a"]);
        let direct = Signer {
            keyed: vec![keyed(ring.primary_key().key.bytes())],
        };
        let direct = direct.sign("connections", b"cursor");
        assert_ne!(Signer::new(&ring).sign("connections", b"cursor"), direct);
    }

    #[test]
    fn the_state_of_the_hash_is_wiped() {
        // Without the crate's `zeroize` feature this does not compile.
        fn assert_wiped<T: zeroize::ZeroizeOnDrop>() {}
        assert_wiped::<Sha256>();
    }
}
