//! The world as a client meets it, and as whoever steers it does.

mod adding;
mod api;
mod paging;
mod scenarios;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::super::chance::Chance;
use super::super::exchange::{Answer, Ask};
use super::super::notice::Notice;
use super::{DENIED_PASSWORD, DENIED_SECRET_ID, LINK, PASSWORD, SECRET_ID, World};

struct Bench {
    world: World,
    now: DateTime<Utc>,
}

impl Bench {
    fn new() -> Self {
        let now = "2026-04-20T15:00:00.123456Z".parse().unwrap();
        let mut world = World::new(Chance::new(1));
        world.seed_demo(now);
        Self { world, now }
    }

    fn send(&mut self, method: &str, target: &str, authorization: &str, body: &[u8]) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = vec![("authorization".to_owned(), authorization.to_owned())];
        if target.ends_with("async") {
            headers.push(("x-belvo-request-mode".to_owned(), "async".to_owned()));
        }
        let ask = Ask {
            method,
            path,
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers,
            body,
            host: "127.0.0.1:4019",
        };
        self.world.answer(&ask, self.now)
    }

    fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> (u16, Value, Vec<Notice>) {
        let answer = self.send(method, target, &basic(SECRET_ID, PASSWORD), body);
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, body, answer.notices)
    }

    fn get(&mut self, target: &str) -> (u16, Value) {
        let (status, body, _) = self.ask("GET", target, b"");
        (status, body)
    }

    /// All transactions of a link that a filter admits, which must fit one page.
    fn rows(&mut self, link: &str, filter: &str) -> Vec<Value> {
        let target = format!("/api/transactions/?link={link}&page_size=1000{filter}");
        let (status, body) = self.get(&target);
        assert_eq!((status, &body["next"]), (200, &Value::Null), "{body}");
        body["results"].as_array().unwrap().clone()
    }

    fn row(&mut self, id: &Value) -> Value {
        let (status, row) = self.get(&format!("/api/transactions/{}/", id.as_str().unwrap()));
        assert_eq!(status, 200, "{row}");
        row
    }

    fn play(&mut self, name: &str, params: &Value) -> Vec<Notice> {
        self.now += TimeDelta::hours(1);
        self.world.scenario(name, params, self.now).unwrap()
    }

    /// Plays a scenario that tells one thing, and gives its body.
    fn told(&mut self, name: &str, params: &Value) -> Value {
        let mut notices = self.play(name, params);
        assert_eq!(notices.len(), 1, "{notices:?}");
        notices.remove(0).body
    }

    fn slip(&mut self, name: &str, params: &Value) -> String {
        self.world.scenario(name, params, self.now).unwrap_err()
    }

    fn accounts(&mut self, link: &str) -> Vec<Value> {
        let (_, body) = self.get(&format!("/api/accounts/?link={link}"));
        body["results"].as_array().unwrap().clone()
    }
}

fn basic(id: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{password}")))
}

/// The first fault of a refusal, after a look at what all refusals have.
fn fault(body: &Value) -> &Value {
    let fault = &body[0];
    let request_id = fault["request_id"].as_str().unwrap();
    assert_eq!(request_id.len(), 32, "{request_id}");
    assert!(request_id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(fault["message"].is_string());
    fault
}

fn what(notice: &Value) -> String {
    let part = |name| notice[name].as_str().unwrap_or("?").to_owned();
    format!("{} {}", part("webhook_type"), part("webhook_code"))
}

/// The cents of a JSON amount.
fn cents(value: &Value) -> i64 {
    super::shape::cents(value).unwrap()
}

fn none() -> Value {
    json!({})
}
