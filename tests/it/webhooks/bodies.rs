//! What a body may tell of the token, which is nothing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::body::Body;
use futures_util::{FutureExt as _, stream};
use matcher_discovery::{
    app::{AppError, IncomingWebhook, WebhookProof},
    domain::{random::OsRandom, webhook_token::WebhookToken},
};

use super::{Endpoint, SECRET, created, expect_taken, gates::expect_refusal, send, sign};
use crate::support::{Answer, TestApp};

const VENDOR: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.1";

/// A server that takes webhooks by a signature or an address, and where they go: by a good token, and
/// by one that nobody minted.
async fn start() -> (TestApp, [String; 2]) {
    let app = TestApp::configured(&[
        ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", SECRET),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", VENDOR),
    ])
    .await;
    let good = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let unknown = WebhookToken::mint(&OsRandom);
    let unknown = format!("/v1/discovery/webhooks/pluggy/{}", unknown.expose());
    (app, [good.path(), unknown])
}

async fn deliver(
    app: &TestApp,
    path: &str,
    from: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Answer {
    let headers = [headers, &[("x-request-id", "the-same")]].concat();
    send(app, path, from, &headers, body).await
}

/// A body that breaks off.
fn broken() -> Body {
    let parts = [Ok("{"), Err(io::Error::other("the line is cut"))];
    Body::from_stream(stream::iter(parts))
}

/// A body that is larger than any may be, and does not say so.
fn endless() -> Body {
    let parts = std::iter::repeat_with(|| Ok::<_, io::Error>(vec![b' '; 64 * 1024]));
    Body::from_stream(stream::iter(parts.take(64)))
}

/// A body that never comes.
fn never() -> Body {
    Body::from_stream(stream::pending::<Result<Vec<u8>, io::Error>>())
}

/// A body that tells whether it was asked for to its end.
fn watched() -> (Body, Arc<AtomicBool>) {
    let read = Arc::new(AtomicBool::default());
    let reading = Arc::clone(&read);
    let parts = std::iter::once_with(move || {
        reading.store(true, Ordering::Relaxed);
        Ok::<_, io::Error>("{}")
    });
    (Body::from_stream(stream::iter(parts)), read)
}

#[tokio::test]
async fn a_stranger_hears_the_same_of_every_token_whatever_the_body() {
    let (app, paths) = start().await;
    let signature = sign(b"another body");
    let signed = ("x-webhook-signature", signature.as_str());
    let large = ("content-length", "2097152");
    for path in &paths {
        for proof in [&[][..], &[signed]] {
            for body in [Body::from("{}"), Body::empty(), broken(), endless()] {
                expect_refusal(deliver(&app, path, STRANGER, proof, body).await);
            }
            let headers = [proof, &[large]].concat();
            let answer = deliver(&app, path, STRANGER, &headers, Body::from("{}")).await;
            expect_refusal(answer);
        }
    }
    super::nothing_was_written(&app).await;
}

#[tokio::test]
async fn nobody_waits_for_a_body_that_could_not_help() {
    let (app, paths) = start().await;
    for path in &paths {
        for headers in [&[][..], &[("x-webhook-signature", "00")]] {
            expect_refusal(deliver(&app, path, STRANGER, headers, never()).await);
        }
    }
}

#[tokio::test]
async fn a_signature_is_judged_by_its_body_and_the_body_is_waited_for_without_a_token_too() {
    let (app, paths) = start().await;
    let signature = sign(b"another body");
    let signed = [("x-webhook-signature", signature.as_str())];
    for path in &paths {
        let (body, read) = watched();
        expect_refusal(deliver(&app, path, STRANGER, &signed, body).await);
        assert!(read.load(Ordering::Relaxed), "{path}");
        let (body, read) = watched();
        expect_refusal(deliver(&app, path, STRANGER, &[], body).await);
        assert!(!read.load(Ordering::Relaxed), "{path}");
    }
}

#[tokio::test]
async fn the_vendor_hears_what_is_wrong_with_its_body() {
    let (app, [good, unknown]) = start().await;
    let large = [("content-length", "2097152")];
    let answer = deliver(&app, &good, VENDOR, &large, Body::from("{}")).await;
    answer.expect_problem(413, "MTCH-0010");
    let answer = deliver(&app, &good, VENDOR, &[], endless()).await;
    answer.expect_problem(413, "MTCH-0010");
    let answer = deliver(&app, &good, VENDOR, &[], broken()).await;
    answer.expect_problem(400, "MTCH-0001");
    expect_refusal(deliver(&app, &unknown, VENDOR, &large, Body::from("{}")).await);
    super::nothing_was_written(&app).await;
    let body = created("event-1").to_string();
    expect_taken(&deliver(&app, &good, VENDOR, &[], Body::from(body)).await);
}

/// What is made of a webhook that may be signed, before its body comes.
async fn begun(app: &TestApp, token: &str) -> IncomingWebhook {
    let signature = sign(b"another body");
    let headers = |name: &str| match name {
        "x-webhook-signature" => vec![signature.as_bytes()],
        _ => Vec::new(),
    };
    let proof = WebhookProof {
        peer: STRANGER.parse().unwrap(),
        headers: &headers,
    };
    let webhook = app.app().recognise_webhook("pluggy", token, &proof);
    webhook.await.unwrap()
}

#[tokio::test]
async fn the_vendor_may_take_longer_for_a_body_than_whoever_may_be_a_stranger() {
    let (app, [good, _]) = start().await;
    let signature = sign(b"another body");
    let signed = [("x-webhook-signature", signature.as_str())];
    // The vendor's body is waited for first, and would be given up first if both had as long.
    let (waiting, waited_for) = tokio::sync::oneshot::channel();
    let first = stream::once(async {
        waiting.send(()).unwrap();
        std::future::pending::<Result<Vec<u8>, io::Error>>().await
    });
    let stranger = async {
        waited_for.await.unwrap();
        deliver(&app, &good, STRANGER, &signed, never()).await
    };
    let answer = tokio::select! {
        biased;
        answer = deliver(&app, &good, VENDOR, &[], Body::from_stream(first)) => {
            panic!("{answer:?}")
        }
        answer = stranger => answer,
    };
    expect_refusal(answer);
}

#[tokio::test]
async fn strangers_that_never_end_are_not_in_the_way_of_a_large_webhook() {
    let part = vec![b' '; 20_000];
    let (app, [good, unknown]) = start().await;
    let mut kept = Vec::new();
    for path in [&good, &unknown].into_iter().cycle().take(200) {
        let mut webhook = begun(&app, path.rsplit('/').next().unwrap()).await;
        let adding = app.app().add_to_webhook(&mut webhook, &part);
        adding.await.unwrap();
        kept.push(webhook);
    }
    let mut event = created("event-1");
    event["padding"] = "x".repeat(500_000).into();
    let event = event.to_string();
    let signature = sign(event.as_bytes());
    let signed = [("x-webhook-signature", signature.as_str())];
    let answer = deliver(&app, &good, STRANGER, &signed, Body::from(event)).await;
    expect_taken(&answer);
}

#[tokio::test]
async fn only_so_much_is_kept_of_whoever_may_be_a_stranger() {
    const IN_ALL: usize = 64 * 1024 * 1024;
    const PART: usize = 4 * 1024 * 1024;
    let (app, [good, _]) = start().await;
    let token = good.rsplit('/').next().unwrap();
    let large = vec![b' '; PART];
    let mut kept = Vec::new();
    for _ in 0..IN_ALL / PART {
        let mut webhook = begun(&app, token).await;
        // It is let in by halves, and each counts.
        for half in large.chunks(PART / 2) {
            let adding = app.app().add_to_webhook(&mut webhook, half);
            adding.await.unwrap();
        }
        kept.push(webhook);
    }
    // However small: nothing more is kept, of whomever, and nobody waits for ever.
    let mut small = begun(&app, token).await;
    let error = app.app().add_to_webhook(&mut small, b" ").await;
    let error = error.unwrap_err();
    assert!(matches!(error, AppError::WebhookNotTaken(_)), "{error:?}");
    // Until one of them is gone, and then just as much as that.
    kept.pop();
    let mut other = begun(&app, token).await;
    app.app().add_to_webhook(&mut other, &large).await.unwrap();
    tokio::task::yield_now().await;
    let mut small = begun(&app, token).await;
    let adding = app.app().add_to_webhook(&mut small, b" ");
    assert!(adding.now_or_never().is_none());
}

#[tokio::test]
async fn what_is_logged_of_a_webhook_holds_nothing_of_its_body() {
    let (app, [good, _]) = start().await;
    let mut webhook = begun(&app, good.rsplit('/').next().unwrap()).await;
    let adding = app.app().add_to_webhook(&mut webhook, b"Padaria");
    adding.await.unwrap();
    let shown = format!("{webhook:?}");
    assert!(shown.contains("vendor: Pluggy"), "{shown}");
    let bytes = format!("{:?}", b"Padaria");
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(
        !shown.contains(bytes) && !shown.contains("Padaria"),
        "{shown}"
    );
}
