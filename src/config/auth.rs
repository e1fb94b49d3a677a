//! How callers' tokens are verified.

use std::path::PathBuf;

use url::Url;

use super::{
    Profile,
    reader::{Reader, UNSET},
    variables::{JWT_AUDIENCE, JWT_HMAC_SECRET, JWT_ISSUER, JWT_JWKS, JWT_SCOPES},
};
use crate::domain::secret::SecretText;

/// RFC 7518 §3.2 asks of an HS256 key at least as many bytes as the hash has.
const HMAC_SECRET_LEAST: usize = 32;

/// The settings of token verification. At least one of the first two is set, except where the
/// profile lets both be missing.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The shared secret of HS256, HS384 and HS512 tokens.
    pub hmac_secret: Option<SecretText>,
    /// The public keys of all other tokens.
    pub jwks: Option<Jwks>,
    /// The `iss` a token must have.
    pub issuer: Option<String>,
    /// The `aud` a token must have.
    pub audience: Option<String>,
    /// What a token without any scope claim may do.
    pub scopes: ScopeRule,
}

/// Where the public keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Jwks {
    /// A file on this machine.
    File(PathBuf),
    /// An https URL.
    Url(Url),
}

/// What a token without any scope claim may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScopeRule {
    /// Everything: scopes count only where a token has them.
    IfPresent,
    /// Nothing: every token must name its scopes.
    Required,
}

impl Auth {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let hmac_secret = reader.parsed(&JWT_HMAC_SECRET, hmac_secret);
        let jwks = reader.parsed(&JWT_JWKS, jwks);
        let issuer = reader.words(&JWT_ISSUER);
        let audience = reader.words(&JWT_AUDIENCE);
        let scopes = reader.parsed(&JWT_SCOPES, scopes);
        if hmac_secret.is_none() {
            match reader.profile() {
                // Either will do, and one that is faulty is told of anyway.
                Profile::Serve if jwks.is_none() && !reader.is_faulty(&JWT_JWKS) => {
                    reader.missing(
                        &JWT_HMAC_SECRET,
                        "is not set, nor is DISCOVERY_JWT_JWKS, of which one is needed",
                    );
                }
                Profile::Tool(needs) if needs.contains(&JWT_HMAC_SECRET) => {
                    reader.missing(&JWT_HMAC_SECRET, UNSET);
                }
                _ => {}
            }
        }
        Some(Self {
            hmac_secret,
            jwks,
            issuer,
            audience,
            scopes: scopes?,
        })
    }
}

fn hmac_secret(text: &str) -> Result<SecretText, String> {
    if text.len() < HMAC_SECRET_LEAST {
        return Err(format!(
            "is only {} bytes long and could be guessed",
            text.len()
        ));
    }
    Ok(SecretText::new(text.to_owned()))
}

fn jwks(text: &str) -> Result<Jwks, &'static str> {
    if text.starts_with("https://") {
        let url = Url::parse(text).map_err(|_| "is not a URL")?;
        return if url.username().is_empty() && url.password().is_none() {
            Ok(Jwks::Url(url))
        } else {
            Err("has a user or a password")
        };
    }
    if text.contains("://") {
        return Err("is not an https URL; whoever could change the keys on their way could sign");
    }
    Ok(Jwks::File(PathBuf::from(text)))
}

fn scopes(text: &str) -> Result<ScopeRule, &'static str> {
    match text {
        "if-present" => Ok(ScopeRule::IfPresent),
        "required" => Ok(ScopeRule::Required),
        _ => Err("is neither `if-present` nor `required`"),
    }
}
