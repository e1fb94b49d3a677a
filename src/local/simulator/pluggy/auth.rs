//! `POST /auth`, and the gate that every other call has to pass.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::{
    World,
    shape::{coded, refusal},
};
use crate::local::simulator::exchange::{Answer, Ask};

/// An application of one of Pluggy's customers.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) secret: String,
    pub(super) disabled: bool,
}

/// A key that was issued.
#[derive(Debug)]
pub(super) struct Key {
    client: String,
    expires: DateTime<Utc>,
}

/// So that keys which nobody uses any more do not pile up for ever.
pub(super) const KEYS_KEPT: usize = 10_000;

impl World {
    pub(super) fn authenticate(&mut self, ask: &Ask<'_>, now: DateTime<Utc>) -> Answer {
        let body: Value = match ask.header("content-type") {
            Some(kind) if kind.starts_with("application/json") => {
                serde_json::from_slice(ask.body).unwrap_or_default()
            }
            // The pair in headers, as some guides have it, is not read.
            _ => Value::Null,
        };
        let (Some(client), Some(secret)) =
            (body["clientId"].as_str(), body["clientSecret"].as_str())
        else {
            let missing: Vec<_> = ["clientId", "clientSecret"]
                .into_iter()
                .filter(|&name| !body[name].is_string())
                .map(|name| format!("{name} must be a string"))
                .collect();
            return refusal(400, &missing.join(", "));
        };
        match self.applications.get(client) {
            Some(known) if known.secret != secret => {}
            Some(known) if known.disabled => {
                return coded(401, "CLIENT_DISABLED", "Client is disabled");
            }
            Some(_) => {
                let key = self.issue(client.to_owned(), now);
                return Answer::json(200, &json!({ "apiKey": key }));
            }
            None => {}
        }
        coded(401, "CLIENT_KEYS_UNAUTHORIZED", "Client keys are invalid")
    }

    fn issue(&mut self, client: String, now: DateTime<Utc>) -> String {
        let expires = now + Duration::seconds(self.settings.key_ttl_seconds);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let key = format!(
            "{}.{}.{}",
            part(&json!({ "alg": "RS256", "typ": "JWT" })),
            part(&json!({
                "clientId": client, "jti": self.chance.uuid(),
                "iat": now.timestamp(), "exp": expires.timestamp(),
            })),
            URL_SAFE_NO_PAD.encode(self.chance.uuid()),
        );
        if self.keys.len() >= self.keys_before_sweep {
            self.keys.retain(|_, key| key.expires > now);
            // Twice what is left, or each of many living keys would be looked at for every new one.
            self.keys_before_sweep = KEYS_KEPT.max(2 * self.keys.len());
        }
        self.keys.insert(key.clone(), Key { client, expires });
        key
    }

    /// Whose call this is, by its key.
    pub(in crate::local::simulator) fn caller(&self, ask: &Ask<'_>) -> Option<String> {
        let key = self.keys.get(ask.header("x-api-key")?)?;
        Some(key.client.clone())
    }

    pub(super) fn admit(&self, ask: &Ask<'_>, now: DateTime<Utc>) -> Result<String, Answer> {
        let key = ask
            .header("x-api-key")
            .and_then(|text| self.keys.get(text))
            .filter(|key| key.expires > now);
        match key {
            Some(key) => Ok(key.client.clone()),
            None if self.settings.expired_key_status == 401 => Err(refusal(401, "Unauthorized")),
            None => Err(refusal(403, "Missing or invalid authorization token")),
        }
    }
}
