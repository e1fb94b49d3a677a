//! Webhook tokens: the secret in a vendor-facing URL that says whose webhook it is.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    connection::ConfigName,
    ids::{ConnectionId, WebhookTokenId},
    random::{self, Random},
    vendor::Vendor,
};

/// Marks the text as one of ours, so that a leaked token is recognised for what it is.
const MARK: &str = "whk_";
/// 32 random bytes in base64url.
const SECRET_CHARS: usize = 43;
/// The first 4 bytes of a SHA-256 in base64url.
const CHECKSUM_CHARS: usize = 6;

/// A webhook token in the clear: shown once, then only its hash is kept.
#[derive(Clone, Eq, PartialEq, Zeroize, ZeroizeOnDrop)]
pub struct WebhookToken(String);

/// The text is not a token that we minted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a webhook token")]
pub struct NotAToken;

impl WebhookToken {
    /// How many characters of a token may be shown again.
    pub const PREFIX_CHARS: usize = 8;

    /// Makes a token of 256 random bits.
    #[must_use]
    pub fn mint(random: &dyn Random) -> Self {
        let mut secret = random::draw::<32>(random);
        let mut text = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(secret));
        secret.zeroize();
        text.push_str(&checksum(&text));
        Self(text)
    }

    /// Recognises a token by its form and checksum; no look-up is needed to refuse anything else.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let well_formed = text.len() == MARK.len() + SECRET_CHARS + CHECKSUM_CHARS
            && text.is_ascii()
            && text.starts_with(MARK);
        if !well_formed {
            return Err(NotAToken);
        }
        let (body, sum) = text.split_at(MARK.len() + SECRET_CHARS);
        if checksum(body) != sum {
            return Err(NotAToken);
        }
        Ok(Self(text.to_owned()))
    }

    /// The token itself, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored in its place. A token has 256 bits of its own, so a plain hash can't be
    /// searched.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The first characters, by which an operator tells tokens apart.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..Self::PREFIX_CHARS]
    }
}

impl fmt::Debug for WebhookToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookToken(redacted)")
    }
}

fn checksum(body: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(body.as_bytes())[..4])
}

/// What is known of a minted token afterwards.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookTokenRecord {
    /// Its identifier.
    pub id: WebhookTokenId,
    /// The vendor whose webhooks it admits.
    pub vendor: Vendor,
    /// The connection it is bound to.
    pub connection_id: ConnectionId,
    /// That connection's present name.
    pub connection_config_name: ConfigName,
    /// Its first characters.
    pub prefix: String,
    /// When it was minted.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself, if ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When a webhook last came in by it, if any did.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl WebhookTokenRecord {
    /// Whether it admits webhooks at `now`.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::OsRandom;

    #[test]
    fn a_minted_token_is_recognised_and_safe_in_a_url() {
        let token = WebhookToken::mint(&OsRandom);
        assert_eq!(WebhookToken::parse(token.expose()), Ok(token.clone()));
        assert!(
            token
                .expose()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
        assert_eq!(token.prefix().len(), 8);
        assert!(token.prefix().starts_with("whk_"));
    }

    #[test]
    fn a_token_with_any_character_changed_is_not_a_token() {
        let token = WebhookToken::mint(&OsRandom);
        for at in 0..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(WebhookToken::parse(&changed), Err(NotAToken), "at {at}");
        }
    }

    #[test]
    fn other_texts_are_not_tokens() {
        for text in ["", "whk_", "whk_é", &"whk_".repeat(20), &"é".repeat(26)] {
            assert_eq!(WebhookToken::parse(text), Err(NotAToken), "{text:?}");
        }
    }

    #[test]
    fn two_tokens_differ_and_debug_shows_neither() {
        let (one, two) = (WebhookToken::mint(&OsRandom), WebhookToken::mint(&OsRandom));
        assert_ne!(one.hash(), two.hash());
        assert_eq!(format!("{one:?}"), "WebhookToken(redacted)");
    }
}
