//! What was asked of the vendors, for a test to look at.

use std::{collections::VecDeque, sync::Mutex};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::lock;
use crate::domain::vendor::Vendor;

/// The oldest calls are forgotten beyond this many.
const KEPT: usize = 10_000;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) at: DateTime<Utc>,
    pub(super) vendor: Vendor,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// By whose credentials, if they were known.
    pub(super) client: Option<String>,
}

#[derive(Debug)]
struct Logged {
    seq: u64,
    call: Call,
    /// None while it is not answered, which may be for ever.
    status: Option<u16>,
}

#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    next: u64,
    calls: VecDeque<Logged>,
}

impl Calls {
    /// Notes a call when it arrives, and gives it the number by which it is answered later.
    pub(super) fn arrived(&self, call: Call) -> u64 {
        let mut log = lock(&self.0);
        let seq = log.next;
        log.next += 1;
        if log.calls.len() == KEPT {
            log.calls.pop_front();
        }
        log.calls.push_back(Logged {
            seq,
            call,
            status: None,
        });
        seq
    }

    pub(super) fn answered(&self, seq: u64, status: u16) {
        let mut log = lock(&self.0);
        // Numbers only grow along the queue.
        if let Ok(at) = log.calls.binary_search_by_key(&seq, |logged| logged.seq) {
            log.calls[at].status = Some(status);
        }
    }

    /// The calls that came after number `after`, in their order.
    pub(super) fn list(&self, after: Option<u64>) -> Vec<Value> {
        lock(&self.0)
            .calls
            .iter()
            .filter(|logged| after.is_none_or(|after| logged.seq > after))
            .map(|Logged { seq, call, status }| {
                json!({
                    "seq": seq, "at": call.at, "vendor": call.vendor, "method": call.method,
                    "path": call.path, "query": call.query, "clientId": call.client,
                    "status": status,
                })
            })
            .collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.0).calls.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str) -> Call {
        Call {
            at: DateTime::default(),
            vendor: Vendor::Pluggy,
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            client: None,
        }
    }

    #[test]
    fn a_call_is_listed_from_its_arrival_and_shows_its_answer() {
        let calls = Calls::default();
        let first = calls.arrived(call("/a"));
        calls.arrived(call("/b"));
        calls.answered(first, 404);
        let listed = calls.list(None);
        assert_eq!(listed[0]["status"], 404);
        assert_eq!(listed[1]["status"], Value::Null);
        let rest = calls.list(Some(first));
        assert_eq!((rest.len(), &rest[0]["path"]), (1, &json!("/b")));
        calls.clear();
        assert_eq!(calls.list(None), [Value::Null; 0]);
        calls.answered(first, 200);
    }

    #[test]
    fn the_oldest_calls_are_forgotten() {
        let calls = Calls::default();
        for _ in 0..=KEPT {
            calls.arrived(call("/"));
        }
        let listed = calls.list(None);
        assert_eq!((listed.len(), &listed[0]["seq"]), (KEPT, &json!(1)));
    }
}
