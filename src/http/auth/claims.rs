//! What a verified token says.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Refusal, ScopeRule};
use crate::domain::{
    caller::{Scope, Scopes},
    ids::TenantId,
};

/// How far the issuer's clock may be from ours, in seconds.
const LEEWAY: i64 = 60;

/// How much of `sub` is kept, in characters.
const MAX_SUBJECT: usize = 256;

/// The claims of a token whose signature was verified.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Checks time, issuer and audience.
    pub(super) fn check(
        &self,
        now: DateTime<Utc>,
        issuer: Option<&str>,
        audience: Option<&str>,
    ) -> Result<(), Refusal> {
        let now = now.timestamp();
        let expiry = self.get("exp").and_then(seconds).ok_or(Refusal::NoExpiry)?;
        if now >= expiry.saturating_add(LEEWAY) {
            return Err(Refusal::Expired);
        }
        if let Some(start) = self.get("nbf") {
            let start = seconds(start).ok_or(Refusal::NotYet)?;
            if now < start.saturating_sub(LEEWAY) {
                return Err(Refusal::NotYet);
            }
        }
        if issuer.is_some_and(|wanted| self.text("iss") != Some(wanted)) {
            return Err(Refusal::Issuer);
        }
        if audience.is_some_and(|wanted| !self.is_for(wanted)) {
            return Err(Refusal::Audience);
        }
        Ok(())
    }

    /// The tenant: `tenant_id`, or `tenantId` if the former is absent or null.
    ///
    /// A `tenant_id` that is there but is no UUID does not fall through to the other claim: an
    /// issuer that says two things is not asked which it meant. The nil UUID is nobody's.
    pub(super) fn tenant(&self) -> Option<TenantId> {
        let claim = self.get("tenant_id").or_else(|| self.get("tenantId"))?;
        let id: Uuid = claim.as_str()?.parse().ok()?;
        (!id.is_nil()).then_some(TenantId(id))
    }

    /// Who the issuer says it is; empty if it doesn't.
    pub(super) fn subject(&self) -> String {
        let subject = self.text("sub").unwrap_or_default();
        // What has no place in a line of a log has none in the log of deeds either.
        subject
            .chars()
            .filter(|character| !character.is_control())
            .take(MAX_SUBJECT)
            .collect()
    }

    /// The scopes of `scope` and `permissions` together.
    ///
    /// A claim that is there in another shape than it should be, null included, gives no scope but
    /// counts as there: what can't be read must not grant everything.
    pub(super) fn scopes(&self, rule: ScopeRule) -> Scopes {
        let (scope, permissions) = (self.0.get("scope"), self.0.get("permissions"));
        if scope.is_none() && permissions.is_none() {
            return match rule {
                ScopeRule::IfPresent => Scopes::ALL,
                ScopeRule::Required => Scopes::default(),
            };
        }
        let listed = permissions.and_then(Value::as_array).into_iter().flatten();
        let written = scope.and_then(Value::as_str).unwrap_or_default();
        let names: Vec<&str> = listed
            .filter_map(Value::as_str)
            .chain(written.split(' '))
            .collect();
        Scopes {
            read: names.contains(&Scope::Read.as_str()),
            write: names.contains(&Scope::Write.as_str()),
        }
    }

    /// A claim that is there and not null.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    fn is_for(&self, wanted: &str) -> bool {
        match self.get("aud") {
            Some(Value::String(audience)) => audience == wanted,
            Some(Value::Array(audiences)) => {
                audiences.iter().any(|one| one.as_str() == Some(wanted))
            }
            _ => false,
        }
    }
}

/// A point in time as tokens have it: seconds, perhaps with a fraction, which is dropped.
fn seconds(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| {
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.')?;
        // A number in scientific notation is no time that anybody meant.
        let plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
        whole.parse().ok().filter(|_| plain)
    })
}
