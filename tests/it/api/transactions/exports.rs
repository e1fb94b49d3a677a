//! Transactions as a whole: lines and tables.

use axum::{body::Body, http::Method};
use matcher_discovery::domain::random::OsRandom;
use serde_json::Value;

use super::{PATH, get_as, of_connection};
use crate::{
    rows::{Ledger, account, noon, row, rows},
    support::TestApp,
};

#[tokio::test]
async fn everything_comes_at_once_as_lines_or_as_a_table() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    // More than one batch, and not a whole number of them.
    let many: Vec<_> = (0..2_345)
        .map(|number| {
            let mut row = row(&format!("{number:04}"));
            row.civil_date = format!("2026-02-{:02}", 1 + number % 28).parse().unwrap();
            row
        })
        .collect();
    for page in many.chunks(500) {
        ledger.apply(1, page).await;
    }
    let path = of_connection(&ledger, "transactions");
    let answer = get_as(&client, &path, "application/x-ndjson").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = String::from_utf8(answer.body).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = client.get(&path).await.expect(200);
    assert_eq!(lines[..20], first["items"].as_array().unwrap()[..]);
    let mut found: Vec<&str> = lines
        .iter()
        .map(|line| line["vendorId"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    let wanted: Vec<&str> = many.iter().map(|row| row.vendor_id.as_str()).collect();
    assert_eq!(found, wanted);

    let answer = get_as(&client, PATH, "text/csv").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(text.matches("\r\n").count(), many.len() + 1);
    let mut table = text.split("\r\n");
    let columns: Vec<&str> = table.next().unwrap().split(',').collect();
    let first: Vec<&str> = table.next().unwrap().split(',').collect();
    assert_eq!(first.len(), columns.len());
    for (column, value) in columns.iter().zip(&first) {
        let path = format!("/{}", column.replace('.', "/"));
        match lines[0].pointer(&path) {
            None => assert_eq!(*value, "", "{column}"),
            Some(Value::String(told)) => assert_eq!(value, told, "{column}"),
            Some(told) => assert_eq!(*value, told.to_string(), "{column}"),
        }
    }
    // Filters narrow here as well, and nothing is an empty result.
    let one = get_as(&client, &format!("{PATH}?dateTo=2026-02-01"), "text/csv").await;
    assert_eq!(String::from_utf8(one.body).unwrap().lines().count(), 85);
    let none = format!("{PATH}?dateTo=2025-01-01");
    let lines = get_as(&client, &none, "application/x-ndjson").await;
    assert_eq!((lines.status.as_u16(), lines.body.len()), (200, 0));
    let table = get_as(&client, &none, "text/csv").await;
    assert_eq!(String::from_utf8(table.body).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn what_somebody_wrote_on_a_transfer_is_no_formula_in_a_spreadsheet() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut page = rows(&["1"]);
    page[0].description = "=HYPERLINK(\"x\",\"y\")".to_owned();
    ledger.apply(1, &page).await;
    let answer = get_as(&app.client(), PATH, "text/csv").await;
    let text = String::from_utf8(answer.body).unwrap();
    assert!(
        text.contains(",\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\",debit,-12.50,"),
        "{text}"
    );
}

#[tokio::test]
async fn an_export_holds_no_transaction_between_its_batches() {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let many: Vec<_> = (0..1_500).map(|number| row(&number.to_string())).collect();
    ledger.apply(1, &many).await;
    let client = app.client();
    let mut request = client
        .request(Method::GET, PATH)
        .header("accept", "application/x-ndjson")
        .body(Body::empty())
        .unwrap();
    let peer: std::net::SocketAddr = "127.0.0.1:40000".parse().unwrap();
    request
        .extensions_mut()
        .insert(axum::extract::ConnectInfo(peer));
    let mut body = client.router().oneshot(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    // The client is slow; nobody waits for it.
    let busy: Vec<i64> = app
        .column(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'matcher-discovery'
               AND state LIKE 'idle in transaction%'",
        )
        .await;
    assert_eq!(busy, [0]);
    let rest = body.collect().await.unwrap().to_bytes();
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!((lines(&first), lines(&rest)), (1_000, 500));
}

/// However the rows are spread, and however many accounts there are.
#[tokio::test]
async fn an_export_of_many_accounts_reads_each_row_once_and_in_the_order_of_the_list() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let accounts: Vec<_> = (0..150).map(|n| account(&format!("a-{n}"))).collect();
    let mut tx = ledger.tx().await;
    tx.upsert_accounts(ledger.connection, &accounts, noon(), &OsRandom)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // Most have a few rows of long ago, some have none, and one has nearly all, of late.
    app.execute(&format!(
        "INSERT INTO transactions
             (tenant_id, connection_id, account_id, id, pull_id, date, first_seen_at, updated_at,
              civil_date, vendor_id, direction, status, amount, currency, description, details,
              content_hash)
         SELECT '{}', '{}', a.id, gen_random_uuid(), gen_random_uuid(), now(), now(), now(),
                CASE a.vendor_id WHEN 'a-0' THEN '2026-02-28' ELSE '2025-06-01' END::date - n % 40,
                a.vendor_id || '/' || n, 'debit', 'posted', -1, 'BRL', 'Loja', '{{}}',
                decode(repeat('00', 16), 'hex')
         FROM accounts a, generate_series(1, 3000) AS n
         WHERE n <= CASE WHEN a.vendor_id = 'a-0' THEN 3000 WHEN a.vendor_id LIKE '%7' THEN 0
                         ELSE 40 END",
        app.tenant, ledger.connection,
    ))
    .await;
    let path = of_connection(&ledger, "transactions");
    let expected: Vec<String> = app
        .column("SELECT id::text FROM transactions ORDER BY civil_date DESC, id DESC")
        .await;
    assert!(expected.len() > 8_000);
    let export = async |path: &str| {
        let answer = get_as(&app.client(), path, "application/x-ndjson").await;
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    };
    let lines = export(&path).await;
    let told: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(
        told == expected,
        "{} rows of {}",
        told.len(),
        expected.len()
    );
    let pending = export(&format!("{path}?status=pending")).await;
    assert_eq!(pending, "");
    let days = format!("{path}?dateFrom=2025-05-31&dateTo=2025-06-01");
    let some = export(&days).await;
    assert!((100..400).contains(&some.lines().count()));

    // A session hands in its counts when it ends.
    app.close_database().await;
    let sessions = "SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'matcher-discovery'";
    while !app.column::<i32>(sessions).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let read: Vec<i64> = app
        .column(
            "SELECT sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables
             WHERE relname = 'transactions'",
        )
        .await;
    let rows = i64::try_from(expected.len()).unwrap();
    assert!(read[0] < rows * 3, "{} were read of {rows}", read[0]);
}
