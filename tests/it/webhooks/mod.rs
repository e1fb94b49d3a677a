//! Webhooks in: the gates, the inbox behind them, and what happens when the inbox can't be written.

mod batches;
mod bodies;
mod crowds;
mod gates;
mod inbox;
mod strangers;
mod trouble;
mod verdicts;

use std::net::{IpAddr, SocketAddr};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, header},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    api::aggregator_connections,
    support::{Answer, Client, TestApp, hex},
};

const TOKENS: &str = "/v1/discovery/webhooks/tokens";
/// What the connections of these tests read.
const ITEM: &str = "a1b2c3d4-5678-90ab-cdef-1234567890ab";
const SECRET: &str = "the secret that the vendor signs with";

/// A server that takes signed webhooks of both vendors.
async fn start() -> TestApp {
    TestApp::configured(&[
        ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", SECRET),
        ("DISCOVERY_BELVO_WEBHOOK_HMAC_SECRET", SECRET),
    ])
    .await
}

/// Where a vendor sends the webhooks of one connection.
struct Endpoint {
    vendor: &'static str,
    /// The path of the connection.
    connection: String,
    token: String,
    /// The path of the token's record.
    record: String,
}

impl Endpoint {
    async fn create(app: &TestApp, client: &Client, vendor: &'static str, name: &str) -> Self {
        let mut body = aggregator_connections::body(name);
        body["vendor"] = json!(vendor);
        if vendor == "belvo" {
            body["baseUrl"] = json!("https://api.belvo.com");
        }
        let created = client.post(aggregator_connections::PATH, &body).await;
        created.expect(201);
        // The pull that a new connection asks for itself is tried elsewhere.
        app.execute("DELETE FROM pulls WHERE reason = 'initial'")
            .await;
        let mint = json!({"vendor": vendor, "connection_config_name": name});
        let minted = client.post(TOKENS, &mint).await;
        Self {
            vendor,
            connection: created.header("location").to_owned(),
            token: minted.expect(201)["token"].as_str().unwrap().to_owned(),
            record: minted.header("location").to_owned(),
        }
    }

    fn path(&self) -> String {
        format!("/v1/discovery/webhooks/{}/{}", self.vendor, self.token)
    }

    /// Sends an event as the vendor would.
    async fn deliver(&self, app: &TestApp, event: &Value) -> Answer {
        self.deliver_bytes(app, event.to_string().into_bytes())
            .await
    }

    async fn deliver_bytes(&self, app: &TestApp, body: Vec<u8>) -> Answer {
        let signature = sign(&body);
        let headers = [("x-webhook-signature", signature.as_str())];
        send(app, &self.path(), "203.0.113.7", &headers, body).await
    }
}

fn sign(body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    hex(&mac.chain_update(body).finalize().into_bytes())
}

/// Sends a webhook from an address.
async fn send(
    app: &TestApp,
    path: &str,
    from: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let peer: IpAddr = from.parse().unwrap();
    let mut request = app
        .anonymous()
        .request(Method::POST, path)
        .header(header::CONTENT_TYPE, "application/json")
        .extension(ConnectInfo(SocketAddr::new(peer, 40_000)));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.anonymous()
        .send(request.body(body.into()).unwrap())
        .await
}

/// An event of Pluggy that asks for a pull.
fn created(event: &str) -> Value {
    json!({
        "event": "transactions/created", "eventId": event, "itemId": ITEM,
        "accountId": "acc-1", "transactionsCreatedAtFrom": "2026-03-01T11:59:00Z",
    })
}

/// Expects that a webhook was taken: 202 and nothing else.
#[track_caller]
fn expect_taken(answer: &Answer) {
    assert_eq!(answer.expect(202), Value::Null);
}

async fn count(app: &TestApp, query: &str) -> i64 {
    app.column(&format!("SELECT count(*) FROM {query}"))
        .await
        .remove(0)
}

/// The figures that have to stay what they are when nothing is let in.
async fn nothing_was_written(app: &TestApp) {
    assert_eq!(count(app, "deliveries").await, 0);
    assert_eq!(count(app, "pulls").await, 0);
}
