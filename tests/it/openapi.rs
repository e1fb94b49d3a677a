//! The OpenAPI document: what is committed, what is served, and what is published elsewhere agree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{TestApp, process};

fn committed() -> Value {
    serde_json::from_str(include_str!("../../openapi/discovery.json")).unwrap()
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((format!("{method} {path}"), operation));
        }
    }
    found
}

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let checked = process::run(&["openapi", "--check"], &std::collections::BTreeMap::new()).await;
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
    let app = TestApp::start().await;
    let served = app.anonymous().get("/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.expect(200), committed());
}

#[test]
fn it_is_openapi_3_1_and_every_operation_is_told_apart() {
    let document = committed();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is not unique");
        assert!(
            id.starts_with(|first: char| first.is_ascii_lowercase()),
            "{id}"
        );
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn every_error_is_a_problem() {
    for (name, operation) in operations(&committed()) {
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.contains_key("default"), "{name}");
        for (status, response) in responses {
            if status.starts_with('2') || name == "get /ready" && status == "503" {
                continue;
            }
            assert_eq!(
                response["content"],
                json!({"application/problem+json":
                    {"schema": {"$ref": "#/components/schemas/Detail"}}}),
                "{name} {status}"
            );
        }
        if operation["security"] == json!([{"BearerAuth": []}]) {
            for status in ["401", "403", "500", "503"] {
                assert!(responses.contains_key(status), "{name} {status}");
            }
        }
    }
}

#[test]
fn every_reference_resolves_and_no_schema_is_left_over() {
    let document = committed();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let defined: BTreeSet<String> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(used, defined);
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let name = reference.strip_prefix("#/components/schemas/").unwrap();
                found.insert(name.to_owned());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// What callers of the published API rely on, word by word.
#[test]
fn it_agrees_with_the_published_operations() {
    let document = committed();
    for (path, method, id, success) in [
        (
            "/v1/discovery/aggregator-connections",
            "post",
            "createAggregatorConnection",
            "201",
        ),
        (
            "/v1/discovery/aggregator-connections",
            "get",
            "listAggregatorConnections",
            "200",
        ),
        (
            "/v1/discovery/aggregator-connections/{id}",
            "get",
            "getAggregatorConnection",
            "200",
        ),
        (
            "/v1/discovery/aggregator-connections/{id}",
            "put",
            "updateAggregatorConnection",
            "200",
        ),
        (
            "/v1/discovery/aggregator-connections/{id}",
            "delete",
            "deleteAggregatorConnection",
            "204",
        ),
        (
            "/v1/discovery/connector-types",
            "get",
            "listDiscoveryConnectorTypes",
            "200",
        ),
        (
            "/v1/discovery/webhooks/tokens",
            "post",
            "mintAggregatorWebhookToken",
            "201",
        ),
        (
            "/v1/discovery/connections",
            "post",
            "createDiscoveryConnection",
            "201",
        ),
    ] {
        let operation = &document["paths"][path][method];
        assert_eq!(operation["operationId"], id);
        assert_eq!(operation["tags"], json!(["Discovery"]), "{id}");
        assert_eq!(operation["security"], json!([{"BearerAuth": []}]), "{id}");
        assert!(operation["responses"].get(success).is_some(), "{id}");
    }
    assert_eq!(
        document["components"]["securitySchemes"]["BearerAuth"],
        json!({
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "Bearer token authentication (format: \"Bearer {token}\")",
        })
    );
}

#[test]
fn it_agrees_with_the_published_schemas() {
    let document = committed();
    let schemas = &document["components"]["schemas"];
    let closed = |name: &str, members: &[&str], required: &[&str]| {
        let schema = &schemas[name];
        assert_eq!(schema["type"], "object", "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let names: BTreeSet<&str> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, members.iter().copied().collect(), "{name}");
        let needed: BTreeSet<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(needed, required.iter().copied().collect(), "{name}");
    };
    let descriptor = ["vendor", "configName", "baseUrl", "accountRef"];
    let all = [
        "vendor",
        "configName",
        "baseUrl",
        "accountRef",
        "clientId",
        "secret",
    ];
    closed("CreateAggregatorConnectionRequest", &all, &all);
    closed(
        "UpdateAggregatorConnectionRequest",
        &["configName", "baseUrl", "accountRef", "clientId", "secret"],
        &["configName", "baseUrl", "accountRef"],
    );
    closed("AggregatorConnectionResponse", &descriptor, &descriptor);
    let detail = [
        "code", "detail", "errors", "instance", "status", "title", "type",
    ];
    closed("Detail", &detail, &[]);
    closed("ErrorDetail", &["location", "message", "value"], &[]);

    for name in [
        "CreateAggregatorConnectionRequest",
        "AggregatorConnectionResponse",
    ] {
        let vendor = &schemas[name]["properties"]["vendor"];
        assert_eq!(vendor["enum"], json!(["pluggy", "belvo"]), "{name}");
        assert_eq!(vendor["type"], "string", "{name}");
    }
    for name in [
        "CreateAggregatorConnectionRequest",
        "UpdateAggregatorConnectionRequest",
    ] {
        for (member, format) in [
            ("configName", None),
            ("baseUrl", Some("uri")),
            ("accountRef", None),
        ] {
            let property = &schemas[name]["properties"][member];
            assert_eq!(property["type"], "string", "{name}.{member}");
            assert_eq!(property["minLength"], 1, "{name}.{member}");
            assert_eq!(
                property.get("format").and_then(Value::as_str),
                format,
                "{name}.{member}"
            );
        }
    }
    let detail = &schemas["Detail"]["properties"];
    assert_eq!(detail["errors"]["type"], json!(["array", "null"]));
    assert_eq!(
        detail["errors"]["items"],
        json!({"$ref": "#/components/schemas/ErrorDetail"})
    );
    assert_eq!(detail["type"]["default"], "about:blank");
    for (member, kind, format) in [
        ("code", "string", None),
        ("detail", "string", None),
        ("instance", "string", Some("uri")),
        ("status", "integer", Some("int64")),
        ("title", "string", None),
        ("type", "string", Some("uri")),
    ] {
        assert_eq!(detail[member]["type"], kind, "{member}");
        assert_eq!(
            detail[member].get("format").and_then(Value::as_str),
            format,
            "{member}"
        );
        assert!(detail[member]["examples"].is_array(), "{member}");
    }
}

/// A member that is documented but not read, or read but not documented, would be a lie.
#[tokio::test]
async fn request_schemas_list_exactly_what_is_read() {
    let app = TestApp::start().await;
    let client = app.client();
    crate::api::aggregator_connections::create(&client, "main").await;
    let page = client
        .get("/v1/discovery/aggregator-connections")
        .await
        .expect(200);
    let id = page["items"][0]["id"].as_str().unwrap();
    let document = committed();
    for (method, path, schema) in [
        (
            "POST",
            "/v1/discovery/aggregator-connections".to_owned(),
            "CreateAggregatorConnectionRequest",
        ),
        (
            "PUT",
            format!("/v1/discovery/aggregator-connections/{id}"),
            "UpdateAggregatorConnectionRequest",
        ),
        (
            "POST",
            "/v1/discovery/webhooks/tokens".to_owned(),
            "MintAggregatorWebhookTokenRequest",
        ),
    ] {
        let schema = &document["components"]["schemas"][schema];
        // A number fits no member, so every member that is read complains of its type.
        let wrong: Value = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(|name| (name.clone(), json!(1)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let answer = client
            .send_json(method.parse().unwrap(), &path, wrong.to_string())
            .await
            .expect(400);
        for fault in answer["errors"].as_array().unwrap() {
            let message = fault["message"].as_str().unwrap();
            assert_eq!(message, "must be a string, not a number", "{fault}");
        }
        let faults = answer["errors"].as_array().unwrap().len();
        assert_eq!(faults, schema["properties"].as_object().unwrap().len());
        // And what is missing is what is required.
        let answer = client
            .send_json(method.parse().unwrap(), &path, "{}")
            .await
            .expect(400);
        let missing: BTreeSet<&str> = answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["location"].as_str().unwrap())
            .collect();
        let required: BTreeSet<String> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| format!("body.{}", name.as_str().unwrap()))
            .collect();
        assert_eq!(missing, required.iter().map(String::as_str).collect());
    }
}
