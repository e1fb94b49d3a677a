//! Connector types: what was registered at boot, and nothing else.

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn the_list_is_what_was_registered() {
    let app = TestApp::start().await;
    let types = app
        .client()
        .get("/v1/discovery/connector-types")
        .await
        .expect(200);
    assert_eq!(types, json!({"types": []}));

    let app = TestApp::with_connectors(&["rest-generic", "postgres"]).await;
    let types = app
        .client()
        .get("/v1/discovery/connector-types")
        .await
        .expect(200);
    assert_eq!(
        types,
        json!({"types": [
            {"type": "postgres", "category": "database"},
            {"type": "rest-generic", "category": "rest"},
        ]})
    );
}
