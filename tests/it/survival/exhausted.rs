//! All connections to the database taken.

use futures_util::future::join_all;
use serde_json::json;

use crate::{api::aggregator_connections::PATH, support::TestApp};

const POOL: usize = 4;
const ITEM: &str = "a1b2c3d4-5678-40ab-8def-1234567890ab";

#[tokio::test]
async fn when_operators_find_no_connection_free_webhooks_still_get_in() {
    let variables = [
        ("DISCOVERY_DATABASE_POOL", "4"),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1"),
    ];
    let (app, vendors) = TestApp::with_vendors_and(&variables).await;
    let client = app.client();
    let created = client
        .post(PATH, &vendors.connection("pluggy", "one"))
        .await;
    created.expect(201);
    let connection = created.header("location").to_owned();
    let mint = json!({"vendor": "pluggy", "connection_config_name": "one"});
    let tokens = "/v1/discovery/webhooks/tokens";
    let url = client.post(tokens, &mint).await.expect(201)["webhookUrl"].clone();
    let receiver = url
        .as_str()
        .unwrap()
        .trim_start_matches("http://discovery.test");
    let event = |id: &str| json!({"event": "item/updated", "eventId": id, "itemId": ITEM});

    // What slow requests of the server itself would hold.
    let store = app.store();
    let held = join_all((0..POOL).map(|_| store.begin(app.tenant))).await;
    assert!(held.iter().all(Result::is_ok));
    let paths = [
        PATH.to_owned(),
        connection.clone(),
        format!("{connection}/pulls"),
        format!("{connection}/deliveries"),
        format!("{connection}/transactions"),
        "/v1/discovery/transactions/changes".to_owned(),
        tokens.to_owned(),
    ];
    let asking = join_all(paths.iter().map(|path| client.get(path)));
    let change = vendors.connection("pluggy", "two");
    let writing = client.post(PATH, &change);
    let sender = app.anonymous();
    let telling = join_all((0..40).map(|number| {
        let (sender, event) = (sender.clone(), event(&format!("event-{number}")));
        async move {
            // A vendor is patient, should the machine be slow; nothing comes back meanwhile.
            let mut answer = sender.post(receiver, &event).await;
            for _ in 0..4 {
                if answer.status == 202 {
                    break;
                }
                answer = sender.post(receiver, &event).await;
            }
            answer
        }
    }));
    let (answers, written, told) = tokio::join!(asking, writing, telling);
    for answer in answers.iter().chain([&written]) {
        answer.expect_problem(503, "MTCH-0008");
        let after: u32 = answer.header("retry-after").parse().unwrap();
        assert!(after > 0);
    }
    for answer in &told {
        answer.expect(202);
    }
    let kept: Vec<i64> = app.column("SELECT count(*) FROM deliveries").await;
    assert_eq!(kept, [40]);

    // They come back, and so does everything else.
    drop(held);
    for path in &paths {
        client.get(path).await.expect(200);
    }
    client.post(PATH, &change).await.expect(201);
}
