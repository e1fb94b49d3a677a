//! The versions that a transaction had.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::PATH;
use crate::{
    rows::{Ledger, rows},
    support::TestApp,
};

#[tokio::test]
async fn versions_are_told_as_they_were_at_one_moment() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    ledger.apply(1, &rows(&["1"])).await;
    let id: Vec<String> = app.column("SELECT id::text FROM transactions").await;
    let path = format!("{PATH}/{}/versions", id[0]);
    // The row is read, the versions wait, and meanwhile there is another one.
    let mut writer = PgConnection::connect(&app.database_url()).await.unwrap();
    let mut tx = writer.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE transaction_versions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();
    let writing = async {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
             WHERE c.relname = 'transaction_versions' AND NOT l.granted";
        while app.column::<i64>(waiting).await == [0] {}
        // The owner of the table is bound by its policy, too.
        let update = AssertSqlSafe(format!(
            "SET LOCAL ROLE discovery_app; SET LOCAL app.tenant_id = '{}';
             UPDATE transactions SET version = version + 1",
            app.tenant
        ));
        let written = sqlx::raw_sql(update).execute(&mut *tx).await.unwrap();
        assert_eq!(written.rows_affected(), 1);
        tx.commit().await.unwrap();
    };
    let (answer, ()) = futures_util::future::join(client.get(&path), writing).await;
    let told = answer.expect(200);
    assert_eq!(told["items"].as_array().unwrap().len(), 1, "{told:#}");
    assert_eq!(told["items"][0]["version"], 1);
    assert_eq!(told["items"][0]["transaction"]["version"], 1);
}

#[tokio::test]
async fn every_version_is_told_with_the_pull_that_wrote_it() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    let mut page = rows(&["1"]);
    for number in 1..=3 {
        page[0].description = format!("Loja {number}");
        ledger.apply(number, &page).await;
    }
    ledger.delete(4, &["1"]).await;
    let id: Vec<String> = app.column("SELECT id::text FROM transactions").await;
    let path = format!("{PATH}/{}/versions", id[0]);
    let all = client.get(&path).await.expect(200);
    let items = all["items"].as_array().unwrap();
    let told = |one: &Value| {
        (
            one["version"].as_u64().unwrap(),
            one["pullId"].as_str().unwrap()[35..].to_owned(),
            one["transaction"]["description"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    let wanted = [
        (4, "4".to_owned(), "Loja 3".to_owned()),
        (3, "3".to_owned(), "Loja 3".to_owned()),
        (2, "2".to_owned(), "Loja 2".to_owned()),
        (1, "1".to_owned(), "Loja 1".to_owned()),
    ];
    assert_eq!(items.iter().map(told).collect::<Vec<_>>(), wanted);
    assert_eq!(items[0].get("replacedAt"), None);
    assert_eq!(items[0]["transaction"]["deletedAt"], "2026-03-01T12:04:00Z");
    assert_eq!(items[1]["replacedAt"], "2026-03-01T12:04:00Z");
    assert_eq!(items[1]["transaction"].get("deletedAt"), None);
    assert_eq!(items[3]["transaction"]["updatedAt"], "2026-03-01T12:01:00Z");
    assert_eq!(items[3]["transaction"]["version"], 1);

    let first = client.get(&format!("{path}?limit=3")).await.expect(200);
    assert_eq!(first["items"].as_array().unwrap()[..], items[..3]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = client.get(&format!("{path}?limit=3&cursor={cursor}")).await;
    let second = second.expect(200);
    assert_eq!(second["items"].as_array().unwrap()[..], items[3..]);
    let cursor = second["prevCursor"].as_str().unwrap();
    let back = client.get(&format!("{path}?limit=3&cursor={cursor}")).await;
    assert_eq!(back.expect(200)["items"], first["items"]);
    client
        .get(&format!("{path}?x=1"))
        .await
        .expect_faults("MTCH-0001", &["query.x"]);
}
