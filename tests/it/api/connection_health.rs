//! Testing a connection live, and the verdicts on it.

mod changes;
mod limits;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::aggregator_connections::PATH;
use crate::support::{Answer, Client, TestApp, Vendors};

const TEST: &str = "/v1/discovery/aggregator-connections/test";

/// Creates a connection and answers its path.
async fn create(client: &Client, body: &Value) -> String {
    let answer = client.post(PATH, body).await;
    answer.expect(201);
    answer.header("location").to_owned()
}

async fn with(
    vendors: &Vendors,
    client: &Client,
    vendor: &str,
    member: &str,
    value: &str,
) -> String {
    let mut body = vendors.connection(vendor, vendor);
    body[member] = json!(value);
    create(client, &body).await
}

async fn test(client: &Client, vendor: &str, name: &str) -> Answer {
    client
        .post(TEST, &json!({"vendor": vendor, "configName": name}))
        .await
}

async fn healthy(client: &Client, vendor: &str) -> bool {
    let answer = test(client, vendor, vendor).await.expect(200);
    answer["healthy"].as_bool().unwrap()
}

/// The verdicts on credential and source, each with its reason.
async fn verdicts(client: &Client, path: &str) -> [String; 2] {
    let status = client.get(&format!("{path}/status")).await.expect(200);
    ["credential", "source"].map(|name| {
        let part = |member: &str| status[name][member].as_str().unwrap();
        format!("{} {}", part("verdict"), part("reason"))
    })
}

#[tokio::test]
async fn a_connection_that_works_is_healthy_and_its_status_says_so() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    for vendor in ["pluggy", "belvo"] {
        let path = create(&client, &vendors.connection(vendor, "main")).await;
        let before = client.get(&format!("{path}/status")).await.expect(200);
        let since = "2026-03-01T12:00:00.000Z";
        let unknown = json!({"verdict": "unknown", "reason": "not_checked_yet", "since": since});
        let webhooks = json!({"verdict": "never", "reason": "none_received", "since": since});
        let data = json!({
            "verdict": "never", "reason": "no_pull_yet", "since": since,
            "transactions": 0, "missedByWebhooks": 0,
        });
        assert_eq!(
            before,
            json!({"credential": unknown, "source": unknown, "webhooks": webhooks, "data": data})
        );

        let answer = test(&client, vendor, "main").await;
        let expected = json!({"vendor": vendor, "configName": "main", "healthy": true});
        assert_eq!(answer.expect(200), expected);
        let [credential, source] = verdicts(&client, &path).await;
        assert_eq!(credential, "ok accepted", "{vendor}");
        assert!(source.starts_with("ok "), "{vendor}: {source}");
        client.delete(&path).await.expect(204);
    }
}

#[tokio::test]
async fn every_test_proves_the_credential_afresh() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    create(&client, &vendors.connection("pluggy", "pluggy")).await;
    for _ in 0..3 {
        assert!(healthy(&client, "pluggy").await);
    }
    let calls = vendors.calls().await;
    assert_eq!(calls.iter().filter(|call| *call == "POST /auth").count(), 3);

    // A secret that was replaced at the vendor is noticed although a key is still good.
    let rotated = json!({"clientSecret": "another"});
    vendors.scenario("pluggy", "rotate-secret", &rotated).await;
    assert!(!healthy(&client, "pluggy").await);
}

#[tokio::test]
async fn a_credential_that_is_refused_is_unhealthy_and_told_apart() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = with(&vendors, &client, "pluggy", "secret", "wrong").await;
    assert!(!healthy(&client, "pluggy").await);
    assert_eq!(
        verdicts(&client, &path).await,
        [
            "invalid client_keys_unauthorized",
            "unknown not_checked_yet"
        ]
    );
    // What was refused is tried again: a test never trusts what it remembers.
    assert!(!healthy(&client, "pluggy").await);
    let calls = vendors.calls().await;
    assert_eq!(calls, ["POST /auth", "POST /auth"]);

    let path = with(&vendors, &client, "belvo", "secret", "wrong").await;
    assert!(!healthy(&client, "belvo").await);
    assert_eq!(
        verdicts(&client, &path).await,
        ["invalid authentication_failed", "unknown not_checked_yet"]
    );
}

#[tokio::test]
async fn a_client_that_was_switched_off_is_disabled() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    vendors
        .scenario("pluggy", "disable-client", &json!({}))
        .await;
    assert!(!healthy(&client, "pluggy").await);
    let [credential, _] = verdicts(&client, &path).await;
    assert_eq!(credential, "disabled client_disabled");
}

#[tokio::test]
async fn a_reference_that_names_nothing_is_gone_and_the_credential_is_fine() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    for vendor in ["pluggy", "belvo"] {
        for reference in [
            "00000000-0000-4000-8000-000000000000",
            "no id at all",
            "..",
            "../../auth",
            "%2e%2e/x?y#z",
        ] {
            let path = with(&vendors, &client, vendor, "accountRef", reference).await;
            assert!(!healthy(&client, vendor).await, "{vendor} {reference}");
            let [credential, source] = verdicts(&client, &path).await;
            assert_eq!(credential, "ok accepted", "{vendor} {reference}");
            assert!(
                source.starts_with("gone "),
                "{vendor} {reference}: {source}"
            );
            client.delete(&path).await.expect(204);
        }
    }
    // What a reference says stays within its place in the path.
    for call in vendors.calls().await {
        let known = [
            "/auth",
            "/items/",
            "/accounts/",
            "/api/institutions/",
            "/api/links/",
        ];
        let path = call.split_once(' ').unwrap().1;
        assert!(known.iter().any(|start| path.starts_with(start)), "{call}");
    }
}

#[tokio::test]
async fn a_pluggy_reference_may_name_an_account() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = with(
        &vendors,
        &client,
        "pluggy",
        "accountRef",
        &vendors.pluggy_account().await,
    )
    .await;
    assert!(healthy(&client, "pluggy").await);
    let [credential, source] = verdicts(&client, &path).await;
    assert_eq!(credential, "ok accepted");
    assert!(source.starts_with("ok "), "{source}");
}

#[tokio::test]
async fn the_state_of_an_item_or_link_is_told() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let pluggy = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    let belvo = create(&client, &vendors.connection("belvo", "belvo")).await;
    for (vendor, scenario, verdict, is_healthy) in [
        ("pluggy", "login-error", "login_error", false),
        ("pluggy", "waiting-user", "waiting_user", false),
        ("pluggy", "outdated", "outdated", true),
        ("pluggy", "item-recovers", "ok", true),
        ("pluggy", "consent-revoked", "consent_expired", false),
        ("pluggy", "item-deleted", "gone", false),
        ("belvo", "link-invalid", "login_error", false),
        ("belvo", "token-required", "waiting_user", false),
        ("belvo", "link-recovers", "ok", true),
        ("belvo", "link-deleted", "gone", false),
    ] {
        app.clock.advance(TimeDelta::minutes(1));
        vendors.scenario(vendor, scenario, &json!({})).await;
        assert_eq!(healthy(&client, vendor).await, is_healthy, "{scenario}");
        let path = if vendor == "pluggy" { &pluggy } else { &belvo };
        let [credential, source] = verdicts(&client, path).await;
        assert_eq!(credential, "ok accepted", "{scenario}");
        let state = source.split_once(' ').unwrap().0;
        assert_eq!(state, verdict, "{scenario}: {source}");
    }
}

#[tokio::test]
async fn whatever_a_vendor_does_is_an_outcome_and_never_an_error() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let pluggy = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    let belvo = create(&client, &vendors.connection("belvo", "belvo")).await;
    let elsewhere = format!("{}/elsewhere", vendors.url());
    for (fault, pluggy_says, belvo_says) in [
        (json!({"kind": "unavailable"}), "unreachable", "unreachable"),
        (
            json!({"kind": "unavailable", "status": 500}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "unavailable", "status": 502}),
            "unreachable",
            "unreachable",
        ),
        (json!({"kind": "too-many"}), "throttled", "throttled"),
        (json!({"kind": "forbidden"}), "unreachable", "throttled"),
        (json!({"kind": "truncate"}), "unreachable", "unreachable"),
        (json!({"kind": "cut"}), "unreachable", "unreachable"),
        (json!({"kind": "reset"}), "unreachable", "unreachable"),
        (json!({"kind": "html"}), "unreachable", "unreachable"),
        (
            json!({"kind": "error-inside"}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "oversize", "megabytes": 100}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "redirect", "location": elsewhere}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "redirect", "status": 308, "location": "http://169.254.169.254/"}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "answer", "status": 410}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "answer", "status": 418, "body": "teapot"}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "answer", "status": 200, "body": ""}),
            "unreachable",
            "unreachable",
        ),
        (
            json!({"kind": "answer", "status": 204}),
            "unreachable",
            "unreachable",
        ),
    ] {
        app.clock.advance(TimeDelta::minutes(1));
        for (vendor, path, says) in [
            ("pluggy", &pluggy, pluggy_says),
            ("belvo", &belvo, belvo_says),
        ] {
            vendors
                .fault(&json!({"vendor": vendor, "fault": fault}))
                .await;
            assert!(!healthy(&client, vendor).await, "{vendor} {fault}");
            let [credential, _] = verdicts(&client, path).await;
            let state = credential.split_once(' ').unwrap().0;
            assert_eq!(state, says, "{vendor} {fault}: {credential}");
            vendors.no_faults().await;
        }
    }
    let calls = vendors.calls().await;
    assert!(
        calls.iter().all(|call| !call.contains("elsewhere")),
        "{calls:?}"
    );
    app.clock.advance(TimeDelta::minutes(1));
    assert!(healthy(&client, "pluggy").await && healthy(&client, "belvo").await);
}

#[tokio::test]
async fn a_fault_behind_the_credential_leaves_it_accepted() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let pluggy = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    let belvo = create(&client, &vendors.connection("belvo", "belvo")).await;
    assert!(healthy(&client, "pluggy").await && healthy(&client, "belvo").await);
    for kind in ["unavailable", "cut", "reset", "html"] {
        app.clock.advance(TimeDelta::minutes(1));
        for (vendor, start, path) in [
            ("pluggy", "/items", &pluggy),
            ("belvo", "/api/links", &belvo),
        ] {
            let rule = json!({"vendor": vendor, "path": start, "fault": {"kind": kind}});
            vendors.fault(&rule).await;
            assert!(!healthy(&client, vendor).await, "{vendor} {kind}");
            let [credential, source] = verdicts(&client, path).await;
            assert_eq!(credential, "ok accepted", "{vendor} {kind}");
            // That it could not be seen, and why, is told.
            assert!(source.starts_with("unknown "), "{vendor} {kind}: {source}");
            assert!(!source.contains("not_checked"), "{vendor} {kind}: {source}");
        }
        vendors.no_faults().await;
    }
}

#[tokio::test]
async fn a_vendor_that_never_answers_is_given_up() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let pluggy = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    let belvo = create(&client, &vendors.connection("belvo", "belvo")).await;
    for rule in [
        json!({"vendor": "pluggy", "fault": {"kind": "hang"}}),
        json!({"vendor": "belvo", "fault": {"kind": "drip", "millis": 1000}}),
    ] {
        vendors.fault(&rule).await;
    }
    let (one, other) = tokio::join!(healthy(&client, "pluggy"), healthy(&client, "belvo"));
    assert!(!one && !other);
    for path in [pluggy, belvo] {
        let [credential, _] = verdicts(&client, &path).await;
        assert_eq!(credential, "unreachable timeout");
    }
}

#[tokio::test]
async fn a_connection_that_is_not_there_is_not_found() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors.connection("pluggy", "one")).await;
    let other = app.other_tenant();
    for answer in [
        test(&client, "pluggy", "two").await,
        test(&client, "belvo", "one").await,
        test(&other, "pluggy", "one").await,
        other.get(&format!("{path}/status")).await,
        client.get(&format!("{PATH}/none/status")).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    client.delete(&path).await.expect(204);
    for answer in [
        test(&client, "pluggy", "one").await,
        client.get(&format!("{path}/status")).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    assert_eq!(vendors.calls().await, [""; 0], "nobody was asked");
}

#[tokio::test]
async fn every_fault_of_a_request_is_told() {
    let (app, _vendors) = TestApp::with_vendors().await;
    let client = app.client();
    client
        .post(TEST, &json!({}))
        .await
        .expect_faults("MTCH-0001", &["body.vendor", "body.configName"]);
    client
        .post(
            TEST,
            &json!({"vendor": "plaid", "configName": " x", "force": true}),
        )
        .await
        .expect_faults(
            "MTCH-0001",
            &["body.vendor", "body.configName", "body.force"],
        );
}

#[tokio::test]
async fn a_test_writes_and_a_status_reads() {
    let (app, vendors) = TestApp::with_vendors().await;
    let path = create(&app.client(), &vendors.connection("pluggy", "one")).await;
    let scoped = |scope: &str| {
        let claims = json!({"tenant_id": app.tenant, "exp": 4_000_000_000_u64, "scope": scope});
        app.with_token(Some(&app.token(&claims)))
    };
    let reader = scoped("discovery:read");
    test(&reader, "pluggy", "one")
        .await
        .expect_problem(403, "MTCH-0004");
    reader.get(&format!("{path}/status")).await.expect(200);
    let writer = scoped("discovery:write");
    test(&writer, "pluggy", "one").await.expect(200);
    writer
        .get(&format!("{path}/status"))
        .await
        .expect_problem(403, "MTCH-0004");
}

#[tokio::test]
async fn a_host_that_is_no_longer_listed_gets_no_credential() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    app.execute("UPDATE connections SET host = 'https://api.pluggy.example'")
        .await;
    assert!(!healthy(&client, "pluggy").await);
    let [credential, _] = verdicts(&client, &path).await;
    assert_eq!(credential, "unreachable base_url_not_allowed");
    assert_eq!(vendors.calls().await, [""; 0]);
}

#[tokio::test]
async fn a_credential_whose_data_key_is_gone_is_told_as_unreadable() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    app.execute("DELETE FROM tenant_keys").await;
    assert!(!healthy(&client, "pluggy").await);
    let [credential, _] = verdicts(&client, &path).await;
    assert_eq!(credential, "unknown data_key_destroyed");
}
