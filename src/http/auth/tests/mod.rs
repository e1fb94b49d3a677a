//! Tokens of every kind against an authenticator whose clock stands still.

mod freshness;
mod issuer;
mod key_sets;
mod tokens;

use std::{sync::Mutex, time::Duration};

use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::*;
use crate::net::NetConfig;

/// The second at which every test begins.
const NOW: i64 = 2_000_000_000;
const TENANT: &str = "0190a1b2-0000-7000-8000-000000000001";
const OTHER_TENANT: &str = "0190a1b2-0000-7000-8000-000000000002";
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

#[derive(Debug)]
struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    fn new() -> Arc<Self> {
        let start = DateTime::from_timestamp(NOW, 0).expect("a date");
        Arc::new(Self(Mutex::new(start)))
    }

    fn advance(&self, by: TimeDelta) {
        *self.0.lock().expect("no panic") += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("no panic")
    }
}

fn rules() -> TokenRules {
    TokenRules {
        hmac_secret: None,
        jwks: None,
        jwks_over_loopback_http: true,
        issuer: None,
        audience: None,
        scopes: ScopeRule::IfPresent,
    }
}

fn client() -> Client {
    Client::new(NetConfig {
        connect_timeout: Duration::from_secs(20),
        total_timeout: Duration::from_secs(20),
        body_cap: 64 * 1024,
        exemptions: vec!["127.0.0.0/8".parse().expect("a network")],
        proxy: None,
    })
    .expect("a client")
}

fn authenticator(rules: TokenRules) -> (Authenticator, Arc<ManualClock>) {
    let clock = ManualClock::new();
    let authenticator = Authenticator::new(rules, clock.clone(), client()).expect("usable rules");
    (authenticator, clock)
}

/// An authenticator that knows [`SECRET`].
fn with_secret() -> Authenticator {
    let rules = TokenRules {
        hmac_secret: Some(SECRET.to_vec().into()),
        ..rules()
    };
    authenticator(rules).0
}

fn claims() -> Value {
    json!({"tenant_id": TENANT, "sub": "someone", "exp": NOW + 600})
}

/// [`claims`] with some of them changed; null takes one away.
#[expect(
    clippy::needless_pass_by_value,
    reason = "reads better at the place of use"
)]
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    claims
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with whatever header, signed by `key` as `algorithm` would have it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "reads better at the place of use"
)]
fn signed(header: Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(&header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm);
    format!("{message}.{}", signature.expect("a fitting key"))
}

/// A good HS256 token for these claims.
fn token(claims: &Value) -> String {
    signed(
        json!({"alg": "HS256", "typ": "JWT"}),
        claims,
        &EncodingKey::from_secret(SECRET),
        Algorithm::HS256,
    )
}

fn header(value: &str) -> HeaderMap {
    let value = HeaderValue::from_str(value).expect("a header value");
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

async fn ask(authenticator: &Authenticator, token: &str) -> Result<Caller, AuthError> {
    authenticator
        .authenticate(&header(&format!("Bearer {token}")))
        .await
}

/// Why a token is refused.
async fn refusal(authenticator: &Authenticator, token: &str) -> Option<Refusal> {
    let refusal = authenticator.verify(token).await.err();
    if refusal.is_some() {
        let answer = ask(authenticator, token).await;
        assert_eq!(answer, Err(AuthError::InvalidToken));
    }
    refusal
}
