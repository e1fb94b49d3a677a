//! Every operation of the document, called by somebody who may not.
//!
//! The walk is over the document itself, so an operation that is added is tried without anybody
//! remembering to.

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    api::aggregator_connections::create,
    support::{Client, TestApp},
};

/// Operations that need no token. This list may only shrink.
const OPEN: [&str; 6] = [
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /version",
    "GET /openapi.json",
    "GET /errors/{code}",
];

struct Operation {
    method: Method,
    template: String,
    needs_token: bool,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// The path with identifiers of things that exist.
    fn path(&self, connection: &str, token: &str) -> String {
        let id = if self.template.contains("/tokens/") {
            token
        } else {
            connection
        };
        self.template
            .replace("{id}", id)
            .replace("{code}", "MTCH-0001")
    }

    async fn call(&self, client: &Client, path: &str) -> crate::support::Answer {
        let request = client
            .request(self.method.clone(), path)
            .header("content-type", "application/json")
            .body(if self.method == Method::GET { "" } else { "{}" }.into());
        client.send(request.unwrap()).await
    }
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let mut found = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                template: template.clone(),
                needs_token: operation["security"] == json!([{"BearerAuth": []}]),
            });
        }
    }
    assert!(found.len() >= 15, "the document lists the operations");
    found
}

/// A connection and a token of the app's tenant.
async fn belongings(app: &TestApp) -> (String, String) {
    let client = app.client();
    let connection = create(&client, "main").await;
    let mint = json!({"vendor": "pluggy", "connection_config_name": "main"});
    let minted = client.post("/v1/discovery/webhooks/tokens", &mint).await;
    let last = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    (last(&connection), last(minted.header("location")))
}

#[tokio::test]
async fn only_the_listed_operations_need_no_token() {
    let app = TestApp::start().await;
    for operation in operations(&app).await {
        let listed = OPEN.contains(&operation.name().as_str());
        assert_eq!(operation.needs_token, !listed, "{}", operation.name());
    }
}

#[tokio::test]
async fn without_a_good_token_no_operation_answers_anything_else() {
    let app = TestApp::start().await;
    let (connection, token) = belongings(&app).await;
    let expired = app.token(&json!({"tenant_id": app.tenant, "exp": 1_000}));
    let homeless = app.token(&json!({"exp": 4_000_000_000_u64}));
    let foreign = crate::support::tokens::sign(
        b"a secret of somebody else, long enough to be one",
        &json!({"tenant_id": app.tenant, "exp": 4_000_000_000_u64}),
    );
    for operation in operations(&app).await {
        let path = operation.path(&connection, &token);
        for bad in [
            None,
            Some("nonsense"),
            Some(&*expired),
            Some(&*homeless),
            Some(&*foreign),
        ] {
            let answer = operation.call(&app.with_token(bad), &path).await;
            if operation.needs_token {
                answer.expect_problem(401, "MTCH-0003");
                assert!(answer.header("www-authenticate").starts_with("Bearer"));
            } else {
                assert_ne!(answer.status, 401, "{}", operation.name());
            }
        }
    }
}

#[tokio::test]
async fn a_token_opens_only_what_its_scopes_name() {
    let app = TestApp::start().await;
    let (connection, token) = belongings(&app).await;
    let scoped = |claims: Value| {
        let mut all = json!({"tenant_id": app.tenant, "exp": 4_000_000_000_u64});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        app.with_token(Some(&app.token(&all)))
    };
    for operation in operations(&app).await.iter().filter(|one| one.needs_token) {
        let path = operation.path(&connection, &token);
        let reads = operation.method == Method::GET;
        let (right, wrong) = if reads {
            ("discovery:read", "discovery:write")
        } else {
            ("discovery:write", "discovery:read")
        };
        for claims in [
            json!({"scope": wrong}),
            json!({"scope": ""}),
            json!({"permissions": [wrong]}),
            json!({"permissions": []}),
            json!({"scope": "discovery:readwrite ingestion:write"}),
        ] {
            let problem = operation
                .call(&scoped(claims), &path)
                .await
                .expect_problem(403, "MTCH-0004");
            assert!(
                problem["detail"].as_str().unwrap().contains(right),
                "{problem:#}"
            );
        }
        if reads {
            operation
                .call(&scoped(json!({"scope": "openid discovery:read"})), &path)
                .await
                .expect(200);
        }
    }
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let app = TestApp::start().await;
    let (connection, token) = belongings(&app).await;
    let other = app.other_tenant();
    for operation in operations(&app).await.iter().filter(|one| one.needs_token) {
        if !operation.template.contains("{id}") {
            continue;
        }
        let never = uuid::Uuid::from_u128(5).to_string();
        let theirs = operation
            .call(&other, &operation.path(&connection, &token))
            .await;
        let nothing = operation
            .call(&other, &operation.path(&never, &never))
            .await;
        let strip = |answer: &crate::support::Answer| {
            let mut problem = answer.expect(404);
            problem["instance"] = Value::Null;
            problem
        };
        assert_eq!(strip(&theirs), strip(&nothing), "{}", operation.name());
    }
}
