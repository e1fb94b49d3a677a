//! Deliveries: what came in, page by page, and asking for it again.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::aggregator_connections;
use crate::support::{Client, TestApp};

/// What the connection of these tests reads.
const ITEM: &str = "a1b2c3d4-5678-90ab-cdef-1234567890ab";

/// A connection of Pluggy, and where its webhooks go.
async fn endpoint(client: &Client) -> (String, String) {
    let path = aggregator_connections::create(client, "main").await;
    let mint = json!({"vendor": "pluggy", "connection_config_name": "main"});
    let minted = client.post("/v1/discovery/webhooks/tokens", &mint).await;
    let url = minted.expect(201)["webhookUrl"].clone();
    let receiver = url
        .as_str()
        .unwrap()
        .trim_start_matches("http://discovery.test");
    (path, receiver.to_owned())
}

async fn start() -> TestApp {
    TestApp::configured(&[("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1")]).await
}

async fn deliver(app: &TestApp, receiver: &str, event: &str, key: &str) {
    app.clock.advance(TimeDelta::seconds(1));
    deliver_at_once(app, receiver, event, key).await;
}

async fn deliver_at_once(app: &TestApp, receiver: &str, event: &str, key: &str) {
    let told = json!({"event": event, "eventId": key, "itemId": ITEM});
    app.anonymous().post(receiver, &told).await.expect(202);
}

async fn list(client: &Client, path: &str) -> Vec<Value> {
    let page = client.get(&format!("{path}/deliveries")).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_delivery_tells_what_came_in_and_what_became_of_it() {
    let app = start().await;
    let client = app.client();
    let (path, receiver) = endpoint(&client).await;
    deliver(&app, &receiver, "transactions/updated", "one").await;
    deliver(&app, &receiver, "something/new", "two").await;
    let [ignored, queued] = &list(&client, &path).await[..] else {
        panic!("two deliveries");
    };
    let pulls = client.get(&format!("{path}/pulls")).await.expect(200);
    assert_eq!(
        *queued,
        json!({
            "id": queued["id"], "event": "transactions/updated", "key": "one",
            "receivedAt": "2026-03-01T12:00:01Z", "outcome": "queued",
            "pullId": pulls["items"][0]["id"],
        })
    );
    assert_eq!(
        *ignored,
        json!({
            "id": ignored["id"], "event": "something/new", "key": "two",
            "receivedAt": "2026-03-01T12:00:02Z", "outcome": "ignored",
        })
    );
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_back_again() {
    let app = start().await;
    let client = app.client();
    let (path, receiver) = endpoint(&client).await;
    let keys = ["one", "two", "three", "four", "five"];
    for key in keys {
        deliver(&app, &receiver, "transactions/updated", key).await;
    }
    let mut at = format!("{path}/deliveries?limit=2");
    let mut seen = Vec::new();
    let last = loop {
        let page = client.get(&at).await.expect(200);
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["key"].clone()));
        match page.get("nextCursor") {
            Some(cursor) => {
                let cursor = cursor.as_str().unwrap();
                at = format!("{path}/deliveries?limit=2&cursor={cursor}");
            }
            None => break page,
        }
    };
    seen.reverse();
    assert_eq!(seen, keys);
    let cursor = last["prevCursor"].as_str().unwrap();
    let before = format!("{path}/deliveries?limit=2&cursor={cursor}");
    let page = client.get(&before).await.expect(200);
    assert_eq!(page["items"][0]["key"], "three");
    assert_eq!(page["items"][1]["key"], "two");

    // A cursor is good for the list that it is of, and for whole numbers of rows.
    let pulls = format!("{path}/pulls?cursor={cursor}");
    client.get(&pulls).await.expect_problem(400, "MTCH-0214");
    let none = format!("{path}/deliveries?limit=0");
    client.get(&none).await.expect_problem(400, "MTCH-0214");
}

#[tokio::test]
async fn each_delivery_of_one_instant_is_listed_once_whichever_way() {
    let app = start().await;
    let client = app.client();
    let (path, receiver) = endpoint(&client).await;
    deliver(&app, &receiver, "transactions/updated", "before").await;
    app.clock.advance(TimeDelta::seconds(1));
    let together = ["one", "two", "three", "four", "five"];
    for key in together {
        deliver_at_once(&app, &receiver, "transactions/updated", key).await;
    }
    deliver(&app, &receiver, "transactions/updated", "after").await;

    let at = |cursor: &Value| {
        let cursor = cursor.as_str().unwrap();
        format!("{path}/deliveries?limit=2&cursor={cursor}")
    };
    let keys = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        let key = |item: &Value| item["key"].as_str().unwrap().to_owned();
        items.iter().map(key).collect()
    };
    let first = client.get(&format!("{path}/deliveries?limit=2")).await;
    let mut page = first.expect(200).clone();
    let mut there = keys(&page);
    while let Some(cursor) = page.get("nextCursor") {
        page = client.get(&at(cursor)).await.expect(200).clone();
        there.extend(keys(&page));
        assert!(there.len() <= 7, "{there:?}");
    }
    let mut back = keys(&page);
    while let Some(cursor) = page.get("prevCursor") {
        page = client.get(&at(cursor)).await.expect(200).clone();
        back.splice(0..0, keys(&page));
        assert!(back.len() <= 7, "{back:?}");
    }
    assert_eq!(there, back);
    assert_eq!((&*there[0], &*there[6]), ("after", "before"));
    let mut between = there[1..6].to_vec();
    between.sort();
    assert_eq!(between, ["five", "four", "one", "three", "two"]);
}

#[tokio::test]
async fn only_a_delivery_that_asked_for_a_pull_is_replayed() {
    let app = start().await;
    let client = app.client();
    let (path, receiver) = endpoint(&client).await;
    deliver(&app, &receiver, "transactions/updated", "one").await;
    deliver(&app, &receiver, "something/new", "two").await;
    let deliveries = list(&client, &path).await;
    let replay = |delivery: &Value| {
        let id = delivery["id"].as_str().unwrap();
        format!("/v1/discovery/deliveries/{id}/replay")
    };
    let refused = client.post(&replay(&deliveries[0]), &json!({})).await;
    refused.expect_problem(409, "MTCH-0007");
    app.execute("UPDATE pulls SET state = 'cancelled'").await;
    let pull = client.post(&replay(&deliveries[1]), &json!({})).await;
    let pull = pull.expect(202);
    assert_eq!(pull["state"], "queued");
    assert_eq!(pull["reason"], "webhook");
    assert_eq!(list(&client, &path).await[1]["pullId"], pull["id"]);
    let never = format!("/v1/discovery/deliveries/{}/replay", uuid::Uuid::max());
    let unknown = client.post(&never, &json!({})).await;
    unknown.expect_problem(404, "MTCH-0218");

    client.delete(&path).await.expect(204);
    let gone = client.post(&replay(&deliveries[1]), &json!({})).await;
    gone.expect_problem(404, "MTCH-0201");
}
