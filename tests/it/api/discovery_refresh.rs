//! Refreshing every connection of a tenant, and what is told of it.

use matcher_discovery::connectors::ConnectorError;
use serde_json::{Value, json};

use super::discovery_connections::{PATH, body};
use crate::support::{Answer, Client, TestApp, sources::table};

const REFRESH: &str = "/v1/discovery/refresh";
const STATUS: &str = "/v1/discovery/status";

async fn create_on(client: &Client, host: &str, name: &str) -> String {
    let mut request = body(name);
    request["host"] = json!(host);
    let answer = client.post(PATH, &request).await;
    answer.expect(201);
    answer.header("location").to_owned()
}

async fn refresh(client: &Client) -> Answer {
    client.post(REFRESH, &json!({})).await
}

#[tokio::test]
async fn a_refresh_finds_what_changed_behind_every_connection() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers("a.internal", vec![table("old", &[]), table("kept", &[])]);
    let a = create_on(&client, "a.internal", "a").await;
    let b = create_on(&client, "b.internal", "b").await;
    sources.fails("c.internal", ConnectorError::Unreachable);
    let c = create_on(&client, "c.internal", "c").await;
    let before = client.get(&a).await.expect(200)["lastSeenAt"].clone();

    sources.offers("a.internal", vec![table("kept", &[]), table("new", &[])]);
    sources.fails("b.internal", ConnectorError::TimedOut);
    sources.offers("c.internal", vec![table("there", &[])]);
    app.clock.advance(chrono::TimeDelta::seconds(5));
    let answer = refresh(&client).await.expect(200);
    assert_eq!(answer, json!({"connectionsSynced": 2}));

    let found = async |path: &str| {
        let described = client.get(path).await.expect(200);
        let tables = client.get(&format!("{path}/schema")).await.expect(200);
        let names: Vec<String> = tables["tables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["tableName"].as_str().unwrap().to_owned())
            .collect();
        (
            described["status"].as_str().unwrap().to_owned(),
            names.join(" "),
        )
    };
    assert_eq!(found(&a).await, ("AVAILABLE".into(), "kept new".into()));
    assert_eq!(found(&b).await, ("UNREACHABLE".into(), String::new()));
    assert_eq!(found(&c).await, ("AVAILABLE".into(), "there".into()));
    assert_ne!(client.get(&a).await.expect(200)["lastSeenAt"], before);
}

#[tokio::test]
async fn the_status_tells_of_connections_and_of_the_last_refresh() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let fresh = json!({"fetcherHealthy": true, "connectionCount": 0});
    assert_eq!(client.get(STATUS).await.expect(200), fresh);
    let path = create_on(&client, "a.internal", "a").await;
    create_on(&client, "a.internal", "b").await;
    refresh(&client).await.expect(200);
    let status = client.get(STATUS).await.expect(200);
    assert_eq!(status["connectionCount"], 2);
    let synced = status["lastSyncAt"].as_str().unwrap().to_owned();
    assert!(synced.ends_with('Z'), "{synced}");
    client.delete(&path).await.expect(204);
    app.clock.advance(chrono::TimeDelta::seconds(90));
    let status = client.get(STATUS).await.expect(200);
    assert_eq!(
        status,
        json!({"fetcherHealthy": true, "connectionCount": 1, "lastSyncAt": synced})
    );
}

#[tokio::test]
async fn workers_that_are_gone_are_no_healthy_fetcher() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let healthy = async || client.get(STATUS).await.expect(200)["fetcherHealthy"].clone();
    app.app().note_worker();
    assert_eq!(healthy().await, true);
    app.clock.advance(chrono::TimeDelta::minutes(2));
    assert_eq!(healthy().await, false);
}

#[tokio::test]
async fn without_any_connector_there_is_nothing_to_refresh_with() {
    let app = TestApp::start().await;
    let client = app.client();
    refresh(&client).await.expect_problem(503, "MTCH-0203");
    let status = client.get(STATUS).await.expect(200);
    assert_eq!(status["fetcherHealthy"], false);
}

/// More connections lead to a host that never answers than are looked at at once.
#[tokio::test]
async fn a_host_that_never_answers_holds_up_no_other() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    for number in 0..100 {
        create_on(&client, "silent.internal", &format!("silent-{number}")).await;
    }
    for number in 0..20 {
        create_on(&client, "good.internal", &format!("good-{number}")).await;
    }
    let before = sources.asked("good.internal").ever;
    sources.hold("silent.internal");
    let watching = async {
        let all = move |asked: crate::support::sources::Asked| {
            asked.ever == before + 20 && asked.now == 0
        };
        sources.until("good.internal", all).await;
        let silent = sources.asked("silent.internal");
        assert!(silent.now > 0 && silent.now < 64, "{silent:?}");
        sources.fails("silent.internal", ConnectorError::TimedOut);
        sources.let_go("silent.internal");
    };
    let (answer, ()) = tokio::join!(refresh(&client), watching);
    assert_eq!(answer.expect(200), json!({"connectionsSynced": 20}));
}

#[tokio::test]
async fn one_refresh_of_a_tenant_runs_at_a_time() {
    let (app, sources) = TestApp::with_sources().await;
    let (client, other) = (app.client(), app.other_tenant());
    create_on(&client, "slow.internal", "slow").await;
    sources.hold("slow.internal");
    let meanwhile = async {
        sources.until("slow.internal", |asked| asked.now == 1).await;
        refresh(&client).await.expect_problem(409, "MTCH-0205");
        refresh(&other).await.expect(200);
        sources.let_go("slow.internal");
    };
    let (first, ()) = tokio::join!(refresh(&client), meanwhile);
    first.expect(200);
    refresh(&client).await.expect(200);
}

#[tokio::test]
async fn a_refresh_whose_caller_is_gone_is_given_up_and_given_back() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    create_on(&client, "slow.internal", "slow").await;
    sources.hold("slow.internal");
    {
        let running = std::pin::pin!(refresh(&client));
        let begun = std::pin::pin!(sources.until("slow.internal", |asked| asked.now == 1));
        let first = futures_util::future::select(running, begun).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)));
    }
    // The look ends with its refresh.
    sources.until("slow.internal", |asked| asked.now == 0).await;
    sources.let_go("slow.internal");
    app.end_tasks().await;
    refresh(&client).await.expect(200);
}

#[tokio::test]
async fn a_refresh_whose_process_is_gone_is_given_up_after_a_minute() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    refresh(&client).await.expect(200);
    app.execute(
        "UPDATE refreshes SET lease = gen_random_uuid(),
             lease_until = finished_at + interval '60 seconds'",
    )
    .await;
    refresh(&client).await.expect_problem(409, "MTCH-0205");
    app.clock.advance(chrono::TimeDelta::seconds(61));
    refresh(&client).await.expect(200);
}

#[tokio::test]
async fn a_source_that_tells_nonsense_fails_alone() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let bad = create_on(&client, "bad.internal", "bad").await;
    create_on(&client, "good.internal", "good").await;
    sources.offers("bad.internal", vec![table("a\0b", &[])]);
    let answer = refresh(&client).await.expect(200);
    assert_eq!(answer, json!({"connectionsSynced": 1}));
    assert_eq!(client.get(&bad).await.expect(200)["status"], "UNREACHABLE");
    // What is sealed no longer opens: that is of one connection, too.
    app.execute(
        "UPDATE connections
         SET credential = set_byte(credential, 40, get_byte(credential, 40) # 1)
         WHERE config_name = 'bad'",
    )
    .await;
    let answer = refresh(&client).await;
    assert_eq!(answer.expect(200), json!({"connectionsSynced": 1}));
}

#[tokio::test]
async fn tables_that_are_as_they_were_are_not_written_again() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let same = table("same", &[("id", "int", false)]);
    sources.offers(
        "a.internal",
        vec![same.clone(), table("other", &[("id", "int", false)])],
    );
    create_on(&client, "a.internal", "a").await;
    let rows = async || -> Vec<String> {
        app.column("SELECT table_name || ' ' || xmin::text FROM discovered_tables ORDER BY 1")
            .await
    };
    let before = rows().await;
    refresh(&client).await.expect(200);
    assert_eq!(rows().await, before);
    sources.offers(
        "a.internal",
        vec![same, table("other", &[("id", "int", true)])],
    );
    refresh(&client).await.expect(200);
    let after = rows().await;
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
    let columns: Vec<Value> = app
        .column("SELECT columns FROM discovered_tables WHERE table_name = 'other'")
        .await;
    assert_eq!(
        columns,
        [json!([{"name": "id", "type": "int", "nullable": true}])]
    );
}
