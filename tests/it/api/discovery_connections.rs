//! Database connections: create, read, list, change, delete, test.

use axum::http::Method;
use matcher_discovery::connectors::ConnectorError;
use serde_json::{Value, json};

use super::aggregator_connections;
use crate::support::{Answer, Client, Sources, TestApp, sources::table};

pub(crate) const PATH: &str = "/v1/discovery/connections";
const HOST: &str = "db.internal";

pub(crate) fn body(name: &str) -> Value {
    json!({
        "configName": name,
        "databaseType": "POSTGRESQL",
        "host": HOST,
        "port": 5432,
        "databaseName": "ledger",
        "userName": "matcher_ro",
        "password": "password-of-ours",
    })
}

/// Creates a connection and answers its path.
pub(crate) async fn create(client: &Client, name: &str) -> String {
    let answer = client.post(PATH, &body(name)).await;
    answer.expect(201);
    answer.header("location").to_owned()
}

fn ledger() -> Vec<matcher_discovery::domain::table::Table> {
    vec![
        table("a \"quoted\" one", &[("é", "text", true)]),
        table(
            "transactions",
            &[("id", "uuid", false), ("amount", "numeric(20,4)", true)],
        ),
    ]
}

async fn schema(client: &Client, path: &str) -> Value {
    client.get(&format!("{path}/schema")).await.expect(200)["tables"].clone()
}

async fn patch_if(client: &Client, path: &str, if_match: &str, change: &Value) -> Answer {
    let request = client
        .request(Method::PATCH, path)
        .header("content-type", "application/json")
        .header("if-match", if_match)
        .body(change.to_string().into());
    client.send(request.unwrap()).await
}

#[tokio::test]
async fn a_created_connection_tells_how_its_database_was_found_and_not_where_it_is() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, ledger());
    let answer = client.post(PATH, &body("prod-ledger-db")).await;
    let described = answer.expect(201);
    let location = answer.header("location").to_owned();
    let id = location.strip_prefix(&format!("{PATH}/")).unwrap();
    assert_eq!(
        described,
        json!({
            "id": id,
            "configName": "prod-ledger-db",
            "databaseType": "POSTGRESQL",
            "status": "AVAILABLE",
            "schemaDiscovered": true,
            "lastSeenAt": described["lastSeenAt"],
        })
    );
    assert!(described["lastSeenAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer.header("etag"), "\"1\"");

    let read = client.get(&location).await;
    assert_eq!(read.expect(200), described);
    assert_eq!(read.header("etag"), "\"1\"");
    assert_eq!(
        client.get(PATH).await.expect(200),
        json!({"connections": [described]})
    );
    assert_eq!(
        client.get(&format!("{location}/schema")).await.expect(200),
        json!({"connectionId": id, "tables": [
            {"tableName": "a \"quoted\" one", "columns": [
                {"name": "é", "type": "text", "nullable": true},
            ]},
            {"tableName": "transactions", "columns": [
                {"name": "id", "type": "uuid", "nullable": false},
                {"name": "amount", "type": "numeric(20,4)", "nullable": true},
            ]},
        ]})
    );
    assert_eq!(
        app.open_login(&location).await,
        ("matcher_ro".into(), Some("password-of-ours".into()))
    );
    assert_eq!(sources.logins(), ["matcher_ro:password-of-ours"]);
}

#[tokio::test]
async fn a_database_that_can_t_be_reached_is_provisioned_all_the_same() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.fails(HOST, ConnectorError::LoginRefused);
    let answer = client.post(PATH, &body("main")).await;
    let described = answer.expect(201);
    assert_eq!(described["status"], "UNREACHABLE");
    assert_eq!(described["schemaDiscovered"], false);
    assert_eq!(described.get("lastSeenAt"), None);
    let path = answer.header("location");
    assert_eq!(client.get(path).await.expect(200), described);
    assert_eq!(schema(&client, path).await, json!([]));
}

#[tokio::test]
async fn a_database_that_shows_no_tables_is_available_without_a_schema() {
    let (app, sources) = TestApp::with_sources().await;
    sources.fails(HOST, ConnectorError::NotPermitted);
    let described = app.client().post(PATH, &body("main")).await.expect(201);
    assert_eq!(described["status"], "AVAILABLE");
    assert_eq!(described["schemaDiscovered"], false);
    assert!(described["lastSeenAt"].is_string());
}

#[tokio::test]
async fn an_engine_is_named_by_its_token_or_an_alias() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    for (given, told) in [
        ("postgres", "POSTGRESQL"),
        ("PostgreSQL", "POSTGRESQL"),
        ("mysql", "MYSQL"),
        ("mariadb", "MYSQL"),
    ] {
        let mut request = body(given);
        request["databaseType"] = json!(given);
        let described = client.post(PATH, &request).await.expect(201);
        assert_eq!(described["databaseType"], told, "{given}");
    }
}

#[tokio::test]
async fn a_name_is_taken_once_among_connections_of_every_kind() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    aggregator_connections::create(&client, "main").await;
    client
        .post(PATH, &body("main"))
        .await
        .expect_problem(409, "MTCH-0210");
    assert_eq!(sources.asked(HOST).ever, 0, "nobody waits to hear that");

    let path = create(&client, "ledger").await;
    client
        .post(
            aggregator_connections::PATH,
            &aggregator_connections::body("ledger"),
        )
        .await
        .expect_problem(409, "MTCH-0210");
    client
        .patch(&path, &json!({"configName": "main"}))
        .await
        .expect_problem(409, "MTCH-0210");
    client.delete(&path).await.expect(204);
    create(&client, "ledger").await;
}

#[tokio::test]
async fn of_ten_creates_at_once_one_gets_the_name() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let request = body("wanted");
    let answers =
        futures_util::future::join_all((0..10).map(|_| client.post(PATH, &request))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|one| one.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[201].as_slice(), &[409; 9]].concat());
}

#[tokio::test]
async fn each_surface_answers_404_for_ids_of_the_other_kinds() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let aggregator = aggregator_connections::create(&client, "aggregator").await;
    let database = create(&client, "database").await;
    let foreign = aggregator.replace(aggregator_connections::PATH, PATH);
    let never = format!("{PATH}/0190163d-8694-739b-aea5-966c26f8ad91");
    let malformed = format!("{PATH}/not-an-id");
    let mut seen = Vec::new();
    for path in [&foreign, &never, &malformed] {
        for answer in [
            client.get(path).await,
            client.patch(path, &json!({"configName": "x"})).await,
            client.delete(path).await,
            client.get(&format!("{path}/schema")).await,
            client.post(&format!("{path}/test"), &json!({})).await,
        ] {
            let mut problem = answer.expect_problem(404, "MTCH-0201");
            problem["instance"] = Value::Null;
            seen.push(problem);
        }
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    let foreign = database.replace(PATH, aggregator_connections::PATH);
    for answer in [
        client.get(&foreign).await,
        client.delete(&foreign).await,
        client.get(&format!("{foreign}/status")).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    assert_eq!(
        client.get(PATH).await.expect(200)["connections"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    client.get(&database).await.expect(200);
    client.get(&aggregator).await.expect(200);
}

#[tokio::test]
async fn another_tenant_gets_what_nobody_gets() {
    let (app, sources) = TestApp::with_sources().await;
    sources.offers(HOST, ledger());
    let path = create(&app.client(), "main").await;
    let other = app.other_tenant();
    for answer in [
        other.get(&path).await,
        other.patch(&path, &json!({"configName": "x"})).await,
        other.delete(&path).await,
        other.get(&format!("{path}/schema")).await,
        other.post(&format!("{path}/test"), &json!({})).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    let none = json!({"connections": []});
    assert_eq!(other.get(PATH).await.expect(200), none);
    let status = other.get("/v1/discovery/status").await.expect(200);
    assert_eq!(status["connectionCount"], 0);
}

#[tokio::test]
async fn the_list_is_ordered_by_name() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    for name in ["b", "a", "Z", "c"] {
        create(&client, name).await;
    }
    let list = client.get(PATH).await.expect(200);
    let names: Vec<&str> = list["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["configName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Z", "a", "b", "c"]);
}

#[tokio::test]
async fn a_change_leaves_alone_what_it_does_not_name() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, ledger());
    let path = create(&client, "main").await;
    let before = client.get(&path).await.expect(200);
    let asked = sources.asked(HOST).ever;

    let answer = client.patch(&path, &json!({"configName": "renamed"})).await;
    let mut renamed = before.clone();
    renamed["configName"] = json!("renamed");
    assert_eq!(answer.expect(200), renamed);
    assert_eq!(answer.header("etag"), "\"2\"");
    assert_eq!(sources.asked(HOST).ever, asked, "a name leads nowhere else");
    assert_eq!(
        app.open_login(&path).await,
        ("matcher_ro".into(), Some("password-of-ours".into()))
    );

    client
        .patch(&path, &json!({"password": "another"}))
        .await
        .expect(200);
    assert_eq!(
        app.open_login(&path).await,
        ("matcher_ro".into(), Some("another".into()))
    );
    client
        .patch(&path, &json!({"userName": "somebody"}))
        .await
        .expect(200);
    assert_eq!(
        app.open_login(&path).await,
        ("somebody".into(), Some("another".into()))
    );
    client
        .patch(&path, &json!({"password": null}))
        .await
        .expect(200);
    assert_eq!(app.open_login(&path).await, ("somebody".into(), None));
    assert_eq!(
        sources.logins()[1..],
        ["matcher_ro:another", "somebody:another", "somebody"]
    );
    assert_eq!(schema(&client, &path).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_that_leads_elsewhere_knows_nothing_of_where_it_led() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, ledger());
    sources.offers("other.internal", vec![table("only", &[])]);
    let path = create(&client, "main").await;

    let moved = json!({"host": "other.internal", "schema": "books"});
    let described = client.patch(&path, &moved).await.expect(200);
    assert_eq!(described["status"], "AVAILABLE");
    let tables = schema(&client, &path).await;
    assert_eq!(tables, json!([{"tableName": "only", "columns": []}]));

    sources.fails("other.internal", ConnectorError::NoSuchPlace);
    let described = client
        .patch(&path, &json!({"schema": null}))
        .await
        .expect(200);
    assert_eq!(described["status"], "UNREACHABLE");
    assert_eq!(described["schemaDiscovered"], false);
    assert_eq!(described.get("lastSeenAt"), None);
    assert_eq!(schema(&client, &path).await, json!([]));
    let stored: Vec<String> = app
        .column("SELECT attributes::text FROM connections WHERE kind = 'database'")
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(&stored[0]).unwrap(),
        json!({"port": 5432, "database": "ledger", "tls": "prefer"})
    );
}

#[tokio::test]
async fn a_refused_login_does_not_undo_what_is_known() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, ledger());
    let path = create(&client, "main").await;
    sources.fails(HOST, ConnectorError::LoginRefused);
    let described = client
        .patch(&path, &json!({"password": "wrong"}))
        .await
        .expect(200);
    assert_eq!(described["status"], "UNREACHABLE");
    assert_eq!(described["schemaDiscovered"], true);
    assert!(described["lastSeenAt"].is_string());
    assert_eq!(schema(&client, &path).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_change_of_something_that_changed_since_is_refused() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let change = json!({"password": "new"});
    for stale in ["\"7\"", "W/\"1\"", "1"] {
        let answer = patch_if(&client, &path, stale, &change).await;
        answer.expect_problem(412, "MTCH-0216");
    }
    assert_eq!(
        app.open_login(&path).await.1.as_deref(),
        Some("password-of-ours")
    );
    patch_if(&client, &path, "\"1\"", &change).await.expect(200);
    let answer = patch_if(&client, &path, "\"1\"", &change).await;
    answer.expect_problem(412, "MTCH-0216");
    patch_if(&client, &path, "*", &change).await.expect(200);
}

#[tokio::test]
async fn what_is_found_by_looking_is_no_change() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    client
        .post(&format!("{path}/test"), &json!({}))
        .await
        .expect(200);
    client
        .post("/v1/discovery/refresh", &json!({}))
        .await
        .expect(200);
    let change = json!({"configName": "renamed"});
    patch_if(&client, &path, "\"1\"", &change).await.expect(200);
}

#[tokio::test]
async fn a_deleted_connection_leaves_neither_credential_nor_tables_behind() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, ledger());
    let path = create(&client, "main").await;
    client.delete(&path).await.expect(204);
    assert_eq!(app.sealed_credential(&path).await, None);
    let left: Vec<String> = app.column("SELECT table_name FROM discovered_tables").await;
    assert_eq!(left, [""; 0]);
    client.get(&path).await.expect_problem(404, "MTCH-0201");
    client.delete(&path).await.expect_problem(404, "MTCH-0201");
}

#[tokio::test]
async fn a_test_tells_whether_the_database_lets_us_in_and_nothing_of_why_not() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, ledger());
    let path = create(&client, "main").await;
    let id = path.rsplit('/').next().unwrap();
    let test = format!("{path}/test");

    let outcome = client.post(&test, &json!({})).await.expect(200);
    assert_eq!(
        outcome,
        json!({"connectionId": id, "healthy": true, "latencyMs": outcome["latencyMs"]})
    );
    assert!(outcome["latencyMs"].is_u64());

    sources.fails(
        HOST,
        ConnectorError::NoSuchTable {
            table: "canary".to_owned(),
        },
    );
    let outcome = client.post(&test, &json!({})).await.expect(200);
    assert_eq!(
        outcome,
        json!({
            "connectionId": id, "healthy": false, "latencyMs": outcome["latencyMs"],
            "errorMessage": "connection test failed",
        })
    );
    let described = client.get(&path).await.expect(200);
    assert_eq!(described["status"], "UNREACHABLE");
    assert_eq!(described["schemaDiscovered"], true);
    assert!(described["lastSeenAt"].is_string());
    assert_eq!(schema(&client, &path).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_may_be_tested_ten_times_a_minute() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let test = format!("{}/test", create(&client, "main").await);
    for _ in 0..10 {
        client.post(&test, &json!({})).await.expect(200);
    }
    let answer = client.post(&test, &json!({})).await;
    answer.expect_problem(429, "MTCH-0009");
    assert_eq!(answer.header("retry-after"), "61");
    assert_eq!(sources.asked(HOST).ever, 11, "once when it was created");
}

#[tokio::test]
async fn a_test_needs_a_connector_that_is_registered() {
    let (app, _sources) = TestApp::with_sources_of(&["postgres"]).await;
    let client = app.client();
    let path = create(&client, "main").await;
    app.execute("UPDATE connections SET type = 'mysql'").await;
    client
        .post(&format!("{path}/test"), &json!({}))
        .await
        .expect_problem(503, "MTCH-0203");
    client
        .patch(&path, &json!({"port": 3306}))
        .await
        .expect_problem(503, "MTCH-0203");
    client.get(&path).await.expect(200);
}

#[tokio::test]
async fn without_its_data_key_a_connection_is_unknown_until_somebody_logs_in_anew() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    app.execute("DELETE FROM tenant_keys").await;
    let asked = sources.asked(HOST).ever;
    let outcome = client
        .post(&format!("{path}/test"), &json!({}))
        .await
        .expect(200);
    assert_eq!(outcome["healthy"], false);
    assert_eq!(client.get(&path).await.expect(200)["status"], "UNKNOWN");
    assert_eq!(sources.asked(HOST).ever, asked);
    client
        .patch(&path, &json!({"password": "half a login"}))
        .await
        .expect_problem(503, "MTCH-0203");
    let login = json!({"userName": "anew", "password": "anew"});
    let described = client.patch(&path, &login).await.expect(200);
    assert_eq!(described["status"], "AVAILABLE");
    assert_eq!(
        app.open_login(&path).await,
        ("anew".into(), Some("anew".into()))
    );
}

/// What was found of a connection that has changed since says nothing of it any more.
#[tokio::test]
async fn a_look_that_is_overtaken_by_a_change_is_not_written() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    sources.fails(HOST, ConnectorError::Unreachable);
    sources.hold(HOST);
    let test = format!("{path}/test");
    let nothing = json!({});
    let testing = client.post(&test, &nothing);
    let changing = overtake(&client, &sources, &path);
    let (tested, ()) = tokio::join!(testing, changing);
    assert_eq!(tested.expect(200)["healthy"], false);
    assert_eq!(client.get(&path).await.expect(200)["status"], "AVAILABLE");
}

async fn overtake(client: &Client, sources: &Sources, path: &str) {
    sources.until(HOST, |asked| asked.now == 1).await;
    let elsewhere = json!({"host": "other.internal"});
    client.patch(path, &elsewhere).await.expect(200);
    sources.let_go(HOST);
}

/// No connection of ours is held while a database thinks: with as many creates under way as there
/// are connections, others are still answered.
#[tokio::test]
async fn databases_that_think_hold_up_nobody() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.hold(HOST);
    let bodies: Vec<Value> = (0..50).map(|number| body(&format!("c-{number}"))).collect();
    let creating = futures_util::future::join_all(bodies.iter().map(|one| client.post(PATH, one)));
    let reading = async {
        sources.until(HOST, |asked| asked.now == 50).await;
        client.get(PATH).await.expect(200);
        sources.let_go(HOST);
    };
    let (created, ()) = tokio::join!(creating, reading);
    for answer in created {
        answer.expect(201);
    }
}

#[tokio::test]
async fn a_kept_password_is_not_sent_over_a_less_protected_way() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    client
        .patch(&path, &json!({"tlsMode": "require"}))
        .await
        .expect(200);
    let weaker = json!({"tlsMode": "prefer"});
    client
        .patch(&path, &weaker)
        .await
        .expect_faults("MTCH-0001", &["body.password"]);
    let again = json!({"tlsMode": "prefer", "password": "again"});
    client.patch(&path, &again).await.expect(200);
    client
        .patch(&path, &json!({"port": 5433}))
        .await
        .expect(200);
}
