//! Who gets in.

use axum::http::HeaderName;
use chrono::TimeDelta;
use matcher_discovery::domain::{random::OsRandom, webhook_token::WebhookToken};
use serde_json::{Value, json};

use super::{
    Endpoint, TOKENS, count, created, expect_taken, nothing_was_written, send, sign, start,
};
use crate::support::{Answer, TestApp};

/// Refused, whatever for.
async fn expect_refused(app: &TestApp, path: &str, from: &str, headers: &[(&str, &str)]) {
    let body = created("event-1").to_string();
    let headers = [headers, &[("x-request-id", "the-same")]].concat();
    let answer = send(app, path, from, &headers, body).await;
    expect_refusal(answer);
}

/// A refusal that tells nothing; the request's id has to be `the-same`.
#[track_caller]
pub(super) fn expect_refusal(answer: Answer) {
    answer.expect_problem(401, "MTCH-0212");
    // Nobody can tell from the answer which gate was closed.
    assert_eq!(
        String::from_utf8(answer.body).unwrap(),
        concat!(
            r#"{"type":"http://discovery.test/errors/MTCH-0212","title":"Webhook not accepted","#,
            r#""status":401,"detail":"The webhook's token, signature or source was not accepted.","#,
            r#""instance":"urn:request:the-same","code":"MTCH-0212"}"#
        )
    );
    // The length follows from the body.
    let mut names: Vec<&str> = answer
        .headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| *name != "content-length")
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "content-type",
            "x-content-type-options",
            "x-request-id"
        ]
    );
}

#[tokio::test]
async fn where_no_proof_is_configured_nothing_passes() {
    let app = TestApp::start().await;
    for vendor in ["pluggy", "belvo"] {
        let endpoint = Endpoint::create(&app, &app.client(), vendor, vendor).await;
        let signature = sign(created("event-1").to_string().as_bytes());
        let headers = [("x-webhook-signature", signature.as_str())];
        for from in ["127.0.0.1", "203.0.113.7", "::1"] {
            expect_refused(&app, &endpoint.path(), from, &headers).await;
        }
    }
    nothing_was_written(&app).await;
}

#[tokio::test]
async fn a_signature_opens_the_gate_for_just_its_body_and_vendor() {
    let app = TestApp::configured(&[("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", super::SECRET)]).await;
    let pluggy = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let belvo = Endpoint::create(&app, &app.client(), "belvo", "two").await;
    let body = created("event-1").to_string();
    let good = sign(body.as_bytes());
    let other = sign(b"another body");
    for bad in [
        "",
        "00",
        &other,
        &good[..62],
        &format!("{good}00"),
        &format!("sha256={good}"),
        &format!(" {good}x"),
    ] {
        let headers = [("x-webhook-signature", bad)];
        expect_refused(&app, &pluggy.path(), "203.0.113.7", &headers).await;
    }
    expect_refused(&app, &pluggy.path(), "203.0.113.7", &[]).await;
    let twice = [
        ("x-webhook-signature", good.as_str()),
        ("x-webhook-signature", other.as_str()),
    ];
    expect_refused(&app, &pluggy.path(), "203.0.113.7", &twice).await;
    // Belvo was given no secret, so Pluggy's is worth nothing there.
    let headers = [("x-webhook-signature", good.as_str())];
    expect_refused(&app, &belvo.path(), "203.0.113.7", &headers).await;
    nothing_was_written(&app).await;

    let upper = good.to_uppercase();
    for signature in [good, upper] {
        let headers = [("X-Webhook-Signature", signature.as_str())];
        let answer = send(&app, &pluggy.path(), "203.0.113.7", &headers, body.clone()).await;
        expect_taken(&answer);
    }
    assert_eq!(count(&app, "deliveries").await, 1);
}

#[tokio::test]
async fn the_configured_header_opens_the_gate() {
    let app = TestApp::configured(&[(
        "DISCOVERY_BELVO_WEBHOOK_HEADER",
        "Authorization: Basic dTpw",
    )])
    .await;
    let belvo = Endpoint::create(&app, &app.client(), "belvo", "one").await;
    for bad in ["", "Basic", "basic dTpw", "Basic dTpwx", "Bearer dTpw"] {
        let headers = [("authorization", bad)];
        expect_refused(&app, &belvo.path(), "203.0.113.7", &headers).await;
    }
    let twice = [("authorization", "Basic dTpw"), ("authorization", "x")];
    expect_refused(&app, &belvo.path(), "203.0.113.7", &twice).await;
    nothing_was_written(&app).await;
    let headers = [("authorization", "Basic dTpw")];
    expect_taken(&send(&app, &belvo.path(), "203.0.113.7", &headers, "{}").await);
}

#[tokio::test]
async fn a_listed_address_opens_the_gate_directly_or_through_a_trusted_proxy() {
    let app = TestApp::configured(&[
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "203.0.113.7, 2001:db8::/32"),
        ("DISCOVERY_TRUSTED_PROXIES", "10.0.0.0/8"),
    ])
    .await;
    let pluggy = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let forwarded = |list| [("x-forwarded-for", list)];
    for (from, list) in [
        ("203.0.113.8", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.8"),
        // The client may claim what it likes; the proxy's own word comes last.
        ("10.0.0.1", "203.0.113.7, 203.0.113.8"),
        ("10.0.0.1", "203.0.113.7, nonsense"),
        ("10.0.0.1", ""),
        ("127.0.0.1", "203.0.113.7"),
    ] {
        expect_refused(&app, &pluggy.path(), from, &forwarded(list)).await;
    }
    nothing_was_written(&app).await;
    for (from, list) in [
        ("203.0.113.7", "198.51.100.1"),
        ("::ffff:203.0.113.7", ""),
        ("2001:db8::7", ""),
        ("10.0.0.1", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.2"),
    ] {
        let answer = send(&app, &pluggy.path(), from, &forwarded(list), "{}").await;
        expect_taken(&answer);
    }
}

#[tokio::test]
async fn only_a_living_token_of_the_vendor_named_in_the_path_is_good() {
    let app = start().await;
    let client = app.client();
    let pluggy = Endpoint::create(&app, &client, "pluggy", "one").await;
    let signature = sign(created("event-1").to_string().as_bytes());
    let signed = [("x-webhook-signature", signature.as_str())];
    let unknown = WebhookToken::mint(&OsRandom);
    let token = &pluggy.token;
    for (vendor, token) in [
        ("belvo", token.as_str()),
        ("Pluggy", token),
        ("nobody", token),
        ("pluggy", unknown.expose()),
        ("pluggy", "whk_"),
        ("pluggy", "%ff"),
        ("%ff", token),
        ("pluggy", &token[..52]),
        ("pluggy", &token.to_lowercase()),
    ] {
        let path = format!("/v1/discovery/webhooks/{vendor}/{token}");
        expect_refused(&app, &path, "203.0.113.7", &signed).await;
    }
    nothing_was_written(&app).await;
    expect_taken(&pluggy.deliver(&app, &created("event-1")).await);
    // Nor is it good for another vendor once it is in use.
    app.refresh_webhook_bindings().await;
    let path = format!("/v1/discovery/webhooks/belvo/{token}");
    expect_refused(&app, &path, "203.0.113.7", &signed).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_here_is_refused_at_once() {
    let app = start().await;
    let client = app.client();
    let endpoint = Endpoint::create(&app, &client, "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    app.refresh_webhook_bindings().await;
    client.delete(&endpoint.record).await.expect(204);
    expect_gone(&app, &endpoint).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_elsewhere_is_refused_after_the_next_look() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    app.refresh_webhook_bindings().await;
    app.execute("UPDATE webhook_tokens SET revoked_at = now()")
        .await;
    // Within the second either answer is right. It is in use by this, so the next look is at it as well;
    // what the first one finds may have been asked for in the background, just before it was revoked.
    for event in ["event-2", "event-3"] {
        endpoint.deliver(&app, &created(event)).await;
        app.refresh_webhook_bindings().await;
    }
    expect_gone(&app, &endpoint).await;
}

#[tokio::test]
async fn a_deleted_connection_takes_its_tokens_along() {
    let app = start().await;
    let client = app.client();
    let endpoint = Endpoint::create(&app, &client, "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    app.refresh_webhook_bindings().await;
    client.delete(&endpoint.connection).await.expect(204);
    expect_gone(&app, &endpoint).await;
    // Even if its tokens had been forgotten.
    app.execute("UPDATE webhook_tokens SET revoked_at = NULL")
        .await;
    app.refresh_webhook_bindings().await;
    expect_gone(&app, &endpoint).await;
}

#[tokio::test]
async fn a_rotated_token_is_good_until_its_grace_is_over() {
    let app = start().await;
    let client = app.client();
    let old = Endpoint::create(&app, &client, "pluggy", "one").await;
    expect_taken(&old.deliver(&app, &created("event-1")).await);
    app.refresh_webhook_bindings().await;
    let rotate = format!("{}/rotate", old.record);
    let minted = client.post(&rotate, &json!({"graceSeconds": 60})).await;
    let token = minted.expect(201)["token"].as_str().unwrap().to_owned();
    let new = Endpoint {
        token,
        ..old_like(&old)
    };
    app.clock.advance(TimeDelta::seconds(59));
    expect_taken(&old.deliver(&app, &created("event-2")).await);
    expect_taken(&new.deliver(&app, &created("event-3")).await);
    app.clock.advance(TimeDelta::seconds(1));
    expect_gone(&app, &old).await;
    expect_taken(&new.deliver(&app, &created("event-4")).await);
    assert_eq!(count(&app, "deliveries").await, 4);
}

fn old_like(endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        vendor: endpoint.vendor,
        connection: endpoint.connection.clone(),
        token: endpoint.token.clone(),
        record: endpoint.record.clone(),
    }
}

/// What was good is refused, and writes nothing.
async fn expect_gone(app: &TestApp, endpoint: &Endpoint) {
    let before = count(app, "deliveries").await;
    let signature = sign(created("event-1").to_string().as_bytes());
    let headers = [("x-webhook-signature", signature.as_str())];
    expect_refused(app, &endpoint.path(), "203.0.113.7", &headers).await;
    assert_eq!(count(app, "deliveries").await, before);
}

#[tokio::test]
async fn it_is_noted_to_the_minute_when_a_token_was_last_used() {
    let app = start().await;
    let client = app.client();
    let endpoint = Endpoint::create(&app, &client, "pluggy", "one").await;
    let last_used = async || {
        app.refresh_webhook_bindings().await;
        let page = client.get(TOKENS).await.expect(200);
        page["items"][0]["lastUsedAt"].clone()
    };
    expect_refused(&app, &endpoint.path(), "203.0.113.7", &[]).await;
    assert_eq!(last_used().await, Value::Null, "refused is not used");
    for (seconds, told) in [
        (0, "2026-03-01T12:00:00Z"),
        (59, "2026-03-01T12:00:00Z"),
        (1, "2026-03-01T12:01:00Z"),
    ] {
        app.clock.advance(TimeDelta::seconds(seconds));
        let event = created(&format!("event-{seconds}"));
        expect_taken(&endpoint.deliver(&app, &event).await);
        assert_eq!(last_used().await, told);
    }
}

#[tokio::test]
async fn neither_answers_nor_metrics_show_the_token() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    expect_refused(&app, &endpoint.path(), "203.0.113.7", &[]).await;
    expect_taken(&endpoint.deliver(&app, &json!({"event": "new"})).await);
    let mut elsewhere = created("event-2");
    elsewhere["itemId"] = json!("another");
    expect_taken(&endpoint.deliver(&app, &elsewhere).await);
    let metrics = app.anonymous().get("/metrics").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(!metrics.contains(&endpoint.token) && !metrics.contains(&app.tenant.to_string()));
    for told in [
        r#"webhooks_total{vendor="pluggy",outcome="accepted"}"#,
        r#"webhooks_total{vendor="pluggy",outcome="duplicate"}"#,
        r#"webhooks_total{vendor="pluggy",outcome="ignored"}"#,
        r#"webhooks_total{vendor="pluggy",outcome="unmatched"}"#,
        r#"webhooks_total{vendor="pluggy",outcome="refused"}"#,
        r#"webhook_batch_size_bucket{le="1"}"#,
        r#"operation="/v1/discovery/webhooks/{provider}/{webhookToken}",method="POST",status="202""#,
    ] {
        assert!(metrics.contains(told), "{told}\n{metrics}");
    }
}
