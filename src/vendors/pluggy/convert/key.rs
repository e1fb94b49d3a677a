//! Session keys.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};

use crate::{
    domain::secret::SecretText,
    vendors::{
        VendorError,
        pluggy::{
            answers::{self, Endpoint},
            wire,
        },
    },
};

/// More bytes than any key has, and fewer than a header may have.
const MAX_KEY: usize = 8192;

/// A session key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What goes into the header.
    pub secret: SecretText,
    /// Until when it says that it is good. Nobody has verified that.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Reads the answer to a pair.
pub fn key(body: &[u8]) -> Result<ApiKey, VendorError> {
    let malformed = || answers::error_in_success(body, Endpoint::Auth);
    let answer: wire::Key<'_> = wire::read(body).map_err(|_| malformed())?;
    let key = answer.api_key.text().ok_or_else(malformed)?;
    let fits_a_header = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > MAX_KEY || !fits_a_header {
        return Err(malformed());
    }
    Ok(ApiKey {
        expires_at: expiry(&key),
        secret: SecretText::new(key.into_owned()),
    })
}

/// When a JWT expires, by its own account.
fn expiry(jwt: &str) -> Option<DateTime<Utc>> {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let claims: wire::Claims<'_> = wire::read(&claims).ok()?;
    let seconds = claims.exp.text()?;
    // A fraction is allowed, and of no use.
    let whole = seconds.split('.').next()?;
    DateTime::from_timestamp(whole.parse().ok()?, 0)
}
