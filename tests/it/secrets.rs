//! No secret is ever written: not to an answer, a log line, a metric, an error or the database.
//!
//! The real server runs with every log line there is; canaries are planted wherever a secret can
//! come in; then everything the process wrote is searched for them in every likely encoding.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use matcher_discovery::local::simulator::{
    BELVO_PASSWORD, BELVO_SECRET_ID, PLUGGY_CLIENT_ID, PLUGGY_SECRET,
};
use serde_json::{Value, json};

use crate::support::{
    TestDatabase, hex, migrated,
    process::{Process, request},
    tokens,
};

const JWT_SECRET: &str = "canary-jwt-secret-0123456789abcdef-0123456789";
const CONNECTIONS: &str = "/v1/discovery/aggregator-connections";
const TOKENS: &str = "/v1/discovery/webhooks/tokens";
const DATABASES: &str = "/v1/discovery/connections";
const ENDPOINTS: &str = "/v1/discovery/rest-connections";
/// Where a database is, is told to nobody either; but it has to be stored.
const DATABASE_HOST: &str = "canary-host.invalid";
const HMAC_SECRET: &str = "canary-hmac-secret-0123456789abcdef";
const HEADER_SECRET: &str = "canary-header-secret-0123456789abcdef";
const TENANT: &str = "22222222-2222-2222-2222-222222222222";

#[tokio::test]
async fn nothing_the_process_writes_contains_a_secret() {
    let database = migrated().await;
    let ring_key: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 37 % 251).unwrap());
    let environment = BTreeMap::from([
        ("DISCOVERY_DATABASE_URL", database.url()),
        ("DISCOVERY_LISTEN", "127.0.0.1:0".to_owned()),
        ("DISCOVERY_PUBLIC_URL", "https://discovery.test".to_owned()),
        (
            "DISCOVERY_KEYRING",
            format!("k1:{}", STANDARD.encode(ring_key)),
        ),
        ("DISCOVERY_JWT_HMAC_SECRET", JWT_SECRET.to_owned()),
        ("DISCOVERY_LOG", "trace".to_owned()),
        (
            "DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET",
            HMAC_SECRET.to_owned(),
        ),
        (
            "DISCOVERY_PLUGGY_WEBHOOK_HEADER",
            format!("X-Proof: {HEADER_SECRET}"),
        ),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1".to_owned()),
        ("DISCOVERY_DATABASE_HOSTS", DATABASE_HOST.to_owned()),
    ]);
    let mut server = Process::spawn(&["serve"], &environment);
    let address = server.listening().await;

    let token = tokens::sign(
        JWT_SECRET.as_bytes(),
        &json!({"tenant_id": TENANT, "exp": 4_000_000_000_u64, "sub": "tester"}),
    );
    let mut session = Session {
        address,
        bearer: format!("Bearer {token}"),
        written: String::new(),
        minted: Vec::new(),
    };

    tell_every_secret(&mut session).await;
    tell_what_leads_to_sources(&mut session).await;

    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    let logs = server.output();
    assert!(logs.len() > 10_000, "the log was really on");
    let stored = dump(&database).await;
    assert!(stored.contains("pluggy"), "the database was really read");
    assert!(logs.contains("a webhook was accepted"), "one came in");

    let canaries = [
        "canary-client-id-1",
        "canary-secret-1",
        "canary-client-id-2",
        "canary-secret-2",
        "canary-db-user",
        "canary-db-password",
        "canary-rest-token",
        JWT_SECRET,
        HMAC_SECRET,
        HEADER_SECRET,
        &token,
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([ring_key.to_vec()])
    .chain(session.minted.iter().map(|token| token.as_bytes().to_vec()))
    // The secret half of a token without its mark, too.
    .chain(
        session
            .minted
            .iter()
            .map(|token| token.as_bytes()[10..].to_vec()),
    );
    for written in [&session.written, &logs] {
        assert!(!written.contains(DATABASE_HOST), "a host is told");
    }
    for canary in canaries {
        for encoded in encodings(&canary) {
            for (place, text) in [
                ("answers", &session.written),
                ("logs", &logs),
                ("database", &stored),
            ] {
                assert!(
                    !text.contains(&encoded),
                    "{place} hold {encoded}: {}",
                    text.lines()
                        .find(|line| line.contains(&encoded))
                        .unwrap_or_default()
                );
            }
        }
    }
}

/// The way out is as tight as the way in: what the vendors are told stays between them and us.
#[tokio::test]
async fn a_live_test_writes_neither_credential_nor_session_key() {
    let database = migrated().await;
    let environment = BTreeMap::from([
        ("DISCOVERY_DATABASE_URL", database.url()),
        ("DISCOVERY_LISTEN", "127.0.0.1:0".to_owned()),
        ("DISCOVERY_LOG", "trace".to_owned()),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let fixed = ["dev", "--json", "--simulator-listen", "127.0.0.1:0"];
    let mut dev = Process::spawn(&[&fixed[..], &["--data-dir", data]].concat(), &environment);
    let ready: Value = dev
        .wait_for(|line| {
            let value: Value = serde_json::from_str(line).ok()?;
            value.get("apiUrl").is_some().then_some(value)
        })
        .await;
    let part = |name: &str| ready[name].as_str().unwrap();
    let mut session = Session {
        address: part("apiUrl")
            .trim_start_matches("http://")
            .parse()
            .unwrap(),
        bearer: format!("Bearer {}", part("token")),
        written: String::new(),
        minted: Vec::new(),
    };
    for vendor in ["pluggy", "belvo"] {
        let refused = json!({
            "vendor": vendor, "configName": format!("refused-{vendor}"),
            "baseUrl": part("simulatorUrl"), "accountRef": "canary-reference",
            "clientId": "canary-client-id-1", "secret": "canary-secret-1",
        });
        session
            .send("POST", CONNECTIONS, &refused.to_string())
            .await;
        for name in [format!("demo-{vendor}"), format!("refused-{vendor}")] {
            let test = json!({"vendor": vendor, "configName": name}).to_string();
            let path = format!("{CONNECTIONS}/test");
            assert_eq!(session.send("POST", &path, &test).await.0, 200);
        }
    }
    session.send("GET", "/metrics", "").await;
    dev.terminate();
    assert_eq!(dev.wait().await, Some(0));

    let output = dev.output();
    let logs: Vec<&str> = output
        .lines()
        .filter(|line| !line.starts_with('{'))
        .collect();
    let logs = logs.join("\n");
    assert!(logs.contains("net.request"), "the log was really on");
    let stored = dump(&database).await;
    let known = [
        PLUGGY_CLIENT_ID,
        PLUGGY_SECRET,
        BELVO_SECRET_ID,
        BELVO_PASSWORD,
    ];
    for secret in known
        .into_iter()
        .chain(["canary-client-id-1", "canary-secret-1"])
    {
        for encoded in encodings(secret.as_bytes()) {
            for (place, text) in [
                ("logs", &logs),
                ("answers", &session.written),
                ("database", &stored),
            ] {
                assert!(!text.contains(&encoded), "{place} hold {encoded}");
            }
        }
    }
    // So do all session keys begin, and all tokens.
    for (place, text) in [
        ("logs", &logs),
        ("answers", &session.written),
        ("database", &stored),
    ] {
        assert!(!text.contains("eyJ"), "{place} hold a key");
    }
}

/// Sends each secret in every place where it belongs, and in many where it does not.
/// Whether or not the program has the connectors, and wherever they fail.
async fn tell_what_leads_to_sources(session: &mut Session) {
    let database = json!({
        "configName": "database", "databaseType": "POSTGRESQL", "host": DATABASE_HOST, "port": 5432,
        "databaseName": "ledger", "userName": "canary-db-user", "password": "canary-db-password",
    });
    let rest = json!({
        "configName": "rest", "baseUrl": "https://rest.invalid",
        "auth": {"type": "bearer", "token": "canary-rest-token"},
        "resources": [{"name": "a", "path": "/a"}],
    });
    for (list, good) in [(DATABASES, database), (ENDPOINTS, rest)] {
        let (status, path) = session.send("POST", list, &good.to_string()).await;
        for (member, value) in [
            ("host", json!([DATABASE_HOST])),
            ("userName", json!("canary-db-user\n")),
            (
                "password",
                json!({"canary-db-password": "canary-db-password"}),
            ),
            (
                "auth",
                json!({"type": "bearer", "token": "canary-rest-token\n"}),
            ),
            (
                "auth",
                json!({"type": "header", "name": "a b", "value": "canary-rest-token "}),
            ),
            ("auth", json!("canary-rest-token")),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            session.send("POST", list, &bad.to_string()).await;
        }
        if status == 201 {
            session.send("POST", &format!("{path}/test"), "{}").await;
        }
    }
    session.send("POST", "/v1/discovery/refresh", "{}").await;
}

async fn tell_every_secret(session: &mut Session) {
    let good = json!({
        "vendor": "pluggy", "configName": "main", "baseUrl": "https://api.pluggy.ai",
        "accountRef": "item", "clientId": "canary-client-id-1", "secret": "canary-secret-1",
    });
    let with = |changes: Value| {
        let mut body = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    };
    let connections = CONNECTIONS;
    let mint = json!({"vendor": "pluggy", "connection_config_name": "main"}).to_string();
    let (status, path) = session.send("POST", connections, &good.to_string()).await;
    assert_eq!(status, 201);
    // The same again, and wrong in every way that could make the server quote what it got.
    for changes in [
        json!({}),
        json!({"clientId": ["canary-client-id-1"], "secret": {"canary-secret-1": 1}}),
        json!({"secret": 1, "Secret": "canary-secret-1", "clientId": "canary-client-id-1".repeat(300)}),
        json!({"password": "canary-secret-1", "clientid": "x"}),
        json!({"baseUrl": "https://canary-client-id-1:canary-secret-1@api.pluggy.ai"}),
        json!({"client_id": "canary-client-id-1", "token": "canary-secret-1", "apiKey": "canary-secret-1"}),
        json!({"baseUrl": "https://api.pluggy.ai/?api_key=canary-secret-1"}),
        json!({"configName": "", "nested": {"secret": "canary-secret-1"}}),
    ] {
        session.send("POST", connections, &with(changes)).await;
    }
    for broken in [
        "{\"secret\": \"canary-secret-1",
        "{\"secret\": \"canary-secret-1\", \"secret\": \"canary-secret-1\"}",
        "\"canary-secret-1\"",
        "[\"canary-secret-1\"]",
    ] {
        assert_eq!(session.send("POST", connections, broken).await.0, 400);
    }
    let rotate = json!({
        "configName": "main", "baseUrl": "https://api.pluggy.ai", "accountRef": "item",
        "clientId": "canary-client-id-2", "secret": "canary-secret-2",
    });
    assert_eq!(session.send("PUT", &path, &rotate.to_string()).await.0, 200);
    let mut half = rotate.clone();
    half.as_object_mut().unwrap().remove("clientId");
    assert_eq!(session.send("PUT", &path, &half.to_string()).await.0, 400);
    let (status, token_path) = session.send("POST", TOKENS, &mint).await;
    assert_eq!(status, 201);
    assert_eq!(
        session
            .send("POST", &format!("{token_path}/rotate"), "{}")
            .await
            .0,
        201
    );
    assert_eq!(session.send("DELETE", &token_path, "").await.0, 204);
    for path in [
        connections,
        TOKENS,
        &path,
        "/metrics",
        "/ready",
        "/openapi.json",
    ] {
        assert_eq!(session.send("GET", path, "").await.0, 200, "{path}");
    }
    assert_eq!(session.minted.len(), 2);
    for token in session.minted.clone() {
        for path in [
            format!("/v1/discovery/webhooks/pluggy/{token}"),
            format!("/v1/discovery/webhooks/pluggy/{token}/x"),
            format!("/v1/discovery/webhooks/tokens/{token}"),
        ] {
            for method in ["GET", "POST", "PATCH"] {
                session.send(method, &path, "{}").await;
            }
        }
    }
    session.send("GET", "/metrics", "").await;
}

/// One caller, who keeps every answer except what is shown once on purpose.
struct Session {
    address: SocketAddr,
    bearer: String,
    written: String,
    minted: Vec<String>,
}

impl Session {
    /// Sends a request; answers the status and the `Location`.
    async fn send(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let headers = [
            ("authorization", self.bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let (status, head, answer) =
            request(self.address, method, path, &headers, body.as_bytes()).await;
        if path.starts_with(TOKENS) && status == 201 {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            self.minted
                .push(answer["token"].as_str().unwrap().to_owned());
        } else {
            self.written.push_str(&answer);
        }
        self.written.push_str(&head);
        let location = head
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .unwrap_or_default();
        (status, location.to_owned())
    }
}

fn encodings(secret: &[u8]) -> Vec<String> {
    let hex = hex(secret);
    let mut found = vec![
        hex.to_uppercase(),
        hex,
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        format!("{secret:?}").trim_matches(['[', ']']).to_owned(),
    ];
    found.extend(String::from_utf8(secret.to_vec()));
    found
}

/// Every value of every table, as text.
async fn dump(database: &TestDatabase) -> String {
    let tables: Vec<String> = database
        .column(
            "SELECT quote_ident(relname) FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
        )
        .await;
    let mut text = String::new();
    for table in tables {
        let rows: Vec<String> = database
            .column(&format!("SELECT t::text FROM {table} t"))
            .await;
        text.push_str(&rows.join("\n"));
    }
    text
}
