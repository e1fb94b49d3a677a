//! The audit log: one unbroken chain per tenant, written with the change it speaks of.

use serde_json::json;

use crate::{
    api::aggregator_connections::{PATH, body, create},
    support::TestApp,
};

#[tokio::test]
async fn every_change_is_remembered_in_order_and_the_chain_holds() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let mut change = json!({
        "configName": "main", "baseUrl": "https://api.pluggy.ai", "accountRef": "x",
    });
    client.put(&path, &change).await.expect(200);
    change["clientId"] = json!("c");
    change["secret"] = json!("s");
    client.put(&path, &change).await.expect(200);
    let mint = json!({"vendor": "pluggy", "connection_config_name": "main"});
    let tokens = "/v1/discovery/webhooks/tokens";
    let minted = client.post(tokens, &mint).await;
    minted.expect(201);
    let token = minted.header("location").to_owned();
    client
        .post(&format!("{token}/rotate"), &json!({}))
        .await
        .expect(201);
    client.delete(&token).await.expect(204);
    client.delete(&path).await.expect(204);
    // What failed is not remembered.
    client
        .put(&path, &change)
        .await
        .expect_problem(404, "MTCH-0201");

    let actions: Vec<String> = app
        .column(
            "SELECT sequence || ' ' || subject || ' ' || action FROM audit_log ORDER BY sequence",
        )
        .await;
    assert_eq!(
        actions,
        [
            "1 tester connection.created",
            "2 tester connection.updated",
            "3 tester connection.credential_rotated",
            "4 tester webhook_token.minted",
            "5 tester webhook_token.rotated",
            "6 tester webhook_token.revoked",
            "7 tester connection.deleted",
        ]
    );
    assert_eq!(app.verify_audit_log().await, (7, vec![]));
}

#[tokio::test]
async fn whatever_the_issuer_calls_a_caller_is_remembered() {
    let app = TestApp::start().await;
    for (subject, remembered) in [
        (json!("line\none\u{0}"), "lineone".to_owned()),
        (json!("é".repeat(1000)), "é".repeat(256)),
        (json!(7), String::new()),
        (json!(null), String::new()),
    ] {
        let claims = json!({"tenant_id": app.tenant, "sub": subject, "exp": 4_000_000_000_u64});
        let client = app.with_token(Some(&app.token(&claims)));
        create(&client, &format!("made by {}", remembered.chars().count())).await;
        let last: Vec<String> = app
            .column("SELECT subject FROM audit_log ORDER BY sequence DESC LIMIT 1")
            .await;
        assert_eq!(last, [remembered]);
        let path = app.client().get(PATH).await.expect(200);
        let id = path["items"][0]["id"].as_str().unwrap().to_owned();
        client.delete(&format!("{PATH}/{id}")).await.expect(204);
    }
}

#[tokio::test]
async fn concurrent_changes_make_one_chain() {
    let app = TestApp::start().await;
    let client = app.client();
    let other = app.other_tenant();
    let bodies: Vec<_> = (0..10).map(|n| body(&format!("c{n}"))).collect();
    futures_util::future::join_all(
        bodies
            .iter()
            .flat_map(|body| [client.post(PATH, body), other.post(PATH, body)]),
    )
    .await
    .iter()
    .for_each(|answer| {
        answer.expect(201);
    });
    assert_eq!(app.verify_audit_log().await, (20, vec![]));
}

#[tokio::test]
async fn a_chain_that_was_tampered_with_is_found() {
    for tampering in [
        "UPDATE audit_log SET subject = 'somebody' WHERE sequence = 2",
        "UPDATE audit_log SET at = at + interval '1 microsecond' WHERE sequence = 2",
        "DELETE FROM audit_log WHERE sequence = 2",
        "UPDATE audit_log SET sequence = 9 WHERE sequence = 2",
        "UPDATE audit_log SET resource_id = gen_random_uuid() WHERE sequence = 2",
    ] {
        let app = TestApp::start().await;
        for n in 0..3 {
            create(&app.client(), &format!("c{n}")).await;
        }
        app.execute(tampering).await;
        let (_, broken) = app.verify_audit_log().await;
        assert_eq!(broken, [(app.tenant, 2)], "{tampering}");
    }
}
