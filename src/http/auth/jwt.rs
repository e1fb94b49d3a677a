//! The outer form of a token: three parts, an algorithm, a signature.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::{Refusal, claims::Claims};

/// What a token's header may tell us. Keys and places of keys (`jwk`, `jku`, `x5c`, `x5u`) are not
/// among it: who signed decides nothing about what we trust.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token taken apart; nothing in it is believed yet.
pub(super) struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub(super) fn read(text: &'a str) -> Result<Self, Refusal> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        let header: Header = decode(header)?;
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        Ok(Self {
            algorithm: algorithm(&header.alg).ok_or(Refusal::Algorithm)?,
            key_id: header.kid,
            message: &text[..text.len() - signature.len() - 1],
            payload,
            signature,
        })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Whether the algorithm is one of a shared secret.
    pub(super) fn is_hmac(&self) -> bool {
        matches!(
            self.algorithm,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
        )
    }

    /// Checks that one of `keys` made the signature. The caller hands in only keys that are meant
    /// for this token's algorithm.
    pub(super) fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k DecodingKey>,
    ) -> Result<(), Refusal> {
        let message = self.message.as_bytes();
        let made_by = |key| {
            jsonwebtoken::crypto::verify(self.signature, message, key, self.algorithm)
                .unwrap_or(false)
        };
        if keys.into_iter().any(made_by) {
            Ok(())
        } else {
            Err(Refusal::Signature)
        }
    }

    /// The claims; worth reading only once the signature is verified.
    pub(super) fn claims(&self) -> Result<Claims, Refusal> {
        decode(self.payload).map(Claims::new)
    }
}

/// The algorithms that are accepted, by their exact names; `none` is not among them.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "HS256" => Some(Algorithm::HS256),
        "HS384" => Some(Algorithm::HS384),
        "HS512" => Some(Algorithm::HS512),
        "RS256" => Some(Algorithm::RS256),
        "PS256" => Some(Algorithm::PS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}
