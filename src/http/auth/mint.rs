//! Tokens that an operator makes without an issuer.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::domain::{clock::Clock, ids::TenantId};

/// Makes an HS256 token for an operator of `tenant` that is valid for `ttl` from now.
///
/// `scopes` is the text of the `scope` claim: scopes, separated by spaces.
///
/// # Panics
///
/// Never: signing with a shared secret has no way to fail.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "a JSON object always serialises, and HMAC takes a key of any length"
)]
pub fn mint(
    secret: &[u8],
    tenant: TenantId,
    scopes: &str,
    ttl: Duration,
    clock: &dyn Clock,
) -> String {
    let now = clock.now().timestamp();
    let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let claims = json!({
        "sub": "operator",
        "tenant_id": tenant,
        "scope": scopes,
        "iat": now,
        "exp": now.saturating_add(ttl),
    });
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret),
    )
    .expect("signing with a shared secret does not fail")
}
