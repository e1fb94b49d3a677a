//! Tokens that an operator makes without an issuer.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::domain::{clock::Clock, ids::TenantId};

/// What a token says.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The tenant it speaks for.
    pub tenant: TenantId,
    /// The text of the `scope` claim: scopes, separated by spaces.
    pub scopes: &'a str,
    /// How long it is good for.
    pub ttl: Duration,
    /// The `iss` that the server asks for, if it asks for one.
    pub issuer: Option<&'a str>,
    /// The `aud` that the server asks for, if it asks for one.
    pub audience: Option<&'a str>,
}

/// Makes an HS256 token for an operator.
///
/// # Panics
///
/// Never: signing with a shared secret has no way to fail.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "a JSON object always serialises, and HMAC takes a key of any length"
)]
pub fn mint(secret: &[u8], grant: &Grant<'_>, clock: &dyn Clock) -> String {
    let now = clock.now().timestamp();
    let ttl = i64::try_from(grant.ttl.as_secs()).unwrap_or(i64::MAX);
    let mut claims = json!({
        "sub": "operator",
        "tenant_id": grant.tenant,
        "scope": grant.scopes,
        "iat": now,
        "exp": now.saturating_add(ttl),
    });
    for (name, value) in [("iss", grant.issuer), ("aud", grant.audience)] {
        if let Some(value) = value {
            claims[name] = value.into();
        }
    }
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret),
    )
    .expect("signing with a shared secret does not fail")
}
