//! Whence a webhook comes: the proof that is asked for beside the token.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use sha2::Sha256;

use crate::{
    config::{VendorConfig, Vendors},
    domain::vendor::Vendor,
};

const SIGNATURE: &str = "x-webhook-signature";
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What a request brings along, apart from its body.
#[derive(Clone, Copy)]
pub struct WebhookProof<'a> {
    /// The other end of the socket.
    pub peer: IpAddr,
    /// Every value of a header, by its name in lower case.
    pub headers: &'a (dyn Fn(&str) -> Vec<&'a [u8]> + Sync),
}

impl fmt::Debug for WebhookProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookProof")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<'a> WebhookProof<'a> {
    /// The value of a header that is sent once. Of two values one could be somebody else's.
    fn only(&self, name: &str) -> Option<&'a [u8]> {
        match (self.headers)(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// A code that stands for a body, if the vendor made it.
type Signature = [u8; 32];

/// What is to be the signature of a body, and what the vendor's would be of as much of it as has come.
pub(super) struct Seal {
    claimed: Signature,
    so_far: Hmac<Sha256>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// Goes on with the next part of the body.
    pub(super) fn add(&mut self, part: &[u8]) {
        self.so_far.update(part);
    }

    /// Whether the vendor has signed just what has come.
    pub(super) fn holds(&self) -> bool {
        self.so_far.clone().verify_slice(&self.claimed).is_ok()
    }
}

/// What can be said of a webhook's source before its body is read.
#[derive(Debug)]
pub(super) enum Standing {
    /// It comes from the vendor.
    Vouched,
    /// It does if this is the signature of its body.
    Signed(Seal),
    /// It does not.
    Stranger,
}

/// How the vendors' webhooks prove whence they come. By default none can.
#[derive(Debug, Default)]
pub struct WebhookSources {
    vendors: BTreeMap<Vendor, Source>,
    trusted_proxies: Vec<IpNet>,
}

/// What proves that a webhook comes from one vendor; any one of these does.
struct Source {
    networks: Vec<IpNet>,
    signature: Option<Hmac<Sha256>>,
    header: Option<(String, Expected)>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl WebhookSources {
    /// What the configuration asks for.
    #[must_use]
    pub fn new(vendors: &Vendors, trusted_proxies: Vec<IpNet>) -> Self {
        let source = |vendor| (vendor, Source::new(vendors.of(vendor)));
        Self {
            vendors: Vendor::ALL.map(source).into(),
            trusted_proxies,
        }
    }

    /// What can be said of a webhook before its body is read. Where nothing is asked for, nothing
    /// passes.
    pub(super) fn judge(&self, vendor: Vendor, proof: &WebhookProof<'_>) -> Standing {
        let Some(source) = self.vendors.get(&vendor) else {
            return Standing::Stranger;
        };
        let marked = source.header.as_ref().is_some_and(|(name, expected)| {
            let given = proof.only(name);
            given.is_some_and(|given| expected.is(given))
        });
        let listed = || {
            let client = self.client(proof);
            source.networks.iter().any(|net| net.contains(&client))
        };
        if marked || !source.networks.is_empty() && listed() {
            return Standing::Vouched;
        }
        let signature = source.signature.as_ref();
        let seal = signature.and_then(|keyed| {
            let claimed = unhex(proof.only(SIGNATURE)?)?;
            let so_far = keyed.clone();
            Some(Seal { claimed, so_far })
        });
        seal.map_or(Standing::Stranger, Standing::Signed)
    }

    /// The address that the request comes from: the socket's, or what the trusted proxies in front
    /// say of it. The client may write that header too, so it is read from its end, and only as far
    /// as trusted proxies wrote it.
    fn client(&self, proof: &WebhookProof<'_>) -> IpAddr {
        let peer = proof.peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let lines = (proof.headers)(FORWARDED_FOR);
        let written = lines
            .iter()
            .rev()
            .flat_map(|line| line.rsplit(|byte| *byte == b','));
        let mut client = peer;
        for entry in written {
            // What can't be read can't be judged, so nothing to its left can either.
            let Some(address) = address(entry) else {
                return peer;
            };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let mut proxies = self.trusted_proxies.iter();
        proxies.any(|net| net.contains(&address))
    }
}

impl Source {
    fn new(config: &VendorConfig) -> Self {
        Self {
            networks: config.webhook_ips.clone(),
            signature: config
                .webhook_hmac_secret
                .as_ref()
                .map(|secret| keyed(secret.expose().as_bytes())),
            header: config
                .webhook_header
                .as_ref()
                .map(|header| (header.name.clone(), Expected::new(header.value.expose()))),
        }
    }
}

/// A text that is compared in constant time, whatever the lengths: by its authentication code,
/// which is verified like that anyway.
struct Expected {
    keyed: Hmac<Sha256>,
    tag: [u8; 32],
}

impl Expected {
    fn new(text: &str) -> Self {
        let keyed = keyed(text.as_bytes());
        let tag = keyed.clone().chain_update(text).finalize();
        Self {
            tag: tag.into_bytes().into(),
            keyed,
        }
    }

    fn is(&self, given: &[u8]) -> bool {
        let given = self.keyed.clone().chain_update(given);
        given.verify_slice(&self.tag).is_ok()
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The signature that hexadecimal digits write, in either case.
fn unhex(text: &[u8]) -> Option<Signature> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut signature = Signature::default();
    for (byte, [high, low]) in signature.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(trusted: &[&str]) -> WebhookSources {
        WebhookSources {
            vendors: BTreeMap::new(),
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let proof = WebhookProof {
            peer: peer.parse().unwrap(),
            headers: &|_| lines.iter().map(|line| line.as_bytes()).collect(),
        };
        sources(trusted).client(&proof).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let proxies: &[&str] = &["10.0.0.0/8", "fd00::/8"];
        for (peer, lines, found) in [
            // Nobody in front: whatever the header says is the client's own word.
            ("198.51.100.1", &["203.0.113.9"][..], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // The client wrote the first one, the proxy the second.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
            // A chain of proxies.
            (
                "10.0.0.1",
                &["1.1.1.1,198.51.100.1 , 10.0.0.2"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &["1.1.1.1,198.51.100.1", "fd00::2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // IPv4 in IPv6's clothes.
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            // Nonsense, where it matters and where it does not.
            ("10.0.0.1", &["203.0.113.9, what"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, what, 10.0.0.2"], "10.0.0.1"),
            ("10.0.0.1", &["what, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:443"], "10.0.0.1"),
        ] {
            assert_eq!(client(proxies, peer, lines), found, "{peer} {lines:?}");
        }
        assert_eq!(client(&[], "10.0.0.1", &["203.0.113.9"]), "10.0.0.1");
    }

    #[test]
    fn an_expected_text_is_itself_and_nothing_else() {
        let expected = Expected::new("Basic dTpw");
        assert!(expected.is(b"Basic dTpw"));
        for other in ["", "basic dTpw", "Basic dTp", "Basic dTpwx", "Basic dTpw\0"] {
            assert!(!expected.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_signature_is_64_digits_in_either_case() {
        let text = "00fFA5".repeat(10) + "1234";
        let read = unhex(text.as_bytes()).unwrap();
        assert_eq!(read[..3], [0, 255, 0xa5]);
        assert_eq!(read[30..], [0x12, 0x34]);
        for odd in ["", &text[1..], &text[2..], &format!("{text}00")] {
            assert_eq!(unhex(odd.as_bytes()), None, "{odd}");
        }
        for odd in ["g", "x", " ", "é"] {
            let text = format!("{odd}{}", &text[odd.len()..]);
            assert_eq!(unhex(text.as_bytes()), None, "{text}");
        }
    }
}
