//! Webhook tokens: mint, list, revoke, rotate.

use chrono::TimeDelta;
use matcher_discovery::domain::webhook_token::WebhookToken;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;

use super::aggregator_connections;
use crate::support::TestApp;

const PATH: &str = "/v1/discovery/webhooks/tokens";

fn body(name: &str) -> Value {
    json!({"vendor": "pluggy", "connection_config_name": name})
}

async fn only_token(app: &TestApp) -> Value {
    let page = app.client().get(PATH).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page:#}");
    page["items"][0].clone()
}

#[tokio::test]
async fn a_minted_token_is_shown_once_and_only_its_hash_is_stored() {
    let app = TestApp::start().await;
    let client = app.client();
    let connection = aggregator_connections::create(&client, "main").await;
    let answer = client.post(PATH, &body("main")).await;
    let minted = answer.expect(201);
    let token = minted["token"].as_str().unwrap();
    assert_eq!(
        minted,
        json!({
            "token": token,
            "webhookUrl": format!("http://discovery.test/v1/discovery/webhooks/pluggy/{token}"),
            "vendor": "pluggy",
        })
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(WebhookToken::parse(token).is_ok());

    let listed = only_token(&app).await;
    assert_eq!(listed["prefix"], token[..8]);
    assert_eq!(listed["connectionConfigName"], "main");
    assert!(connection.ends_with(listed["connectionId"].as_str().unwrap()));
    assert!(
        answer
            .header("location")
            .ends_with(listed["id"].as_str().unwrap())
    );
    assert!(!listed.to_string().contains(token));

    let stored: Vec<Vec<u8>> = app.column("SELECT token_hash FROM webhook_tokens").await;
    assert_eq!(stored, [Sha256::digest(token.as_bytes()).to_vec()]);
}

#[tokio::test]
async fn every_token_is_another_one() {
    let app = TestApp::start().await;
    let client = app.client();
    aggregator_connections::create(&client, "main").await;
    let one = client.post(PATH, &body("main")).await.expect(201);
    let two = client.post(PATH, &body("main")).await.expect(201);
    assert_ne!(one["token"], two["token"]);
}

#[tokio::test]
async fn a_token_needs_a_living_connection_of_that_vendor() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = aggregator_connections::create(&client, "main").await;
    client
        .post(PATH, &body("other"))
        .await
        .expect_problem(404, "MTCH-0201");
    let mut belvo = body("main");
    belvo["vendor"] = json!("belvo");
    client
        .post(PATH, &belvo)
        .await
        .expect_problem(404, "MTCH-0201");
    app.other_tenant()
        .post(PATH, &body("main"))
        .await
        .expect_problem(404, "MTCH-0201");
    client.delete(&path).await.expect(204);
    client
        .post(PATH, &body("main"))
        .await
        .expect_problem(404, "MTCH-0201");
}

#[tokio::test]
async fn what_a_mint_is_asked_with_is_checked() {
    let app = TestApp::start().await;
    let client = app.client();
    client
        .post(PATH, &json!({}))
        .await
        .expect_faults("MTCH-0001", &["body.vendor", "body.connection_config_name"]);
    client
        .post(
            PATH,
            &json!({"vendor": "x", "connection_config_name": "", "connectionConfigName": "a"}),
        )
        .await
        .expect_faults(
            "MTCH-0001",
            &[
                "body.vendor",
                "body.connection_config_name",
                "body.connectionConfigName",
            ],
        );
}

#[tokio::test]
async fn a_token_belongs_to_the_connection_and_not_to_its_name() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = aggregator_connections::create(&client, "main").await;
    client.post(PATH, &body("main")).await.expect(201);
    let change = json!({
        "configName": "renamed", "accountRef": "x", "baseUrl": "https://api.pluggy.ai",
    });
    client.put(&path, &change).await.expect(200);
    aggregator_connections::create(&client, "main").await;

    let listed = only_token(&app).await;
    assert_eq!(listed["connectionConfigName"], "renamed");
    assert!(path.ends_with(listed["connectionId"].as_str().unwrap()));
}

#[tokio::test]
async fn deleting_a_connection_revokes_its_tokens() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = aggregator_connections::create(&client, "main").await;
    client.post(PATH, &body("main")).await.expect(201);
    assert_eq!(only_token(&app).await["revokedAt"], Value::Null);
    client.delete(&path).await.expect(204);
    assert_eq!(only_token(&app).await["revokedAt"], "2026-03-01T12:00:00Z");
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_and_visible() {
    let app = TestApp::start().await;
    let client = app.client();
    aggregator_connections::create(&client, "main").await;
    client.post(PATH, &body("main")).await.expect(201);
    let id = only_token(&app).await["id"].as_str().unwrap().to_owned();
    let path = format!("{PATH}/{id}");

    app.other_tenant()
        .delete(&path)
        .await
        .expect_problem(404, "MTCH-0217");
    client.delete(&path).await.expect(204);
    app.clock.advance(TimeDelta::hours(1));
    client.delete(&path).await.expect(204);
    assert_eq!(only_token(&app).await["revokedAt"], "2026-03-01T12:00:00Z");
    client
        .post(&format!("{path}/rotate"), &json!({}))
        .await
        .expect_problem(409, "MTCH-0007");
    client
        .delete(&format!("{PATH}/nonsense"))
        .await
        .expect_problem(404, "MTCH-0217");
}

#[tokio::test]
async fn a_rotated_token_lives_on_for_its_grace() {
    let app = TestApp::start().await;
    let client = app.client();
    aggregator_connections::create(&client, "main").await;
    let first = client.post(PATH, &body("main")).await.expect(201);
    let id = only_token(&app).await["id"].as_str().unwrap().to_owned();
    let rotate = format!("{PATH}/{id}/rotate");

    app.other_tenant()
        .post(&rotate, &json!({}))
        .await
        .expect_problem(404, "MTCH-0217");
    app.clock.advance(TimeDelta::minutes(1));
    let second = client.post(&rotate, &json!({})).await.expect(201);
    assert_ne!(first["token"], second["token"]);
    assert_eq!(second["vendor"], "pluggy");

    let page = client.get(PATH).await.expect(200);
    let (new, old) = (&page["items"][0], &page["items"][1]);
    assert_eq!(new["prefix"], second["token"].as_str().unwrap()[..8]);
    assert_eq!(new["expiresAt"], Value::Null);
    assert_eq!(old["id"], *id);
    assert_eq!(old["expiresAt"], "2026-03-03T12:01:00Z");
    assert_eq!(old["revokedAt"], Value::Null);

    // A shorter grace shortens the life that is left, a longer one does not extend it.
    client
        .post(&rotate, &json!({"graceSeconds": 3600}))
        .await
        .expect(201);
    client.post(&rotate, &json!({})).await.expect(201);
    let page = client.get(PATH).await.expect(200);
    let old = page["items"].as_array().unwrap().last().unwrap();
    assert_eq!(old["expiresAt"], "2026-03-01T13:01:00Z");

    app.clock.advance(TimeDelta::hours(2));
    client
        .post(&rotate, &json!({}))
        .await
        .expect_problem(409, "MTCH-0007");
}

#[tokio::test]
async fn a_grace_is_bounded() {
    let app = TestApp::start().await;
    let client = app.client();
    aggregator_connections::create(&client, "main").await;
    client.post(PATH, &body("main")).await.expect(201);
    let id = only_token(&app).await["id"].as_str().unwrap().to_owned();
    let rotate = format!("{PATH}/{id}/rotate");
    for grace in [
        json!(-1),
        json!(2_592_001),
        json!("1h"),
        json!(1.5),
        json!(null),
    ] {
        client
            .post(&rotate, &json!({"graceSeconds": grace}))
            .await
            .expect_faults("MTCH-0001", &["body.graceSeconds"]);
    }
    client
        .post(&rotate, &json!({"graceSeconds": 0}))
        .await
        .expect(201);
}

#[tokio::test]
async fn tokens_are_listed_newest_first_page_by_page() {
    let app = TestApp::start().await;
    let client = app.client();
    aggregator_connections::create(&client, "main").await;
    let mut minted = Vec::new();
    for _ in 0..5 {
        app.clock.advance(TimeDelta::seconds(1));
        let one = client.post(PATH, &body("main")).await.expect(201);
        minted.push(one["token"].as_str().unwrap()[..8].to_owned());
    }
    minted.reverse();
    let mut seen = Vec::new();
    let mut path = format!("{PATH}?limit=2");
    loop {
        let page = client.get(&path).await.expect(200);
        for item in page["items"].as_array().unwrap() {
            seen.push(item["prefix"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page.get("nextCursor") else {
            break;
        };
        path = format!("{PATH}?limit=2&cursor={}", cursor.as_str().unwrap());
    }
    assert_eq!(seen, minted);
}

/// A successor that is minted while the connection is being deleted must not outlive it.
#[tokio::test]
async fn a_rotation_that_meets_a_deletion_leaves_no_living_token() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = aggregator_connections::create(&client, "main").await;
    client.post(PATH, &body("main")).await.expect(201);
    let id = only_token(&app).await["id"].as_str().unwrap().to_owned();

    // While this holds the token, the two requests queue up behind each other.
    let mut holder = sqlx::PgConnection::connect_with(&app.admin_options())
        .await
        .unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::raw_sql("SELECT * FROM webhook_tokens FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let waiting = async |wanted: i64| {
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while app.column::<i64>(query).await != [wanted] {}
    };
    let nothing = json!({});
    let rotate = format!("{PATH}/{id}/rotate");
    let (rotated, deleted, ()) = tokio::join!(
        client.post(&rotate, &nothing),
        async {
            waiting(1).await;
            client.delete(&path).await
        },
        async {
            waiting(2).await;
            held.rollback().await.unwrap();
        }
    );
    rotated.expect(201);
    deleted.expect(204);
    let living: Vec<i64> = app
        .column("SELECT count(*) FROM webhook_tokens WHERE revoked_at IS NULL")
        .await;
    assert_eq!(living, [0]);
}
