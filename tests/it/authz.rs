//! Every operation of the document, called by somebody who may not.
//!
//! The walk is over the document itself, so an operation that is added is tried without anybody
//! remembering to.

use axum::http::Method;
use matcher_discovery::worker::work_off;
use serde_json::{Value, json};

use crate::{
    api::{discovery_connections, rest_connections},
    rows::{self, Ledger},
    support::{Client, Sources, TestApp, sources::table},
};

/// Operations that need no token. This list may only shrink.
const OPEN: [&str; 7] = [
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /version",
    "GET /openapi.json",
    "GET /errors/{code}",
    // The webhooks' own token is in the path.
    RECEIVER,
];

const RECEIVER: &str = "POST /v1/discovery/webhooks/{provider}/{webhookToken}";

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
    fn path(&self, things: &Belongings) -> String {
        let id = if self.template.contains("/tokens/") {
            &things.token
        } else if self.template.contains("/transactions/") {
            &things.transaction
        } else if self.template.contains("/discovery/pulls/") {
            &things.pull
        } else if self.template.contains("/discovery/deliveries/") {
            &things.delivery
        } else if self.template.contains("/discovery/extractions/") {
            &things.extraction
        } else if self.template.contains("/discovery/connections/") {
            &things.database
        } else if self.template.contains("/rest-connections/") {
            &things.rest
        } else {
            &things.connection
        };
        self.template
            .replace("{id}", id)
            .replace("{code}", "MTCH-0001")
            .replace("{provider}/{webhookToken}", "pluggy/no-token")
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

/// What the app's tenant has, by its identifiers.
struct Belongings {
    connection: String,
    database: String,
    rest: String,
    token: String,
    transaction: String,
    pull: String,
    delivery: String,
    extraction: String,
}

impl Belongings {
    /// What nobody has.
    fn nothing() -> Self {
        let never = uuid::Uuid::from_u128(5).to_string();
        Self {
            connection: never.clone(),
            database: never.clone(),
            rest: never.clone(),
            token: never.clone(),
            transaction: never.clone(),
            pull: never.clone(),
            delivery: never.clone(),
            extraction: never,
        }
    }
}

async fn belongings(app: &TestApp, sources: &Sources) -> Belongings {
    let client = app.client();
    let ledger = Ledger::open(app).await;
    ledger.apply(1, &rows::rows(&["1"])).await;
    let transactions = client.get("/v1/discovery/transactions").await.expect(200);
    let pulls = format!(
        "/v1/discovery/aggregator-connections/{}/pulls",
        ledger.connection
    );
    let pulls = client.get(&pulls).await.expect(200);
    let pull = pulls["items"][0]["id"].as_str().unwrap().to_owned();
    let delivery = uuid::Uuid::from_u128(7).to_string();
    app.execute(&format!(
        "INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key, key_expires,
             body, outcome, hint, pull_id, received_at)
         VALUES ('{}', '{delivery}', '{}', gen_random_uuid(), 'transactions/created', 'key', false,
             '', 'queued', 'window', '{pull}', now())",
        app.tenant, ledger.connection
    ))
    .await;
    let mint = json!({"vendor": "pluggy", "connection_config_name": "main"});
    let minted = client.post("/v1/discovery/webhooks/tokens", &mint).await;
    sources.offers("db.internal", vec![table("sales", &[("id", "int", false)])]);
    let database = discovery_connections::create(&client, "database").await;
    let extract = json!({"tables": {"sales": {}}});
    let extraction = client
        .post(&format!("{database}/extractions"), &extract)
        .await;
    let extraction = extraction.expect(201)["id"].as_str().unwrap().to_owned();
    work_off(app.app()).await.unwrap();
    let rest = rest_connections::create(&client, "rest").await;
    let token = minted.header("location").rsplit('/').next().unwrap();
    Belongings {
        connection: ledger.connection.to_string(),
        database: database.rsplit('/').next().unwrap().to_owned(),
        rest: rest.rsplit('/').next().unwrap().to_owned(),
        token: token.to_owned(),
        transaction: transactions["items"][0]["id"].as_str().unwrap().to_owned(),
        pull,
        delivery,
        extraction,
    }
}

#[tokio::test]
async fn only_the_listed_operations_need_no_token() {
    let (app, _sources) = TestApp::with_sources().await;
    for operation in operations(&app).await {
        let listed = OPEN.contains(&operation.name().as_str());
        assert_eq!(operation.needs_token, !listed, "{}", operation.name());
    }
}

#[tokio::test]
async fn without_a_good_token_no_operation_answers_anything_else() {
    let (app, sources) = TestApp::with_sources().await;
    let things = belongings(&app, &sources).await;
    let expired = app.token(&json!({"tenant_id": app.tenant, "exp": 1_000}));
    let homeless = app.token(&json!({"exp": 4_000_000_000_u64}));
    let foreign = crate::support::tokens::sign(
        b"a secret of somebody else, long enough to be one",
        &json!({"tenant_id": app.tenant, "exp": 4_000_000_000_u64}),
    );
    for operation in operations(&app).await {
        let path = operation.path(&things);
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
                let name = operation.name();
                assert!(!answer.headers.contains_key("www-authenticate"), "{name}");
                assert_eq!(answer.status == 401, name == RECEIVER, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_opens_only_what_its_scopes_name() {
    let (app, sources) = TestApp::with_sources().await;
    let things = belongings(&app, &sources).await;
    let scoped = |claims: Value| {
        let mut all = json!({"tenant_id": app.tenant, "exp": 4_000_000_000_u64});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        app.with_token(Some(&app.token(&all)))
    };
    for operation in operations(&app).await.iter().filter(|one| one.needs_token) {
        let path = operation.path(&things);
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
    let (app, sources) = TestApp::with_sources().await;
    let things = belongings(&app, &sources).await;
    let other = app.other_tenant();
    for operation in operations(&app).await.iter().filter(|one| one.needs_token) {
        if !operation.template.contains("{id}") {
            continue;
        }
        let theirs = operation.call(&other, &operation.path(&things)).await;
        let nothing = operation
            .call(&other, &operation.path(&Belongings::nothing()))
            .await;
        let strip = |answer: &crate::support::Answer| {
            let mut problem = answer.expect(404);
            problem["instance"] = Value::Null;
            problem
        };
        assert_eq!(strip(&theirs), strip(&nothing), "{}", operation.name());
    }
}
