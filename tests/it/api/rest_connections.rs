//! REST connections: create, read, list, change, delete, test, and all that can be got wrong.

use matcher_discovery::connectors::ConnectorError;
use serde_json::{Value, json};

use super::{aggregator_connections, discovery_connections};
use crate::support::{Client, TestApp, sources::table};

pub(crate) const PATH: &str = "/v1/discovery/rest-connections";
const HOST: &str = "erp.example.com";

pub(crate) fn body(name: &str) -> Value {
    json!({
        "configName": name,
        "baseUrl": format!("https://{HOST}/api"),
        "auth": {"type": "bearer", "token": "token-of-ours"},
        "resources": [
            {"name": "receivables", "path": "/receivables", "recordPath": "/data",
             "paging": "page", "pageParameter": "page"},
            {"name": "parties", "path": "/parties"},
        ],
    })
}

/// Creates a connection and answers its path.
pub(crate) async fn create(client: &Client, name: &str) -> String {
    let answer = client.post(PATH, &body(name)).await;
    answer.expect(201);
    answer.header("location").to_owned()
}

#[tokio::test]
async fn a_created_connection_is_described_without_its_proof() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    sources.offers(HOST, vec![table("receivables", &[("id", "string", true)])]);
    let answer = client.post(PATH, &body("erp")).await;
    let described = answer.expect(201);
    let path = answer.header("location").to_owned();
    let id = path.strip_prefix(&format!("{PATH}/")).unwrap();
    assert_eq!(
        described,
        json!({
            "id": id,
            "configName": "erp",
            "baseUrl": "https://erp.example.com/api",
            "authType": "bearer",
            "resources": [
                {"name": "receivables", "path": "/receivables", "recordPath": "/data",
                 "paging": "page", "pageParameter": "page", "firstPage": 1},
                {"name": "parties", "path": "/parties", "recordPath": "", "paging": "none"},
            ],
            "status": "AVAILABLE",
            "schemaDiscovered": true,
            "lastSeenAt": described["lastSeenAt"],
        })
    );
    assert_eq!(answer.header("etag"), "\"1\"");
    let read = client.get(&path).await;
    assert_eq!(read.expect(200), described);
    assert_eq!(
        client.get(PATH).await.expect(200)["items"],
        json!([described])
    );
    assert_eq!(
        client.get(&format!("{path}/schema")).await.expect(200),
        json!({"connectionId": id, "tables": [{"tableName": "receivables", "columns": [
            {"name": "id", "type": "string", "nullable": true},
        ]}]})
    );
    assert_eq!(
        app.open_credential(&path).await,
        (String::new(), "token-of-ours".into())
    );
    let outcome = client.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(outcome.expect(200)["healthy"], true);
}

#[tokio::test]
async fn every_kind_of_paging_is_told_as_it_was_declared() {
    let (app, _sources) = TestApp::with_sources().await;
    let mut request = body("erp");
    let declared = json!([
        {"name": "a", "path": "/a?x=y", "recordPath": "/d", "paging": "page",
         "pageParameter": "p", "firstPage": 0, "sizeParameter": "n", "pageSize": 500},
        {"name": "b", "path": "/b", "recordPath": "", "paging": "cursor",
         "cursorParameter": "after", "cursorPath": "/meta/next"},
        {"name": "c", "path": "/c", "recordPath": "", "paging": "link"},
        {"name": "d", "path": "/d", "recordPath": "", "paging": "none"},
    ]);
    request["resources"] = declared.clone();
    let described = app.client().post(PATH, &request).await.expect(201);
    assert_eq!(described["resources"], declared);
}

#[tokio::test]
async fn every_kind_of_proof_is_sealed_and_told_by_its_kind_alone() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    for (kind, auth, who, secret) in [
        ("none", json!({"type": "none"}), "", ""),
        (
            "bearer",
            json!({"type": "bearer", "token": "canary-t"}),
            "",
            "canary-t",
        ),
        (
            "basic",
            json!({"type": "basic", "userName": "canary-u", "password": "canary-p"}),
            "canary-u",
            "canary-p",
        ),
        (
            "header",
            json!({"type": "header", "name": "X-Api-Key", "value": "canary-v"}),
            "x-api-key",
            "canary-v",
        ),
    ] {
        let mut request = body(kind);
        request["auth"] = auth;
        let answer = client.post(PATH, &request).await;
        let described = answer.expect(201);
        assert_eq!(described["authType"], kind);
        assert!(!described.to_string().contains("canary"));
        let opened = app.open_credential(answer.header("location")).await;
        assert_eq!(opened, (who.to_owned(), secret.to_owned()), "{kind}");
    }
}

#[tokio::test]
async fn a_sealed_proof_is_kept_only_for_the_origin_it_was_given_for() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "erp").await;
    let without_auth = |base_url: &str| {
        let mut request = body("erp");
        request["baseUrl"] = json!(base_url);
        request.as_object_mut().unwrap().remove("auth");
        request
    };
    let moved = without_auth("https://erp.example.com/v2");
    let answer = client.put(&path, &moved).await;
    assert_eq!(answer.expect(200)["baseUrl"], "https://erp.example.com/v2");
    assert_eq!(answer.header("etag"), "\"2\"");
    assert_eq!(app.open_credential(&path).await.1, "token-of-ours");

    for stranger in [
        "https://evil.example.com/v2",
        "https://erp.example.com:8443/v2",
    ] {
        let mut request = without_auth(stranger);
        request["configName"] = json!("");
        client
            .put(&path, &request)
            .await
            .expect_faults("MTCH-0001", &["body.auth", "body.configName"]);
    }
    assert_eq!(sources.asked("evil.example.com").ever, 0);

    let mut request = body("erp");
    request["baseUrl"] = json!("https://other.example.com/");
    request["auth"] = json!({"type": "header", "name": "x-key", "value": "another"});
    let described = client.put(&path, &request).await.expect(200);
    assert_eq!(described["authType"], "header");
    assert_eq!(
        app.open_credential(&path).await,
        ("x-key".into(), "another".into())
    );
    assert_eq!(sources.asked("other.example.com").ever, 1);
}

#[tokio::test]
async fn a_rename_asks_nobody_and_a_stale_change_is_refused() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    let path = create(&client, "erp").await;
    let asked = sources.asked(HOST).ever;
    let mut request = body("renamed");
    request.as_object_mut().unwrap().remove("auth");
    client.put(&path, &request).await.expect(200);
    assert_eq!(sources.asked(HOST).ever, asked);
    let stale = client
        .request(axum::http::Method::PUT, &path)
        .header("content-type", "application/json")
        .header("if-match", "\"1\"")
        .body(request.to_string().into());
    let answer = client.send(stale.unwrap()).await;
    answer.expect_problem(412, "MTCH-0216");
}

#[tokio::test]
async fn an_endpoint_that_can_t_be_reached_is_provisioned_all_the_same() {
    let (app, sources) = TestApp::with_sources().await;
    sources.fails(HOST, ConnectorError::Tls);
    let client = app.client();
    let described = client.post(PATH, &body("erp")).await.expect(201);
    assert_eq!(described["status"], "UNREACHABLE");
    assert_eq!(described["schemaDiscovered"], false);
    assert_eq!(described.get("lastSeenAt"), None);

    let (app, _sources) = TestApp::with_sources_of(&["postgres"]).await;
    app.client()
        .post(PATH, &body("erp"))
        .await
        .expect_problem(503, "MTCH-0203");
}

#[tokio::test]
async fn each_surface_answers_404_for_ids_of_the_other_kinds() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    let aggregator = aggregator_connections::create(&client, "aggregator").await;
    let database = discovery_connections::create(&client, "database").await;
    let rest = create(&client, "rest").await;
    let id = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    for foreign in [id(&aggregator), id(&database)] {
        let path = format!("{PATH}/{foreign}");
        for answer in [
            client.get(&path).await,
            client.put(&path, &body("x")).await,
            client.delete(&path).await,
            client.get(&format!("{path}/schema")).await,
            client.post(&format!("{path}/test"), &json!({})).await,
        ] {
            answer.expect_problem(404, "MTCH-0201");
        }
    }
    let path = format!("{}/{}", discovery_connections::PATH, id(&rest));
    for answer in [
        client.get(&path).await,
        client.patch(&path, &json!({"configName": "x"})).await,
        client.delete(&path).await,
        client.get(&format!("{path}/schema")).await,
        client.post(&format!("{path}/test"), &json!({})).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    let other = app.other_tenant();
    for answer in [
        other.get(&rest).await,
        other.put(&rest, &body("x")).await,
        other.delete(&rest).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    client
        .post(PATH, &body("database"))
        .await
        .expect_problem(409, "MTCH-0210");
    let status = client.get("/v1/discovery/status").await.expect(200);
    assert_eq!(status["connectionCount"], 2);
    let synced = client.post("/v1/discovery/refresh", &json!({})).await;
    assert_eq!(synced.expect(200), json!({"connectionsSynced": 2}));
    client.delete(&rest).await.expect(204);
    assert_eq!(app.sealed_credential(&rest).await, None);
    create(&client, "rest").await;
}

#[tokio::test]
async fn the_list_walks_every_connection_once_in_both_directions() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    for name in ["d", "a", "c", "b", "e"] {
        create(&client, name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["configName"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = async |cursor: &Value| {
        let cursor = cursor.as_str().unwrap();
        client
            .get(&format!("{PATH}?limit=2&cursor={cursor}"))
            .await
            .expect(200)
    };
    let first = client.get(&format!("{PATH}?limit=2")).await.expect(200);
    let second = page(&first["nextCursor"]).await;
    let third = page(&second["nextCursor"]).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(names(&third), ["e"]);
    assert_eq!(third["hasMore"], false);
    assert_eq!(names(&page(&third["prevCursor"]).await), ["c", "d"]);
    client
        .get(&format!("{PATH}?limit=0"))
        .await
        .expect_faults("MTCH-0214", &["query.limit"]);
}

#[tokio::test]
async fn every_fault_of_a_body_is_listed_at_once() {
    let (app, sources) = TestApp::with_sources().await;
    let client = app.client();
    client.post(PATH, &json!({})).await.expect_faults(
        "MTCH-0001",
        &[
            "body.configName",
            "body.baseUrl",
            "body.auth",
            "body.resources",
        ],
    );
    let answer = client
        .post(
            PATH,
            &json!({
                "configName": "", "baseUrl": "http://169.254.169.254/?canary",
                "auth": {"type": "basic", "userName": "canary:", "token": "canary"},
                "resources": [
                    {"name": "", "path": "//evil", "paging": "page", "firstPage": -1,
                     "pageSize": 0},
                    {"name": "b", "path": "/b", "recordPath": "x", "paging": "cursor", "odd": 1},
                    {"name": "c", "path": "/c", "paging": "offset", "anything": 1},
                    7,
                ],
                "canary": 1,
            }),
        )
        .await;
    let problem = answer.expect_problem(400, "MTCH-0001");
    let told = problem.to_string();
    assert!(!told.contains("canary:"), "{problem:#}");
    for place in [
        "body.configName",
        "body.baseUrl",
        "body.resources[3]",
        "body.canary",
    ] {
        assert!(
            told.contains(&format!("\"{place}\"")),
            "{place}: {problem:#}"
        );
    }
    assert_eq!(sources.asked("169.254.169.254").ever, 0);
}

#[tokio::test]
async fn each_rule_of_what_is_inside_is_kept() {
    let (app, _sources) = TestApp::with_sources().await;
    let client = app.client();
    for (member, value, faults) in broken_rules() {
        let mut request = body("name");
        request[member] = value.clone();
        let places: Vec<String> = faults.iter().map(|fault| format!("body.{fault}")).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let problem = client
            .post(PATH, &request)
            .await
            .expect_faults("MTCH-0001", &places);
        if member == "auth" {
            for fault in problem["errors"].as_array().unwrap() {
                assert_eq!(fault.get("value"), None, "{fault}");
            }
        }
        assert!(!problem.to_string().contains("u:p@"), "{problem:#}");
    }
}

/// A member, a value that breaks a rule, and the places of the faults.
fn broken_rules() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let resource = |more: Value| {
        let mut resource = json!({"name": "a", "path": "/a"});
        for (name, value) in more.as_object().unwrap() {
            resource[name] = value.clone();
        }
        json!([resource])
    };
    vec![
        ("auth", json!("none"), &["auth"]),
        ("auth", json!({}), &["auth.type"]),
        ("auth", json!({"type": "oauth", "x": 1}), &["auth.type"]),
        (
            "auth",
            json!({"type": "none", "token": "x"}),
            &["auth.token"],
        ),
        ("auth", json!({"type": "bearer"}), &["auth.token"]),
        (
            "auth",
            json!({"type": "bearer", "token": "a b"}),
            &["auth.token"],
        ),
        (
            "auth",
            json!({"type": "basic", "userName": "a:b"}),
            &["auth.userName", "auth.password"],
        ),
        (
            "auth",
            json!({"type": "header", "name": "Host", "value": "a\nb"}),
            &["auth.name", "auth.value"],
        ),
        (
            "baseUrl",
            json!("https://u:p@erp.example.com"),
            &["baseUrl"],
        ),
        ("baseUrl", json!("http://erp.example.com"), &["baseUrl"]),
        ("baseUrl", json!("https://10.0.0.1"), &["baseUrl"]),
        ("baseUrl", json!(5), &["baseUrl"]),
        ("resources", json!({}), &["resources"]),
        ("resources", json!([1]), &["resources[0]"]),
        (
            "resources",
            resource(json!({"path": "/../x"})),
            &["resources[0].path"],
        ),
        (
            "resources",
            resource(json!({"recordPath": "x"})),
            &["resources[0].recordPath"],
        ),
        (
            "resources",
            resource(json!({"paging": "offset"})),
            &["resources[0].paging"],
        ),
        (
            "resources",
            resource(json!({"paging": "page"})),
            &["resources[0].pageParameter"],
        ),
        (
            "resources",
            resource(json!({"paging": "page", "pageParameter": "p", "pageSize": 5})),
            &["resources[0].sizeParameter"],
        ),
        (
            "resources",
            resource(json!({"paging": "none", "pageParameter": "p"})),
            &["resources[0].pageParameter"],
        ),
        (
            "resources",
            resource(json!({"paging": "cursor", "cursorPath": ""})),
            &["resources[0].cursorParameter", "resources[0].cursorPath"],
        ),
        (
            "resources",
            json!([{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]),
            &["resources[1].name"],
        ),
    ]
}
