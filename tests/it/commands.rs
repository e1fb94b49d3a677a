//! The commands, run as a user runs them.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::support::{
    migrated,
    process::{self, Process, request},
    tokens,
};

const JWT_SECRET: &str = "a secret of the tests that is long enough";
const KEYRING: &str = "k1:yN0eXiM1zU7uP4Tq9Wb2fGhJkLmNoPqRsTuVwXyZ0aE=";
const TENANT: &str = "33333333-3333-3333-3333-333333333333";

fn environment(database: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("DISCOVERY_DATABASE_URL", database.to_owned()),
        ("DISCOVERY_LISTEN", "127.0.0.1:0".to_owned()),
        ("DISCOVERY_PUBLIC_URL", "https://discovery.test".to_owned()),
        ("DISCOVERY_KEYRING", KEYRING.to_owned()),
        ("DISCOVERY_JWT_HMAC_SECRET", JWT_SECRET.to_owned()),
        ("DISCOVERY_LOG_FORMAT", "text".to_owned()),
    ])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_server_without_configuration_names_everything_it_lacks_and_no_secret() {
    let broken = BTreeMap::from([
        ("DISCOVERY_KEYRING", "k1:not-a-canary-key".to_owned()),
        ("DISCOVERY_JWT_HMAC_SECRET", "canary-short".to_owned()),
        ("DISCOVERY_LISTEN", "nowhere".to_owned()),
    ]);
    let run = process::run(&["serve"], &broken).await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    for variable in [
        "DISCOVERY_DATABASE_URL",
        "DISCOVERY_PUBLIC_URL",
        "DISCOVERY_KEYRING",
        "DISCOVERY_JWT_HMAC_SECRET",
        "DISCOVERY_LISTEN",
    ] {
        assert!(said.contains(variable), "{said}");
    }
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn rules_of_other_rooms_are_told_together_with_the_rest() {
    let mut environment = BTreeMap::new();
    environment.insert(
        "DISCOVERY_JWT_HMAC_SECRET",
        "-----BEGIN PUBLIC KEY-----and so on and on".to_owned(),
    );
    environment.insert("DISCOVERY_CONNECTORS", "oracle,db2".to_owned());
    environment.insert("DISCOVERY_KEYRING", "short:AAAA".to_owned());
    let run = process::run(&["serve"], &environment).await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    for told in [
        "PEM file",
        "oracle",
        "db2",
        "DISCOVERY_KEYRING",
        "DISCOVERY_DATABASE_URL",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[tokio::test]
async fn a_database_that_can_not_be_reached_is_told_by_its_cause() {
    let environment = environment("postgres://nobody@127.0.0.1:1/none");
    let run = process::run(&["migrate"], &environment).await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    assert!(said.contains("onnection refused"), "{said}");
}

#[tokio::test]
async fn a_token_is_not_minted_for_a_scope_that_nobody_knows() {
    let environment = environment("postgres://h/d");
    let arguments = ["token", "--tenant", TENANT, "--scope", "discovery:wirte"];
    let run = process::run(&arguments, &environment).await;
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("discovery:write"));
}

#[tokio::test]
async fn a_server_refuses_a_database_that_was_not_migrated() {
    let database = crate::support::empty().await;
    let run = process::run(&["serve"], &environment(&database.url())).await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    assert!(said.contains("matcher-discovery migrate"), "{said}");

    let run = process::run(&["migrate"], &environment(&database.url())).await;
    assert!(run.status.success(), "{}", text(&run.stderr));
    let mut server = Process::spawn(&["serve"], &environment(&database.url()));
    server.listening().await;
}

#[tokio::test]
async fn a_server_refuses_a_database_that_does_not_keep_tenants_apart() {
    let database = migrated().await;
    database
        .execute("ALTER TABLE connections NO FORCE ROW LEVEL SECURITY")
        .await;
    let run = process::run(&["serve"], &environment(&database.url())).await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    assert!(said.contains("does not keep tenants apart"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_told_to_end_says_so_finishes_and_ends_well() {
    let database = migrated().await;
    let mut server = Process::spawn(&["serve"], &environment(&database.url()));
    let address = server.listening().await;
    let (status, ..) = request(address, "GET", "/ready", &[], b"").await;
    assert_eq!(status, 200);
    server.terminate();
    server
        .wait_for(|line| line.contains("finishing").then_some(()))
        .await;
    let (status, _, body) = request(address, "GET", "/ready", &[], b"").await;
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["status"], "draining");
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_a_way_out() {
    let database = migrated().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut environment = environment(&database.url());
    environment.insert("DISCOVERY_LISTEN", taken.local_addr().unwrap().to_string());
    let run = process::run(&["serve"], &environment).await;
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    assert!(said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn an_operators_token_opens_what_its_scopes_name() {
    let database = migrated().await;
    let environment = environment(&database.url());
    let mut server = Process::spawn(&["serve"], &environment);
    let address = server.listening().await;
    let mint = async |more: &[&str]| {
        let arguments = [&["token", "--tenant", TENANT], more].concat();
        let run = process::run(&arguments, &environment).await;
        assert!(run.status.success(), "{}", text(&run.stderr));
        text(&run.stdout).trim().to_owned()
    };
    let list = "/v1/discovery/aggregator-connections";
    let ask = async |token: &str, method: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        request(address, method, list, &headers, b"{}").await.0
    };
    let both = mint(&[]).await;
    assert_eq!(
        (ask(&both, "GET").await, ask(&both, "POST").await),
        (200, 400)
    );
    let reader = mint(&["--scope", "discovery:read", "--ttl", "5m"]).await;
    assert_eq!(
        (ask(&reader, "GET").await, ask(&reader, "POST").await),
        (200, 403)
    );

    let none = BTreeMap::new();
    let run = process::run(&["token", "--tenant", TENANT], &none).await;
    assert!(text(&run.stderr).contains("DISCOVERY_JWT_HMAC_SECRET"));
    assert!(!run.status.success());
}

#[tokio::test]
async fn a_generated_key_fits_the_ring_and_no_two_are_alike() {
    let none = BTreeMap::new();
    let one = process::run(&["keys", "generate", "--id", "k2"], &none).await;
    let two = process::run(&["keys", "generate"], &none).await;
    let (one, two) = (text(&one.stdout), text(&two.stdout));
    assert!(one.starts_with("k2:") && two.starts_with("k1:"));
    let ring = format!("{one}{two}");
    matcher_discovery::vault::KeyRing::parse(&ring).unwrap();
    assert_ne!(one[3..], two[3..]);
    let wrong = process::run(&["keys", "generate", "--id", "not an id"], &none).await;
    assert!(!wrong.status.success());
}

#[tokio::test]
async fn the_use_of_the_keys_is_listed() {
    let app = crate::support::TestApp::with_keyring(KEYRING).await;
    crate::api::aggregator_connections::create(&app.client(), "main").await;
    let mut environment = environment(&app.database_url());
    let run = process::run(&["keys", "list"], &environment).await;
    assert!(run.status.success());
    assert_eq!(text(&run.stdout), "k1\t1 data keys\tseals\n");

    let fresh = process::run(&["keys", "generate", "--id", "k2"], &BTreeMap::new()).await;
    environment.insert("DISCOVERY_KEYRING", text(&fresh.stdout));
    let run = process::run(&["keys", "list"], &environment).await;
    assert!(!run.status.success());
    assert!(
        text(&run.stdout).contains("MISSING"),
        "{}",
        text(&run.stdout)
    );
}

#[tokio::test]
async fn the_health_check_asks_the_local_server() {
    let database = migrated().await;
    let mut environment = environment(&database.url());
    let mut server = Process::spawn(&["serve"], &environment);
    let address = server.listening().await;
    // As in a container: the server listens on every address.
    environment.insert("DISCOVERY_LISTEN", format!("0.0.0.0:{}", address.port()));
    let run = process::run(&["healthcheck"], &environment).await;
    assert!(run.status.success(), "{}", text(&run.stderr));
    let ready: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(ready["status"], "ready");

    server.terminate();
    server.wait().await;
    let run = process::run(&["healthcheck"], &environment).await;
    assert!(!run.status.success());
}

#[tokio::test]
async fn the_doctor_finds_what_is_well_and_what_is_not() {
    let database = migrated().await;
    let mut environment = environment(&database.url());
    // Nothing outside of this machine is asked.
    environment.insert("DISCOVERY_PLUGGY_HOSTS", "none".to_owned());
    environment.insert("DISCOVERY_BELVO_HOSTS", "none".to_owned());
    let run = process::run(&["doctor"], &environment).await;
    let said = text(&run.stdout);
    assert!(run.status.success(), "{said}{}", text(&run.stderr));
    for what in [
        "configuration",
        "key ring",
        "database",
        "clock",
        "migrations",
        "isolation",
        "data keys",
        "audit log",
    ] {
        assert!(said.contains(&format!("ok      {what}: ")), "{said}");
    }

    database
        .execute("ALTER TABLE connections DISABLE ROW LEVEL SECURITY")
        .await;
    let run = process::run(&["doctor"], &environment).await;
    let said = text(&run.stdout);
    assert_eq!(run.status.code(), Some(1));
    assert!(said.contains("FAILED  isolation: "), "{said}");
    assert!(said.contains("ok      audit log: "), "{said}");
}

fn dev_environment() -> BTreeMap<&'static str, String> {
    BTreeMap::from([("DISCOVERY_LISTEN", "127.0.0.1:0".to_owned())])
}

async fn ready_line(dev: &mut Process) -> Value {
    dev.wait_for(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("apiUrl").is_some().then_some(value)
    })
    .await
}

/// Starts `dev`, with the simulator on a port of its own.
fn laptop(arguments: &[&str], environment: &BTreeMap<&'static str, String>) -> Process {
    let fixed = ["dev", "--simulator-listen", "127.0.0.1:0"];
    Process::spawn(&[&fixed, arguments].concat(), environment)
}

#[tokio::test]
async fn a_laptop_needs_nothing_and_keeps_what_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let arguments = ["--json", "--data-dir", data, "--tenant", TENANT];
    let mut dev = laptop(&arguments, &dev_environment());
    let ready = ready_line(&mut dev).await;
    let mut members: Vec<&String> = ready.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "apiUrl",
            "databaseUrl",
            "jwtSecretFile",
            "keyringFile",
            "simulatorUrl",
            "tenant",
            "token"
        ]
    );
    assert_eq!(ready["tenant"], TENANT);
    for file in ["jwtSecretFile", "keyringFile"] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = Path::new(ready[file].as_str().unwrap());
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let call = async |ready: &Value, method: &str, body: &Value| {
        let address = ready["apiUrl"]
            .as_str()
            .unwrap()
            .trim_start_matches("http://");
        let bearer = format!("Bearer {}", ready["token"].as_str().unwrap());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let path = "/v1/discovery/aggregator-connections";
        let body = body.to_string();
        let address = address.parse().unwrap();
        let (status, _, answer) = request(address, method, path, &headers, body.as_bytes()).await;
        (status, serde_json::from_str::<Value>(&answer).unwrap())
    };
    // A stand-in for a vendor on this machine may be named, over plain http.
    let new = json!({
        "vendor": "pluggy", "configName": "main", "baseUrl": "http://127.0.0.1:4019",
        "accountRef": "item", "clientId": "c", "secret": "s",
    });
    assert_eq!(call(&ready, "POST", &new).await.0, 201);

    // A second one on the same directory is told why it can't, and disturbs nothing.
    let second = process::run(&[&["dev"], &arguments[..]].concat(), &dev_environment()).await;
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("in use by process"), "{said}");
    assert_eq!(call(&ready, "GET", &json!({})).await.0, 200);

    // Killed without a word, it starts again with everything it had.
    dev.child.kill().await.unwrap();
    let mut dev = laptop(&arguments, &dev_environment());
    let again = ready_line(&mut dev).await;
    let (status, page) = call(&again, "GET", &json!({})).await;
    assert_eq!(status, 200);
    let items = page["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|item| &item["configName"]).collect();
    assert_eq!(names, ["demo-belvo", "demo-pluggy", "main"]);
    // The simulator has another address now, and the demo connections know it.
    assert_eq!(items[0]["baseUrl"], again["simulatorUrl"]);
    assert_ne!(again["simulatorUrl"], ready["simulatorUrl"]);
    // The token of the first run is good for the second one.
    let mut with_old = again.clone();
    with_old["token"] = ready["token"].clone();
    assert_eq!(call(&with_old, "GET", &json!({})).await.0, 200);
    dev.terminate();
    assert_eq!(dev.wait().await, Some(0));
}

#[tokio::test]
async fn a_laptop_that_keeps_nothing_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut environment = dev_environment();
    environment.insert("TMPDIR", temporary.path().to_str().unwrap().to_owned());
    environment.insert("DISCOVERY_JWT_ISSUER", "https://issuer.example".to_owned());
    environment.insert("DISCOVERY_JWT_AUDIENCE", "discovery".to_owned());
    let mut dev = laptop(&["--json", "--ephemeral"], &environment);
    let ready = ready_line(&mut dev).await;
    // Its own token is one that it accepts, whatever it asks of tokens.
    let address = ready["apiUrl"]
        .as_str()
        .unwrap()
        .trim_start_matches("http://");
    let bearer = format!("Bearer {}", ready["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let path = "/v1/discovery/connector-types";
    let (status, ..) = request(address.parse().unwrap(), "GET", path, &headers, b"").await;
    assert_eq!(status, 200);
    assert!(
        std::fs::read_dir(temporary.path())
            .unwrap()
            .next()
            .is_some()
    );
    dev.terminate();
    assert_eq!(dev.wait().await, Some(0));
    assert!(
        std::fs::read_dir(temporary.path())
            .unwrap()
            .next()
            .is_none()
    );
}

#[tokio::test]
async fn the_lines_that_a_laptop_prints_work_as_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut dev = laptop(&["--data-dir", data], &dev_environment());
    dev.wait_for(|line| line.starts_with("Ctrl-C").then_some(()))
        .await;
    let printed = dev.output();
    let lines = |start: &str| -> Vec<String> {
        let found = printed.lines().filter(|line| line.starts_with(start));
        found.map(ToOwned::to_owned).collect()
    };
    let token = lines("export TOKEN=").remove(0);
    let curls = lines("curl ");
    let healthy = "\"healthy\":true}200";
    let wanted = [healthy, healthy, "200", "200", "201", "200", "201"];
    assert_eq!(curls.len(), wanted.len(), "{printed}");
    for (curl, wanted) in curls.iter().zip(wanted) {
        let script = format!("{token}\n{curl} -s -w '%{{http_code}}'");
        let shell = tokio::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .await
            .unwrap();
        let said = text(&shell.stdout);
        assert!(
            said.ends_with(wanted),
            "{curl}: {said} {}",
            text(&shell.stderr)
        );
    }
}

#[tokio::test]
async fn a_laptop_can_use_a_database_that_runs_already() {
    let database = crate::support::empty().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut environment = dev_environment();
    environment.insert("DISCOVERY_DATABASE_URL", database.url());
    let mut dev = laptop(&["--json", "--data-dir", data], &environment);
    let ready = ready_line(&mut dev).await;
    assert_eq!(ready["databaseUrl"], database.url());
    let migrated: Vec<i64> = database
        .column("SELECT count(*) FROM pg_class WHERE relname = 'connections'")
        .await;
    assert_eq!(migrated, [1]);
}

#[tokio::test]
async fn help_names_every_variable_and_shows_no_value() {
    let mut environment = environment("postgres://u:canary-password@localhost/x");
    environment.insert("DISCOVERY_KEYRING", "canary-ring".to_owned());
    for command in [
        "serve",
        "dev",
        "migrate",
        "token",
        "keys",
        "doctor",
        "healthcheck",
    ] {
        let run = process::run(&[command, "--help"], &environment).await;
        assert!(run.status.success());
        let said = text(&run.stdout);
        assert!(said.contains("DISCOVERY_"), "{command}: {said}");
        assert!(!said.contains("canary"), "{command}: {said}");
    }
}

#[tokio::test]
async fn a_token_of_another_key_family_is_refused_by_the_running_server() {
    let database = migrated().await;
    let mut server = Process::spawn(&["serve"], &environment(&database.url()));
    let address = server.listening().await;
    let foreign = tokens::sign(
        b"somebody else's secret, which is long enough",
        &json!({"tenant_id": TENANT, "exp": 4_000_000_000_u64}),
    );
    let bearer = format!("Bearer {foreign}");
    let headers = [("authorization", bearer.as_str())];
    let (status, head, _) = request(
        address,
        "GET",
        "/v1/discovery/connector-types",
        &headers,
        b"",
    )
    .await;
    assert_eq!(status, 401);
    assert!(head.contains("www-authenticate: Bearer"), "{head}");
}

/// A database that accepts and never answers must not make a server deaf to its orchestrator.
#[tokio::test]
async fn a_start_that_hangs_can_be_ended() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u@{}/d", silent.local_addr().unwrap());
    let mut server = Process::spawn(&["serve"], &environment(&url));
    // It is waiting for an answer now.
    let (_connection, _) = silent.accept().await.unwrap();
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    assert!(
        server.output().contains("ending before"),
        "{}",
        server.output()
    );
}
