use std::time::Duration;

use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::{
    local::simulator::PLUGGY_ITEM,
    net::{Call, Client, NetConfig, NetError, Request as NetRequest},
    shutdown::Shutdown,
};

/// Long enough never to pass in a test that works.
const LONG: Duration = Duration::from_mins(1);

fn target() -> String {
    format!("/accounts?itemId={PLUGGY_ITEM}")
}

impl Bench {
    async fn struck(&self, fault: Value) -> Heard {
        let rule = json!({ "vendor": "pluggy", "path": "/accounts", "times": 1, "fault": fault });
        self.steer("POST", "/faults", rule).await;
        self.get(&target()).await
    }
}

#[tokio::test]
async fn an_answer_can_be_replaced() {
    let bench = Bench::new();
    bench.log_in().await;
    let heard = bench
        .struck(json!({
            "kind": "answer", "status": 418, "body": { "tea": true }, "headers": { "x-pot": "1" },
        }))
        .await;
    assert_eq!(heard.status.as_u16(), 418);
    assert_eq!(
        (&heard.headers["x-pot"], heard.json()),
        (&"1".parse().unwrap(), json!({ "tea": true }))
    );

    for (fault, status, starts) in [
        (json!({ "kind": "forbidden" }), 403, "<html>"),
        (json!({ "kind": "too-many", "reset": 7 }), 429, "{"),
        (json!({ "kind": "unavailable", "status": 502 }), 502, "{"),
        (json!({ "kind": "unavailable" }), 503, "{"),
        (json!({ "kind": "html" }), 200, "<!doctype html>"),
        (json!({ "kind": "error-inside" }), 200, "{\"error\""),
        (
            json!({ "kind": "answer", "status": 200, "body": "plain" }),
            200,
            "plain",
        ),
    ] {
        let heard = bench.struck(fault.clone()).await;
        assert_eq!(heard.status.as_u16(), status, "{fault}");
        assert!(
            heard.body.unwrap().starts_with(starts.as_bytes()),
            "{fault}"
        );
    }
    let heard = bench
        .struck(json!({ "kind": "redirect", "location": "http://127.0.0.1:1/" }))
        .await;
    assert_eq!(heard.status, StatusCode::FOUND);
    assert_eq!(heard.headers["location"], "http://127.0.0.1:1/");
    // Once was all that the script said.
    assert_eq!(bench.get(&target()).await.json()["total"], 2);
}

#[tokio::test]
async fn an_answer_can_be_spoilt_on_its_way() {
    let bench = Bench::new();
    bench.log_in().await;
    let whole = bench.get(&target()).await.body.unwrap();

    let cut = bench.struck(json!({ "kind": "cut" })).await;
    assert_eq!(cut.body.unwrap(), whole[..whole.len() / 2]);
    let truncated = bench.struck(json!({ "kind": "truncate" })).await;
    assert_eq!(truncated.headers["content-length"], whole.len().to_string());
    assert!(truncated.body.is_err());
    let latin = bench.struck(json!({ "kind": "charset" })).await;
    assert!(std::str::from_utf8(&latin.body.unwrap()).is_err());
    let dripped = bench
        .struck(json!({ "kind": "drip", "bytes": 100, "millis": 0 }))
        .await;
    assert_eq!(dripped.body.unwrap(), whole);
    let late = bench.struck(json!({ "kind": "delay", "millis": 0 })).await;
    assert_eq!(late.body.unwrap(), whole);
    let huge = bench
        .struck(json!({ "kind": "oversize", "megabytes": 2 }))
        .await;
    let huge = huge.body.unwrap();
    assert!(huge.len() >= 2 * 1024 * 1024 && huge.starts_with(b"{\"results\":["));
    assert!(bench.struck(json!({ "kind": "reset" })).await.body.is_err());
}

fn client() -> Client {
    Client::new(NetConfig {
        connect_timeout: LONG,
        total_timeout: LONG,
        body_cap: 1024 * 1024,
        exemptions: vec!["127.0.0.0/8".parse().unwrap()],
        proxy: None,
    })
    .unwrap()
}

fn asked(origin: &str) -> NetRequest {
    let call = Call {
        peer: "simulator",
        name: "accounts",
    };
    NetRequest::get(call, Url::parse(&format!("{origin}/accounts")).unwrap())
}

#[tokio::test]
async fn a_connection_breaks_where_the_script_says_and_silence_does_not_outlive_the_end() {
    let bench = Bench::new();
    for fault in ["reset", "truncate", "hang"] {
        let rule = json!({ "vendor": "pluggy", "times": 1, "fault": { "kind": fault } });
        bench.steer("POST", "/faults", rule).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    let (simulator, inner) = (bench.simulator.clone(), shutdown.clone());
    shutdown.spawn("simulator", async move {
        simulator.serve(listener, &inner).await;
    });

    let client = client();
    for _ in 0..2 {
        let broken = client.send(asked(&origin)).await;
        assert!(
            matches!(broken, Err(NetError::Interrupted(_))),
            "{broken:?}"
        );
    }
    let silence = client.send(asked(&origin));
    let ended = async {
        while bench.steer("GET", "/calls", json!({})).await["calls"]
            .as_array()
            .unwrap()
            .len()
            < 3
        {
            tokio::task::yield_now().await;
        }
        shutdown.drain(LONG).await
    };
    let (silence, ended) = tokio::join!(silence, ended);
    assert!(
        matches!(silence, Err(NetError::Interrupted(_))),
        "{silence:?}"
    );
    assert_eq!(ended, Ok(()));
}

#[tokio::test]
async fn a_call_that_is_held_is_answered_when_the_faults_are_lifted() {
    let bench = Bench::new();
    bench.log_in().await;
    let lifting = async {
        let held = |call: &Value| call["path"] == "/accounts" && call["status"].is_null();
        let mut calls = json!([]);
        while !calls.as_array().unwrap().iter().any(held) {
            calls = bench.get("/_control/calls").await.json()["calls"].clone();
            tokio::task::yield_now().await;
        }
        bench.steer("DELETE", "/faults", json!({})).await;
    };
    let (heard, ()) = tokio::join!(bench.struck(json!({ "kind": "hold" })), lifting);
    assert_eq!(heard.json()["total"], 2);
}

#[tokio::test]
async fn every_row_can_be_seen_whoever_may_read_it() {
    let bench = Bench::new();
    for (vendor, gone) in [("pluggy", "consent-revoked"), ("belvo", "link-invalid")] {
        let rows = format!("/{vendor}/rows");
        let before = bench.steer("GET", &rows, json!({})).await;
        assert!(before["rows"].as_array().unwrap().len() > 300, "{vendor}");
        let scenario = format!("/{vendor}/scenarios/{gone}");
        bench.steer("POST", &scenario, json!({})).await;
        assert_eq!(bench.steer("GET", &rows, json!({})).await, before);
    }
}
