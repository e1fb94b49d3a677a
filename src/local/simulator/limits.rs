//! The vendors' rate limits, as they publish them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Mutex,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{exchange::Answer, lock};
use crate::domain::vendor::Vendor;

/// One budget of one vendor.
type Bucket = (Vendor, &'static str);

/// The buckets, each with its window in seconds and how many calls fit in it.
const PUBLISHED: [(Bucket, i64, u64); 6] = [
    ((Vendor::Pluggy, "auth"), 60, 360),
    ((Vendor::Pluggy, "accounts"), 60, 360),
    ((Vendor::Pluggy, "transactions"), 60, 360),
    ((Vendor::Pluggy, "investments"), 60, 360),
    ((Vendor::Pluggy, "updates"), 60, 20),
    ((Vendor::Belvo, "all"), 30, 80),
];

/// What the gateway in front of an API says, instead of the API.
pub(super) const FORBIDDEN_PAGE: &str = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n\
     <body>\r\n<center><h1>403 Forbidden</h1></center>\r\n<hr><center>openresty</center>\r\n\
     </body>\r\n</html>\r\n";

#[derive(Debug)]
pub(super) struct Limits(Mutex<State>);

#[derive(Debug)]
struct State {
    enabled: bool,
    figures: BTreeMap<Bucket, u64>,
    /// The window that was last counted in, by bucket and caller, and its calls.
    windows: HashMap<(Bucket, IpAddr), (i64, u64)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self(Mutex::new(State {
            enabled: true,
            figures: PUBLISHED.map(|(bucket, _, figure)| (bucket, figure)).into(),
            windows: HashMap::new(),
        }))
    }
}

fn bucket(vendor: Vendor, method: &str, path: &str) -> Option<(Bucket, i64)> {
    let name = match vendor {
        Vendor::Belvo => "all",
        Vendor::Pluggy => {
            let first = path.trim_start_matches("/v2").trim_start_matches('/');
            match (method, first.split('/').next().unwrap_or_default()) {
                ("POST", "auth") => "auth",
                ("GET", "accounts") => "accounts",
                ("GET", "transactions") => "transactions",
                ("GET", "investments") => "investments",
                ("PATCH", "items") => "updates",
                _ => return None,
            }
        }
    };
    PUBLISHED
        .iter()
        .find(|(bucket, ..)| *bucket == (vendor, name))
        .map(|&(bucket, window, _)| (bucket, window))
}

impl Limits {
    /// Counts a call, and refuses it when its window is full.
    pub(super) fn refuse(
        &self,
        vendor: Vendor,
        method: &str,
        path: &str,
        caller: IpAddr,
        now: DateTime<Utc>,
    ) -> Option<Answer> {
        let (bucket, seconds) = bucket(vendor, method, path)?;
        let mut state = lock(&self.0);
        if !state.enabled {
            return None;
        }
        let figure = *state.figures.get(&bucket)?;
        let window = now.timestamp().div_euclid(seconds);
        let counted = state.windows.entry((bucket, caller)).or_insert((window, 0));
        if counted.0 != window {
            *counted = (window, 0);
        }
        counted.1 += 1;
        if counted.1 <= figure {
            return None;
        }
        let reset = seconds - now.timestamp().rem_euclid(seconds);
        Some(match vendor {
            Vendor::Pluggy => too_many(figure, reset),
            Vendor::Belvo => forbidden(),
        })
    }

    /// Changes what `given` names, all or nothing: `enabled`, and figures by vendor and bucket.
    pub(super) fn change(&self, given: &Value) -> Result<(), String> {
        let members = given.as_object().ok_or("limits must be a JSON object")?;
        let mut state = lock(&self.0);
        let mut enabled = state.enabled;
        let mut figures = state.figures.clone();
        for (name, value) in members {
            if name == "enabled" {
                enabled = value.as_bool().ok_or("enabled must be true or false")?;
                continue;
            }
            let buckets = value.as_object();
            let buckets = buckets.ok_or_else(|| format!("{name} must be an object of buckets"))?;
            for (bucket, figure) in buckets {
                let known = figures
                    .iter_mut()
                    .find(|((vendor, known), _)| vendor.as_str() == name && known == bucket);
                let (_, slot) =
                    known.ok_or_else(|| format!("there is no limit {name}.{bucket}"))?;
                let figure = figure.as_u64();
                *slot = figure.ok_or_else(|| format!("{name}.{bucket} must be a whole number"))?;
            }
        }
        state.enabled = enabled;
        state.figures = figures;
        state.windows.clear();
        Ok(())
    }

    pub(super) fn state(&self) -> Value {
        let state = lock(&self.0);
        let mut shown = json!({ "enabled": state.enabled });
        for ((vendor, bucket), figure) in &state.figures {
            shown[vendor.as_str()][bucket] = json!(figure);
        }
        shown
    }
}

/// Pluggy's refusal of one call too many.
pub(super) fn too_many(limit: u64, reset: i64) -> Answer {
    let message = "Too many requests. Please try again later (see Retry-After header in seconds)";
    let mut answer = Answer::json(429, &json!({ "message": message, "code": 429 }));
    answer.headers.extend([
        ("ratelimit-limit", limit.to_string()),
        ("ratelimit-reset", reset.to_string()),
        ("retry-after", "60".to_owned()),
    ]);
    answer
}

/// Belvo's: a page from the gateway, which has never heard of JSON.
pub(super) fn forbidden() -> Answer {
    Answer {
        status: 403,
        headers: vec![("content-type", "text/html".to_owned())],
        body: FORBIDDEN_PAGE.as_bytes().to_vec(),
        notices: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::default() + TimeDelta::seconds(seconds)
    }

    fn used_up(limits: &Limits, path: &str, calls: usize) -> Option<Answer> {
        let ask = || limits.refuse(Vendor::Pluggy, "GET", path, HERE, at(15));
        (0..calls).find_map(|_| ask())
    }

    #[test]
    fn one_call_too_many_of_a_bucket_waits_for_the_next_window() {
        let limits = Limits::default();
        assert!(used_up(&limits, "/v2/transactions", 359).is_none());
        // Both spellings share one bucket.
        assert!(used_up(&limits, "/transactions/x", 1).is_none());
        let refused = used_up(&limits, "/v2/transactions", 1).unwrap();
        assert_eq!(refused.status, 429);
        assert!(
            refused
                .headers
                .contains(&("ratelimit-limit", "360".to_owned()))
        );
        assert!(
            refused
                .headers
                .contains(&("ratelimit-reset", "45".to_owned()))
        );
        assert!(refused.headers.contains(&("retry-after", "60".to_owned())));
        assert!(used_up(&limits, "/accounts", 1).is_none());
        let again =
            |caller, now| limits.refuse(Vendor::Pluggy, "GET", "/transactions", caller, now);
        assert!(again(THERE, at(15)).is_none());
        assert!(again(HERE, at(60)).is_none());
    }

    #[test]
    fn belvo_answers_with_a_page_that_is_no_json() {
        let limits = Limits::default();
        limits.change(&json!({ "belvo": { "all": 1 } })).unwrap();
        let ask = |path| limits.refuse(Vendor::Belvo, "GET", path, HERE, at(0));
        assert!(ask("/api/links/").is_none());
        let refused = ask("/api/accounts/").unwrap();
        assert_eq!(refused.status, 403);
        assert!(refused.body.starts_with(b"<html>"));
    }

    #[test]
    fn limits_change_all_at_once_or_not_at_all() {
        let limits = Limits::default();
        let wrong = json!({ "enabled": false, "pluggy": { "auth": 1, "tea": 1 } });
        assert_eq!(
            limits.change(&wrong),
            Err("there is no limit pluggy.tea".to_owned())
        );
        assert_eq!(limits.state()["pluggy"]["auth"], 360);
        assert_eq!(limits.state()["enabled"], true);
        limits
            .change(&json!({ "pluggy": { "accounts": 0 } }))
            .unwrap();
        assert!(used_up(&limits, "/accounts", 1).is_some());
        limits.change(&json!({ "enabled": false })).unwrap();
        assert!(used_up(&limits, "/accounts", 1).is_none());
    }
}
