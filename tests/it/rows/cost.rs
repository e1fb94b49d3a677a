//! What reading and writing rows costs, as the database plans it.

use matcher_discovery::domain::transaction::Transaction;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;

use super::{Ledger, row};
use crate::support::TestApp;

/// The text of the one query that the program sends with `mark` in it.
pub(crate) fn sent_query(mark: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let mut found = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .filter_map(|query| Some(query["query"].as_str()?.to_owned()))
        .filter(|query| query.contains(mark));
    let query = found
        .next()
        .unwrap_or_else(|| panic!("no query with {mark}"));
    assert_eq!(found.next(), None, "{mark}");
    query
}

/// The plan of a query of the program.
pub(crate) async fn plan(app: &TestApp, query: &str, arguments: &[&str]) -> String {
    plan_as(app, "discovery_app", query, arguments).await
}

/// The same, of a query that runs as another role.
pub(crate) async fn plan_as(app: &TestApp, role: &str, query: &str, arguments: &[&str]) -> String {
    let mut connection = app.connect_as(role).await;
    let mut tx = connection.begin().await.unwrap();
    let prepare = format!(
        "SET LOCAL app.tenant_id = '{}'; PREPARE asked AS {query}",
        app.tenant
    );
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *tx)
        .await
        .unwrap();
    let explain = format!(
        "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) EXECUTE asked ({})",
        arguments.join(", ")
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "looks at the database from outside"
    )]
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .persistent(false)
        .fetch_all(&mut *tx)
        .await
        .unwrap();
    lines.join("\n")
}

/// Adds rows of a connection that has nothing to do with the test's own: of ten accounts, over 2025.
pub(crate) async fn fill(app: &TestApp, many: u32) {
    app.execute(&format!(
        "INSERT INTO transactions
             (tenant_id, connection_id, account_id, id, pull_id, date, first_seen_at, updated_at,
              civil_date, vendor_id, direction, status, amount, currency, description, details,
              content_hash)
         SELECT '{}', '{}', ('00000000-0000-0000-0000-00000000000' || n % 10)::uuid,
                gen_random_uuid(), gen_random_uuid(), now(), now(), now(),
                '2025-01-01'::date + n % 365, n || '-' || {many}, 'debit', 'posted', -1, 'BRL', 'Loja', '{{}}',
                decode(repeat('00', 16), 'hex')
         FROM generate_series(1, {many}) AS n",
        app.tenant,
        Uuid::from_u128(3),
    ))
    .await;
}

#[tokio::test]
async fn the_rows_of_a_page_are_found_by_the_primary_key_without_statistics() {
    let app = TestApp::start().await;
    app.execute("ALTER TABLE transactions SET (autovacuum_enabled = false)")
        .await;
    let query = sent_query("AS page (vendor_id)");
    let tenant = format!("'{}'", app.tenant);
    let arguments = [tenant.as_str(), "gen_random_uuid()", "'{a,b,c}'"];
    for many in [1_000, 100_000] {
        fill(&app, many).await;
        let plan = plan(&app, &query, &arguments).await;
        assert!(
            plan.contains("Index Scan using transactions_pkey on transactions t"),
            "{many} rows:\n{plan}"
        );
        let condition = plan.lines().find(|line| line.contains("Index Cond"));
        for column in ["tenant_id", "connection_id", "vendor_id"] {
            assert!(condition.unwrap().contains(column), "{plan}");
        }
    }
}

/// Without statistics, and with what the server prepared while there was nothing.
#[tokio::test]
async fn reading_costs_the_same_however_many_rows_others_have() {
    let app = TestApp::start().await;
    app.execute("ALTER TABLE transactions SET (autovacuum_enabled = false)")
        .await;
    let ledger = Ledger::open(&app).await;
    for _ in 0..10 {
        let mut tx = ledger.tx().await;
        tx.known_of_account(ledger.account).await.unwrap();
        tx.commit().await.unwrap();
    }
    fill(&app, 20_000).await;
    let page: Vec<Transaction> = (0..100).map(|number| row(&number.to_string())).collect();
    ledger.apply(11, &page).await;
    ledger.apply(12, &page).await;
    let mut tx = ledger.tx().await;
    let known = tx.known_of_account(ledger.account).await.unwrap();
    assert_eq!(known.len(), 100);
    tx.commit().await.unwrap();
    // A session hands in its counts when it ends.
    app.close_database().await;
    let sessions = "SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'matcher-discovery'";
    while !app.column::<i32>(sessions).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let read: Vec<i64> = app
        .column(
            "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
             WHERE relname = 'transactions'",
        )
        .await;
    assert!((100..1_000).contains(&read[0]), "{} were read", read[0]);
}
