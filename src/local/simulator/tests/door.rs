use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::local::simulator::{BELVO_LINK, BELVO_PASSWORD, BELVO_SECRET_ID, PLUGGY_ITEM};

#[tokio::test]
async fn both_vendors_answer_at_their_own_paths_and_the_calls_are_logged() {
    let bench = Bench::new();
    bench.log_in().await;
    let item = bench.get(&format!("/items/{PLUGGY_ITEM}?x=1")).await;
    assert_eq!(item.json()["id"], PLUGGY_ITEM);
    let pair = STANDARD.encode(format!("{BELVO_SECRET_ID}:{BELVO_PASSWORD}"));
    let request = Request::get(format!("/api/links/{BELVO_LINK}/"))
        .header("authorization", format!("Basic {pair}"))
        .body(Body::empty())
        .unwrap();
    let response = bench.simulator.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    let log = bench.steer("GET", "/calls", json!({})).await;
    let shown: Vec<_> = log["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            let text = |name: &str| call[name].as_str().unwrap().to_owned();
            (
                text("vendor"),
                text("path"),
                text("query"),
                text("clientId"),
            )
        })
        .collect();
    let entry = |parts: [&str; 4]| {
        let [vendor, path, query, client] = parts.map(str::to_owned);
        (vendor, path, query, client)
    };
    assert_eq!(
        shown,
        [
            entry(["pluggy", "/auth", "", PLUGGY_CLIENT_ID]),
            entry([
                "pluggy",
                &format!("/items/{PLUGGY_ITEM}"),
                "x=1",
                PLUGGY_CLIENT_ID
            ]),
            entry([
                "belvo",
                &format!("/api/links/{BELVO_LINK}/"),
                "",
                BELVO_SECRET_ID
            ]),
        ]
    );
    bench.steer("DELETE", "/calls", json!({})).await;
    let log = bench.steer("GET", "/calls", json!({})).await;
    assert_eq!(log["calls"], json!([]));
}

#[tokio::test]
async fn a_limit_refuses_with_the_headers_that_tell_how_long_to_wait() {
    let bench = Bench::new();
    bench.log_in().await;
    bench
        .steer("PUT", "/limits", json!({ "pluggy": { "accounts": 1 } }))
        .await;
    let target = format!("/accounts?itemId={PLUGGY_ITEM}");
    assert_eq!(bench.get(&target).await.status, StatusCode::OK);
    let refused = bench.get(&target).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["ratelimit-reset"], "60");
    bench
        .steer("POST", "/clock", json!({ "advanceSeconds": 60 }))
        .await;
    assert_eq!(bench.get(&target).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_wrong_with_a_control_is_told() {
    let bench = Bench::new();
    for (method, target, body, status, says) in [
        ("GET", "/tea", json!({}), 404, "CONTRIBUTING.md"),
        ("PATCH", "/clock", json!({}), 404, "CONTRIBUTING.md"),
        (
            "POST",
            "/clock",
            json!({ "hours": 1 }),
            400,
            "advanceSeconds",
        ),
        ("POST", "/clock", json!("x"), 400, "the body is wrong"),
        ("GET", "/calls?since=1", json!({}), 400, "unknown field"),
        (
            "POST",
            "/faults",
            json!({ "vendor": "pluggy" }),
            400,
            "missing field `fault`",
        ),
        (
            "PUT",
            "/limits",
            json!({ "pluggy": { "tea": 1 } }),
            400,
            "pluggy.tea",
        ),
        ("PUT", "/sender", json!({ "speed": 0 }), 400, "at least 1"),
        (
            "POST",
            "/subscriptions",
            json!({ "vendor": "belvo", "url": "here" }),
            400,
            "here is no URL",
        ),
        (
            "DELETE",
            "/subscriptions/9",
            json!({}),
            404,
            "no subscription 9",
        ),
        ("POST", "/plaid/rows", json!({}), 404, "no vendor plaid"),
        ("POST", "/pluggy/rows", json!({}), 400, "rows"),
        (
            "POST",
            "/pluggy/scenarios/rain",
            json!({}),
            400,
            "no scenario rain",
        ),
        ("POST", "/belvo/scenarios/rain", json!({}), 400, "rain"),
    ] {
        let heard = bench
            .call(method, &format!("/_control{target}"), body)
            .await;
        assert_eq!(heard.status.as_u16(), status, "{target}");
        let error = heard.json()["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(error.contains(says), "{target}: {error}");
    }
}

#[tokio::test]
async fn the_state_shows_what_was_steered() {
    let bench = Bench::new();
    bench
        .steer("POST", "/clock", json!({ "advanceSeconds": 90 }))
        .await;
    let fault = json!({ "vendor": "belvo", "fault": { "kind": "hang" } });
    bench.steer("POST", "/faults", fault).await;
    bench.steer("PUT", "/sender", json!({ "hold": true })).await;
    let ran = bench
        .steer("POST", "/pluggy/scenarios/login-error", json!({}))
        .await;
    assert_eq!(ran["notices"][0]["body"]["event"], "item/error");
    let state = bench.steer("GET", "/state", json!({})).await;
    assert_eq!(
        state["clock"],
        json!({ "now": "2026-09-02T12:01:30Z", "offsetSeconds": 90 })
    );
    assert_eq!(state["faults"][0]["rule"]["fault"]["kind"], "hang");
    assert_eq!(state["sender"]["hold"], true);
    assert_eq!(state["pluggy"]["items"][0]["status"], "LOGIN_ERROR");
    assert!(state["belvo"].is_object());
}
