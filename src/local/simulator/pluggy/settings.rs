//! Where Pluggy is known to vary, and which way it goes here.

use serde_json::{Value, json};

/// How a listing tells of its next page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum NextForm {
    /// `?accountId=…&after=…`, as documented.
    Bare,
    /// The same with scheme, host and path in front.
    Absolute,
    /// Absolute, at a host that is not the vendor's.
    Host(String),
    /// The cursor that was asked with, again and again.
    Repeat,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) key_ttl_seconds: i64,
    pub(super) expired_key_status: u16,
    pub(super) page_size: usize,
    pub(super) next: NextForm,
    pub(super) strict_webhook_urls: bool,
    pub(super) unknown_item_status: u16,
    pub(super) minimum_hours_between_updates: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key_ttl_seconds: 2 * 60 * 60,
            expired_key_status: 403,
            page_size: 500,
            next: NextForm::Bare,
            strict_webhook_urls: false,
            unknown_item_status: 200,
            minimum_hours_between_updates: 0,
        }
    }
}

impl Settings {
    /// Changes what `params` names, all or nothing.
    pub(super) fn change(&mut self, params: &Value) -> Result<(), String> {
        let members = params
            .as_object()
            .ok_or("the parameters must be a JSON object")?;
        let mut changed = Self {
            next: self.next.clone(),
            ..*self
        };
        for (name, value) in members {
            let wrong = || format!("{name} can't be {value}");
            match name.as_str() {
                "keyTtlSeconds" => changed.key_ttl_seconds = value.as_i64().ok_or_else(wrong)?,
                "expiredKeyStatus" => {
                    changed.expired_key_status = one_of(value, [401, 403]).ok_or_else(wrong)?;
                }
                "pageSize" => {
                    changed.page_size = value
                        .as_u64()
                        .filter(|size| (1..=500).contains(size))
                        .and_then(|size| usize::try_from(size).ok())
                        .ok_or_else(wrong)?;
                }
                "next" => {
                    changed.next = match value.as_str().ok_or_else(wrong)? {
                        "bare" => NextForm::Bare,
                        "absolute" => NextForm::Absolute,
                        "repeat" => NextForm::Repeat,
                        host if host.starts_with("http") => NextForm::Host(host.to_owned()),
                        _ => return Err(wrong()),
                    };
                }
                "strictWebhookUrls" => {
                    changed.strict_webhook_urls = value.as_bool().ok_or_else(wrong)?;
                }
                "unknownItemStatus" => {
                    changed.unknown_item_status = one_of(value, [200, 404]).ok_or_else(wrong)?;
                }
                "minimumHoursBetweenUpdates" => {
                    changed.minimum_hours_between_updates = value.as_i64().ok_or_else(wrong)?;
                }
                _ => {
                    return Err(format!(
                        "there is no setting {name}; there are keyTtlSeconds, expiredKeyStatus, \
                         pageSize, next, strictWebhookUrls, unknownItemStatus and \
                         minimumHoursBetweenUpdates"
                    ));
                }
            }
        }
        *self = changed;
        Ok(())
    }

    pub(super) fn state(&self) -> Value {
        let next = match &self.next {
            NextForm::Bare => "bare",
            NextForm::Absolute => "absolute",
            NextForm::Repeat => "repeat",
            NextForm::Host(origin) => origin,
        };
        json!({
            "keyTtlSeconds": self.key_ttl_seconds,
            "expiredKeyStatus": self.expired_key_status,
            "pageSize": self.page_size,
            "next": next,
            "strictWebhookUrls": self.strict_webhook_urls,
            "unknownItemStatus": self.unknown_item_status,
            "minimumHoursBetweenUpdates": self.minimum_hours_between_updates,
        })
    }
}

fn one_of(value: &Value, allowed: [u16; 2]) -> Option<u16> {
    allowed.into_iter().find(|status| *value == *status)
}
