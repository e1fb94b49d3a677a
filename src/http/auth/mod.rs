//! Who is calling: bearer tokens, verified.
//!
//! A token is read in this order, and the first fault ends it: one `Authorization` header, a header
//! whose algorithm we have keys for, a signature by one of exactly those keys, the time, issuer and
//! audience, and only then what it says about tenant, subject and scopes.

mod claims;
mod jwks;
mod jwt;
pub mod mint;

#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::DecodingKey;
use url::{Host, Url};
use zeroize::Zeroizing;

pub use self::jwks::KeySetError;
use self::{claims::Claims, jwks::KeyStore, jwt::Token};
use crate::{
    domain::{caller::Caller, clock::Clock},
    net::Client,
};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// The shortest HMAC secret that is accepted, in bytes.
const MIN_SECRET: usize = 32;

/// Why a request could not be attributed to a caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// No usable `Authorization: Bearer` header.
    #[error("the request carries no bearer token")]
    MissingToken,
    /// The token did not verify.
    #[error("the token is not valid")]
    InvalidToken,
    /// The token verifies but names no tenant.
    #[error("the token names no tenant")]
    NoTenant,
}

/// Where the public keys of the token issuer are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// A file on this machine.
    File(PathBuf),
    /// A document of the issuer.
    Url(Url),
}

/// What a token without any scope claim may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScopeRule {
    /// Everything: the issuer knows no scopes.
    IfPresent,
    /// Nothing.
    Required,
}

/// What makes a token valid.
#[derive(Clone)]
pub struct TokenRules {
    /// The secret that verifies HS256, HS384 and HS512, and nothing else.
    pub hmac_secret: Option<Zeroizing<Vec<u8>>>,
    /// The keys that verify RS256, PS256, ES256 and `EdDSA`, each its own algorithm.
    pub jwks: Option<KeySource>,
    /// Allows the URL of the keys to be plain http on a loopback host, for tests and laptops.
    pub jwks_over_loopback_http: bool,
    /// The `iss` that a token must have.
    pub issuer: Option<String>,
    /// The `aud` that a token must have among its own.
    pub audience: Option<String>,
    /// What a token without any scope claim may do.
    pub scopes: ScopeRule,
}

impl fmt::Debug for TokenRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRules")
            .field("jwks", &self.jwks)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Why no authenticator can be made of the configured rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RulesError {
    /// Nothing to verify a token with.
    #[error("no token could ever be verified: configure an HMAC secret, a JWKS, or both")]
    NoKey,
    /// An HMAC secret that could be guessed.
    #[error("the HMAC secret for tokens must have at least {MIN_SECRET} bytes")]
    ShortSecret,
    /// A key file in the place of the HMAC secret. If it is a public key, everybody has it.
    #[error(
        "the HMAC secret for tokens is a PEM file; public keys are configured as a JWKS, \
         and a secret must be random"
    )]
    PemSecret,
    /// Keys that anybody on the way could replace.
    #[error("the JWKS URL must be https")]
    InsecureUrl,
}

/// Verifies bearer tokens.
pub struct Authenticator {
    hmac: Option<DecodingKey>,
    keys: Option<KeyStore>,
    issuer: Option<String>,
    audience: Option<String>,
    scopes: ScopeRule,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Why a token was refused: for our log, never for the caller, who might learn from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("more than one Authorization header")]
    SeveralHeaders,
    #[error("longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("not a JSON Web Token")]
    Malformed,
    #[error("demands header extensions that are not known here")]
    Critical,
    #[error("its algorithm is not accepted")]
    Algorithm,
    #[error("no key fits it")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it has no usable `exp`")]
    NoExpiry,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("its issuer is another")]
    Issuer,
    #[error("its audience is another")]
    Audience,
}

impl Authenticator {
    /// Makes an authenticator. The keys of a JWKS are loaded by the first token that needs them,
    /// or by [`Self::load_keys`].
    pub fn new(
        rules: TokenRules,
        clock: Arc<dyn Clock>,
        client: Client,
    ) -> Result<Self, RulesError> {
        if rules.hmac_secret.is_none() && rules.jwks.is_none() {
            return Err(RulesError::NoKey);
        }
        if let Some(secret) = &rules.hmac_secret {
            check_secret(secret)?;
        }
        if let Some(KeySource::Url(url)) = &rules.jwks {
            check_url(url, rules.jwks_over_loopback_http)?;
        }
        Ok(Self {
            hmac: rules
                .hmac_secret
                .map(|secret| DecodingKey::from_secret(&secret)),
            keys: rules
                .jwks
                .map(|source| KeyStore::new(source, Arc::clone(&clock), client)),
            issuer: rules.issuer,
            audience: rules.audience,
            scopes: rules.scopes,
            clock,
        })
    }

    /// Loads the keys of the configured JWKS and says how many of them are usable; 0 without one.
    ///
    /// For the start of a server and for its check-up: a token loads them as well.
    pub async fn load_keys(&self) -> Result<usize, KeySetError> {
        match &self.keys {
            Some(keys) => keys.load().await,
            None => Ok(0),
        }
    }

    /// Attributes a request to its caller.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let claims = match bearer(headers) {
            Ok(None) => return Err(AuthError::MissingToken),
            Ok(Some(token)) => self.verify(token).await,
            Err(refusal) => Err(refusal),
        };
        let claims = claims.map_err(|refusal| {
            tracing::debug!(reason = %refusal, "token refused");
            AuthError::InvalidToken
        })?;
        let tenant = claims.tenant().ok_or(AuthError::NoTenant)?;
        Ok(Caller {
            tenant,
            subject: claims.subject(),
            scopes: claims.scopes(self.scopes),
        })
    }

    async fn verify(&self, text: &str) -> Result<Claims, Refusal> {
        let token = Token::read(text)?;
        if token.is_hmac() {
            let key = self.hmac.as_ref().ok_or(Refusal::Algorithm)?;
            token.verify([key])?;
        } else {
            let keys = self.keys.as_ref().ok_or(Refusal::Algorithm)?;
            let fitting = keys.find(token.key_id(), token.algorithm()).await;
            if fitting.is_empty() {
                return Err(Refusal::UnknownKey);
            }
            token.verify(fitting.iter().map(AsRef::as_ref))?;
        }
        let claims = token.claims()?;
        claims.check(
            self.clock.now(),
            self.issuer.as_deref(),
            self.audience.as_deref(),
        )?;
        Ok(claims)
    }
}

/// Whether a text can be the secret that tokens are signed with.
pub fn check_secret(secret: &[u8]) -> Result<(), RulesError> {
    if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(RulesError::PemSecret);
    }
    if secret.len() < MIN_SECRET {
        return Err(RulesError::ShortSecret);
    }
    Ok(())
}

fn check_url(url: &Url, loopback_http: bool) -> Result<(), RulesError> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback && loopback_http => Ok(()),
        _ => Err(RulesError::InsecureUrl),
    }
}

/// The token of the one `Authorization: Bearer` header; `None` without one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // Which of two a proxy and we would believe is not worth guessing.
    if values.next().is_some() {
        return Err(Refusal::SeveralHeaders);
    }
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let Some((scheme, token)) = text.split_once(' ') else {
        return Ok(None);
    };
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Ok(None);
    }
    if token.len() > MAX_TOKEN {
        return Err(Refusal::TooLong);
    }
    Ok(Some(token))
}
