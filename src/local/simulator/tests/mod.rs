//! The simulator from outside: through its door, and through a socket where one is needed.

mod door;
mod faults;
mod sender;

use std::sync::{Arc, Mutex};

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use chrono::{DateTime, TimeZone as _, Utc};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Options, PLUGGY_CLIENT_ID, PLUGGY_SECRET, Simulator};
use crate::domain::clock::Clock;

/// A clock that only stands.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 9, 2, 12, 0, 0).unwrap()
    }
}

/// A demo that is called without a socket.
struct Bench {
    simulator: Simulator,
    key: Mutex<Option<String>>,
}

struct Heard {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Vec<u8>, axum::Error>,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().unwrap()).unwrap_or_default()
    }
}

impl Bench {
    fn new() -> Self {
        let options = Options {
            seed: 1,
            clock: Arc::new(Noon),
            demo: true,
        };
        Self {
            simulator: Simulator::new(options).unwrap(),
            key: Mutex::new(None),
        }
    }

    async fn call(&self, method: &str, target: &str, body: Value) -> Heard {
        let key = self.key.lock().unwrap().clone().unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("content-type", "application/json")
            .header("x-api-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.simulator.router().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await;
        Heard {
            status: head.status,
            headers: head.headers,
            body: body.map(|whole| whole.to_bytes().to_vec()),
        }
    }

    async fn get(&self, target: &str) -> Heard {
        self.call("GET", target, json!({})).await
    }

    /// Steers it, which must succeed.
    async fn steer(&self, method: &str, target: &str, body: Value) -> Value {
        let heard = self.call(method, &format!("/_control{target}"), body).await;
        assert!(heard.status.is_success(), "{target}: {}", heard.json());
        heard.json()
    }

    async fn log_in(&self) {
        let pair = json!({ "clientId": PLUGGY_CLIENT_ID, "clientSecret": PLUGGY_SECRET });
        let heard = self.call("POST", "/auth", pair).await;
        let key = heard.json()["apiKey"].as_str().unwrap().to_owned();
        *self.key.lock().unwrap() = Some(key);
    }
}
