//! One link and the consent it lives by.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::Refusal;
use super::shape::stamp;

pub(super) const INSTITUTION: &str = "ofmockbank_br_retail";
/// The identity that the sandbox gives to everybody.
pub(super) const DOCUMENT: &str = "76109277673";
const COOLDOWN: TimeDelta = TimeDelta::minutes(10);

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) id: Uuid,
    pub(super) institution: String,
    pub(super) user: String,
    pub(super) external: String,
    pub(super) status: &'static str,
    pub(super) access_mode: String,
    pub(super) stale_in: String,
    pub(super) resources: Value,
    pub(super) created: DateTime<Utc>,
    pub(super) accessed: DateTime<Utc>,
    pub(super) refreshed: Option<DateTime<Utc>>,
    pub(super) consent: Consent,
}

#[derive(Clone, Debug)]
pub(super) struct Consent {
    pub(super) id: Uuid,
    pub(super) status: &'static str,
    pub(super) ends: DateTime<Utc>,
}

impl Link {
    pub(super) fn json(&self) -> Value {
        let recurrent = self.access_mode == "recurrent";
        json!({
            "id": self.id,
            "institution": self.institution,
            "access_mode": self.access_mode,
            "status": self.status,
            "refresh_rate": recurrent.then_some("24h"),
            "last_accessed_at": stamp(self.accessed, self.id.as_u128()),
            "created_at": stamp(self.created, self.id.as_u128() >> 2),
            "external_id": self.external,
            "institution_user_id": self.user,
            "created_by": Uuid::from_u128(self.id.as_u128().rotate_left(32)),
            "credentials_storage": if recurrent { "store" } else { "365d" },
            "fetch_resources": self.resources,
            "stale_in": self.stale_in,
        })
    }

    pub(super) fn consent_json(&self) -> Value {
        json!({
            "id": self.consent.id,
            "display_name": "Finanças",
            "document_number": DOCUMENT,
            "belvo_institution_name": self.institution,
            "institution_display_name": "Mock Bank",
            "institution_icon_logo": "https://example.org/logo.svg",
            "belvo_organization_name": "Organização",
            "link_id": self.id,
            "expired_at": stamp(self.consent.ends, 1),
            "undefined_consent_expiration": false,
            "consent_duration": "366",
            "created_at": stamp(self.created, 2),
            "status": self.consent.status,
            "permissions": {
                "REGISTER": ["CUSTOMERS_PERSONAL_IDENTIFICATIONS_READ"],
                "ACCOUNTS": ["ACCOUNTS_READ", "ACCOUNTS_BALANCES_READ",
                    "ACCOUNTS_TRANSACTIONS_READ"],
                "CREDIT_CARDS": ["CREDIT_CARDS_ACCOUNTS_READ",
                    "CREDIT_CARDS_ACCOUNTS_BILLS_READ"],
                "CREDIT_OPERATIONS": [],
                "INVESTMENTS": [],
                "RESOURCES": ["RESOURCES_READ"],
            },
        })
    }

    /// Whether the link may be refreshed now, and if not, why.
    pub(super) fn refreshable(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        match self.status {
            "valid" => {}
            "token_required" => {
                return Err(Refusal::new(
                    428,
                    "token_required",
                    "A MFA token is required by the institution to login.",
                )
                .with("session", self.id.simple().to_string())
                .with("expiry", 600)
                .with("link", self.id.to_string())
                .with(
                    "token_generation_data",
                    json!({ "instructions": "Use this code to generate the token",
                        "type": "numeric", "value": null, "expects_user_input": true }),
                ));
            }
            _ => {
                return Err(Refusal::new(
                    400,
                    "invalid_link",
                    "Can't perform the current action with an invalid link",
                ));
            }
        }
        let left = self.refreshed.map(|last| last + COOLDOWN - now);
        match left.filter(|left| *left > TimeDelta::zero()) {
            Some(left) => Err(Refusal::new(
                409,
                "link_refreshed",
                format!(
                    "The link was refreshed recently. Please try again in {} minutes.",
                    (left.num_seconds() + 59) / 60
                ),
            )),
            None => Ok(()),
        }
    }

    /// Changes what a caller may change, or nothing.
    pub(super) fn patch(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|_| Refusal::new(400, "parse_error", "JSON parse error"))?;
        let mode = match body.get("access_mode") {
            None => self.access_mode.clone(),
            Some(Value::String(mode)) if mode == "single" || mode == "recurrent" => mode.clone(),
            Some(_) => {
                return Err(Refusal::new(400, "invalid_choice", "Not a valid choice.")
                    .with("field", "access_mode"));
            }
        };
        let stale_in = match body.get("stale_in") {
            None => self.stale_in.clone(),
            Some(Value::String(days)) if is_days(days) => days.clone(),
            Some(_) => return Err(Refusal::invalid("stale_in", "Enter a number of days.")),
        };
        match body.get("fetch_resources") {
            None => {}
            Some(resources @ Value::Array(_)) => self.resources = resources.clone(),
            Some(_) => {
                return Err(Refusal::new(400, "not_a_list", "Expected a list of items.")
                    .with("field", "fetch_resources"));
            }
        }
        self.access_mode = mode;
        self.stale_in = stale_in;
        Ok(())
    }
}

fn is_days(text: &str) -> bool {
    text.strip_suffix('d').is_some_and(|days| {
        (1..=3).contains(&days.len()) && days.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The institutions that can be linked.
pub(super) fn institutions() -> Vec<Value> {
    let institution = |id: u32, name: &str, display: &str, integration: &str, status: &str| {
        json!({
            "id": id,
            "name": name,
            "type": "bank",
            "display_name": display,
            "country_codes": ["BR"],
            "website": null,
            "logo": null,
            "icon_logo": "https://example.org/logo.svg",
            "text_logo": null,
            "primary_color": "#056dae",
            "form_fields": [],
            "features": [],
            "resources": ["ACCOUNTS", "BALANCES", "BILLS", "OWNERS", "TRANSACTIONS"],
            "integration_type": integration,
            "status": status,
        })
    };
    vec![
        institution(1003, INSTITUTION, "Mock Bank", "openfinance", "healthy"),
        institution(1, "erebor_br_retail", "Erebor", "credentials", "healthy"),
        institution(4, "gringotts_br_retail", "Gringotts", "credentials", "down"),
    ]
}
