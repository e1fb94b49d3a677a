//! The fault script: which call goes wrong, and how.

use std::{collections::BTreeMap, sync::Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::lock;
use crate::domain::vendor::Vendor;

/// How a call goes wrong.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(super) enum Fault {
    /// This answer instead of the vendor's; a body that is a text is sent as it is.
    Answer {
        status: u16,
        #[serde(default)]
        body: Value,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// 403 and a page of the gateway.
    Forbidden,
    /// 429 with the headers that tell how long to wait.
    TooMany {
        #[serde(default = "a_minute")]
        reset: i64,
    },
    /// An answer of the class 5xx with the vendor's own error body.
    Unavailable {
        #[serde(default = "service_unavailable")]
        status: u16,
    },
    /// The vendor's answer, late.
    Delay { millis: u64 },
    /// No answer, ever.
    Hang,
    /// The vendor's answer, once the faults are lifted.
    Hold,
    /// Half of the body, of the whole of which the length was promised; then the end.
    Truncate,
    /// Half of the body, as if it were the whole.
    Cut,
    /// The connection is reset before anything is answered.
    Reset,
    /// So many megabytes of an answer that never makes sense.
    Oversize { megabytes: u64 },
    /// Go and ask elsewhere.
    Redirect {
        location: String,
        #[serde(default = "found")]
        status: u16,
    },
    /// 200, and a page instead of JSON.
    Html,
    /// The vendor's answer in latin-1, which is not what JSON is written in.
    Charset,
    /// 200, and an error instead of what was asked for.
    ErrorInside {
        #[serde(default)]
        body: Value,
    },
    /// The vendor's answer, a few bytes at a time.
    Drip {
        #[serde(default = "one_byte")]
        bytes: usize,
        millis: u64,
    },
}

fn a_minute() -> i64 {
    60
}

fn service_unavailable() -> u16 {
    503
}

fn found() -> u16 {
    302
}

fn one_byte() -> usize {
    1
}

/// Which calls go wrong.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    vendor: Vendor,
    method: Option<String>,
    /// What the path begins with.
    path: Option<String>,
    /// How many such calls go well before.
    #[serde(default)]
    after: u64,
    /// How many go wrong then; all, if it is not given.
    times: Option<u64>,
    fault: Fault,
}

impl Rule {
    fn matches(&self, vendor: Vendor, method: &str, path: &str) -> bool {
        self.vendor == vendor
            && self
                .method
                .as_deref()
                .is_none_or(|only| only.eq_ignore_ascii_case(method))
            && self
                .path
                .as_deref()
                .is_none_or(|start| path.starts_with(start))
    }
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    met: u64,
}

/// The rules, the first of which that fits a call decides about it.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Script>);

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Armed>,
    /// What the calls wait for that are held.
    lifted: CancellationToken,
}

impl Faults {
    pub(super) fn arm(&self, rule: Rule) -> Result<(), String> {
        if let Fault::Answer { status, .. }
        | Fault::Unavailable { status }
        | Fault::Redirect { status, .. } = &rule.fault
            && !(200..=599).contains(status)
        {
            return Err(format!("{status} is no status from 200 to 599"));
        }
        lock(&self.0).rules.push(Armed { rule, met: 0 });
        Ok(())
    }

    pub(super) fn clear(&self) {
        std::mem::take(&mut *lock(&self.0)).lifted.cancel();
    }

    /// Comes to pass when the rules of now are cleared.
    pub(super) fn lifted(&self) -> CancellationToken {
        lock(&self.0).lifted.clone()
    }

    /// How this call goes wrong, if it does.
    pub(super) fn strike(&self, vendor: Vendor, method: &str, path: &str) -> Option<Fault> {
        let mut script = lock(&self.0);
        let matching = |armed: &&mut Armed| armed.rule.matches(vendor, method, path);
        script.rules.iter_mut().filter(matching).find_map(|armed| {
            armed.met += 1;
            let past = armed.met.checked_sub(armed.rule.after + 1)?;
            let strikes = armed.rule.times.is_none_or(|times| past < times);
            strikes.then(|| armed.rule.fault.clone())
        })
    }

    /// The rules, each with how many calls it has met.
    pub(super) fn state(&self) -> Value {
        lock(&self.0)
            .rules
            .iter()
            .map(|Armed { rule, met }| json!({ "rule": rule, "met": met }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(value: Value) -> Rule {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_rule_strikes_after_some_calls_and_some_times() {
        let faults = Faults::default();
        let armed = json!({
            "vendor": "pluggy", "method": "get", "path": "/accounts", "after": 1, "times": 2,
            "fault": { "kind": "hang" },
        });
        faults.arm(rule(armed)).unwrap();
        let strikes = |vendor, method, path| faults.strike(vendor, method, path).is_some();
        assert!(!strikes(Vendor::Belvo, "GET", "/accounts"));
        assert!(!strikes(Vendor::Pluggy, "POST", "/accounts"));
        assert!(!strikes(Vendor::Pluggy, "GET", "/items"));
        let course = [(); 4].map(|()| strikes(Vendor::Pluggy, "GET", "/accounts?x"));
        assert_eq!(course, [false, true, true, false]);
    }

    #[test]
    fn a_spent_rule_makes_way_for_the_next() {
        let faults = Faults::default();
        for (times, kind) in [(1, "hang"), (1, "reset")] {
            let armed = json!({ "vendor": "belvo", "times": times, "fault": { "kind": kind } });
            faults.arm(rule(armed)).unwrap();
        }
        let next = || faults.strike(Vendor::Belvo, "GET", "/");
        assert_eq!(
            (next(), next(), next()),
            (Some(Fault::Hang), Some(Fault::Reset), None)
        );
        faults.clear();
        assert_eq!(faults.state(), json!([]));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for wrong in [
            json!({ "vendor": "pluggy", "fault": { "kind": "sulk" } }),
            json!({ "vendor": "pluggy", "fault": { "kind": "delay" } }),
            json!({ "vendor": "pluggy", "fault": { "kind": "delay", "millis": 1, "ms": 2 } }),
            json!({ "vendor": "pluggy", "time": 1, "fault": { "kind": "hang" } }),
        ] {
            assert!(
                serde_json::from_value::<Rule>(wrong.clone()).is_err(),
                "{wrong}"
            );
        }
        let odd = json!({ "vendor": "pluggy", "fault": { "kind": "answer", "status": 99 } });
        assert!(Faults::default().arm(rule(odd)).is_err());
    }
}
