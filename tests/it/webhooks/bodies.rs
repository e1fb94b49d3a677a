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
    app::{IncomingWebhook, WebhookProof},
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
            let never = Body::from_stream(stream::pending::<Result<Vec<u8>, io::Error>>());
            expect_refusal(deliver(&app, path, STRANGER, headers, never).await);
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
async fn only_so_many_large_bodies_are_kept_of_whoever_may_be_a_stranger() {
    let (app, paths) = start().await;
    for path in &paths {
        let token = path.rsplit('/').next().unwrap();
        let large = vec![b' '; 100_000];
        let mut kept = Vec::new();
        loop {
            // A task that goes on for long is made to wait where there is nothing to wait for.
            tokio::task::yield_now().await;
            let mut webhook = begun(&app, token).await;
            let adding = app.app().add_to_webhook(&mut webhook, &large);
            let Some(added) = adding.now_or_never() else {
                break;
            };
            added.unwrap();
            kept.push(webhook);
        }
        assert_eq!(kept.len(), 64);
        tokio::task::yield_now().await;
        // Nobody is in the way of what the vendors send.
        let mut small = begun(&app, token).await;
        let adding = app.app().add_to_webhook(&mut small, &[b' '; 10_000]);
        adding.now_or_never().unwrap().unwrap();
        let more = app.app().add_to_webhook(&mut small, &[b' '; 10_000]);
        assert!(more.now_or_never().is_none());
        kept.pop();
        let more = app.app().add_to_webhook(&mut small, &[b' '; 10_000]);
        more.now_or_never().unwrap().unwrap();
    }
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
