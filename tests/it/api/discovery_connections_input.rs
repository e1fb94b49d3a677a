//! Database connections: everything a caller can get wrong.

use axum::http::Method;
use serde_json::{Value, json};

use super::discovery_connections::{PATH, body, create};
use crate::support::{TestApp, sources::FORBIDDEN};

const REQUIRED: [&str; 6] = [
    "configName",
    "databaseType",
    "host",
    "port",
    "databaseName",
    "userName",
];

fn at(member: &str) -> String {
    format!("body.{member}")
}

#[tokio::test]
async fn every_fault_of_a_body_is_listed_at_once() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    client
        .post(PATH, &json!({}))
        .await
        .expect_faults("MTCH-0001", &REQUIRED.map(at).each_ref().map(|one| &**one));
    let answer = client
        .post(
            PATH,
            &json!({
                "configName": " x ", "databaseType": "oracle", "host": "", "port": 0,
                "databaseName": 7, "userName": "", "password": ["canary-password"],
                "schema": 1, "tlsMode": "maybe", "tlsCertificates": "canary", "tls": true,
            }),
        )
        .await;
    let problem = answer.expect_faults(
        "MTCH-0001",
        &[
            "body.configName",
            "body.databaseType",
            "body.host",
            "body.port",
            "body.databaseName",
            "body.userName",
            "body.password",
            "body.schema",
            "body.tlsMode",
            "body.tlsCertificates",
            "body.tls",
        ],
    );
    assert!(!problem.to_string().contains("canary"), "{problem:#}");
    assert_eq!(sources.logins(), [""; 0], "nothing was asked");
}

#[tokio::test]
async fn each_rule_of_each_member_is_kept_when_it_is_made_and_when_it_is_changed() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let long = |n: usize| json!("x".repeat(n));
    let cases: Vec<(&str, Value)> = vec![
        ("configName", json!("")),
        ("configName", long(101)),
        ("configName", json!("a\u{0}b")),
        ("configName", json!(" a")),
        ("databaseType", json!("")),
        ("databaseType", json!("oracle")),
        ("databaseType", json!(null)),
        ("host", json!("")),
        ("host", long(254)),
        ("host", json!("a\u{0}b")),
        ("host", json!(FORBIDDEN)),
        ("port", json!(0)),
        ("port", json!(65_536)),
        ("port", json!(-1)),
        ("port", json!(5432.5)),
        ("port", json!("5432")),
        ("databaseName", json!("")),
        ("databaseName", long(256)),
        ("databaseName", json!("a\nb")),
        ("userName", json!("")),
        ("userName", long(256)),
        ("userName", json!(["root"])),
        ("password", long(4097)),
        ("password", json!(5)),
        ("schema", long(256)),
        ("schema", json!("a\u{0}b")),
        ("tlsMode", json!("")),
        ("tlsMode", json!("PREFER")),
        ("tlsCertificates", json!("not PEM")),
    ];
    for (member, value) in cases {
        let mut request = body("name");
        request[member] = value.clone();
        let made = client.post(PATH, &request).await;
        let changed = client.patch(&path, &json!({member: value})).await;
        for answer in [made, changed] {
            let problem = answer.expect_faults("MTCH-0001", &[&at(member)]);
            let echoed = problem["errors"][0].get("value").is_some();
            let hidden = ["host", "userName", "password", "tlsCertificates"].contains(&member);
            assert_eq!(echoed, !hidden, "{problem:#}");
        }
    }
    assert_eq!(client.get(&path).await.header("etag"), "\"1\"");
}

#[tokio::test]
async fn null_takes_away_only_what_may_be_missing() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let nothing = json!({"password": null, "schema": null, "tlsCertificates": null});
    client.patch(&path, &nothing).await.expect(200);
    for member in REQUIRED.into_iter().chain(["tlsMode"]) {
        client
            .patch(&path, &json!({member: null}))
            .await
            .expect_faults("MTCH-0001", &[&at(member)]);
    }
    for member in ["password", "schema", "tlsMode", "tlsCertificates"] {
        let mut request = body("name");
        request[member] = json!(null);
        client
            .post(PATH, &request)
            .await
            .expect_faults("MTCH-0001", &[&at(member)]);
    }
}

#[tokio::test]
async fn an_empty_schema_or_password_is_none() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let mut request = body("main");
    request["password"] = json!("");
    request["schema"] = json!("");
    let answer = client.post(PATH, &request).await;
    answer.expect(201);
    let login = app.open_login(answer.header("location")).await;
    assert_eq!(login, ("matcher_ro".into(), None));
}

#[tokio::test]
async fn the_engines_there_are_are_named_to_whoever_asks_for_another() {
    let (app, _sources) = TestApp::with_sources_of(&["postgres"]).await;
    let mut request = body("main");
    request["databaseType"] = json!("mysql");
    let problem = app
        .client()
        .post(PATH, &request)
        .await
        .expect_faults("MTCH-0001", &["body.databaseType"]);
    assert_eq!(
        problem["errors"][0]["message"],
        "must be one of: POSTGRESQL"
    );
    let app = TestApp::start().await;
    app.client()
        .post(PATH, &body("main"))
        .await
        .expect_faults("MTCH-0001", &["body.databaseType"]);
}

#[tokio::test]
async fn a_host_that_may_not_be_named_is_refused_beside_every_other_fault() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let mut request = body("main");
    request["host"] = json!(FORBIDDEN);
    request["userName"] = json!("");
    let problem = client
        .post(PATH, &request)
        .await
        .expect_faults("MTCH-0001", &["body.host", "body.userName"]);
    assert!(!problem.to_string().contains(FORBIDDEN), "{problem:#}");

    let path = create(&client, "main").await;
    let change = json!({"host": FORBIDDEN, "userName": ""});
    client
        .patch(&path, &change)
        .await
        .expect_faults("MTCH-0001", &["body.host", "body.userName"]);
    assert_eq!(sources.asked(FORBIDDEN).ever, 0);
}

#[tokio::test]
async fn a_body_is_an_object_that_knows_its_members() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "main").await;
    for method in [Method::POST, Method::PATCH] {
        let path = if method == Method::POST { PATH } else { &path };
        for text in ["", "[]", "\"x\"", "{"] {
            client
                .send_json(method.clone(), path, text)
                .await
                .expect_faults("MTCH-0001", &["body"]);
        }
    }
    client
        .patch(&path, &json!({"status": "AVAILABLE", "id": "x"}))
        .await
        .expect_faults("MTCH-0001", &["body.status", "body.id"]);
    // Nothing at all is no fault.
    client.patch(&path, &json!({})).await.expect(200);
}
