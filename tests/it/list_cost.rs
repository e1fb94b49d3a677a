//! A list costs what its page holds, wherever the page is.

use sqlx::{AssertSqlSafe, Connection as _};

use crate::{
    rows::{fill, plan, sent_query},
    support::TestApp,
};

/// The list as the server asks for it, with a placeholder for the key the page begins behind.
const LIST: &str = "
    SELECT id, type, config_name, host, account_ref, version, created_at, updated_at
    FROM connections
    WHERE tenant_id = '{tenant}' AND kind = 'aggregator' AND deleted_at IS NULL
      AND (config_name, id) > ('{name}', '00000000-0000-0000-0000-000000000000') {filter}
    ORDER BY config_name ASC, id ASC LIMIT 201";

/// With 100,000 connections in one tenant, the last page is read from an index alone and touches
/// no more pages than the first one does, give or take the height of the tree.
#[tokio::test]
async fn the_last_page_of_many_is_read_like_the_first() {
    let app = TestApp::start().await;
    app.execute(&format!(
        // Flushed at commit, or the vacuum could not yet tell that everybody sees the rows.
        "SET synchronous_commit = on;
         INSERT INTO connections (tenant_id, id, kind, type, config_name, host, account_ref,
                                  credential, version, created_at, updated_at)
         SELECT tenant, gen_random_uuid(), 'aggregator',
                CASE n % 100 WHEN 0 THEN 'belvo' ELSE 'pluggy' END, 'c-' || lpad(n::text, 6, '0'),
                'https://api.pluggy.ai', 'item', '', 1, now(), now()
         FROM (VALUES ('{}'::uuid, 100000), ('{}'::uuid, 20000)) AS tenants (tenant, many),
              LATERAL generate_series(1, many) AS n",
        app.tenant,
        uuid::Uuid::from_u128(7),
    ))
    .await;
    app.execute("VACUUM ANALYZE connections").await;

    for (filter, index, last) in [
        ("", "connections_aggregators_idx", "c-099799"),
        (
            "AND type = 'belvo'",
            "connections_aggregators_by_vendor_idx",
            "c-079900",
        ),
    ] {
        let first = explain(&app, "", filter).await;
        let last = explain(&app, last, filter).await;
        for plan in [&first, &last] {
            // Below the limit and the policy's question whose transaction it is: one scan, no sort.
            let mut node = &plan["Plan"];
            let mut above = Vec::new();
            while let Some(below) = node.get("Plans") {
                above.push(node["Node Type"].as_str().unwrap());
                assert_eq!(below.as_array().unwrap().len(), 1, "{plan:#}");
                node = &below[0];
            }
            assert_eq!(above, ["Limit", "Result"], "{plan:#}");
            assert_eq!(node["Node Type"], "Index Only Scan", "{plan:#}");
            assert_eq!(node["Index Name"], index, "{plan:#}");
            assert_eq!(node["Heap Fetches"], 0, "{plan:#}");
            // Since version 18 the rows of a plan are an average, written with a fraction.
            let rows = node["Actual Rows"].to_string();
            assert_eq!(rows.split('.').next(), Some("201"), "{plan:#}");
            assert_eq!(node.get("Rows Removed by Filter"), None, "{plan:#}");
        }
        let pages = |plan: &serde_json::Value| {
            plan["Plan"]["Shared Hit Blocks"].as_u64().unwrap()
                + plan["Plan"]["Shared Read Blocks"].as_u64().unwrap()
        };
        assert!(
            pages(&last) <= pages(&first) + 3,
            "first {} pages, last {}",
            pages(&first),
            pages(&last)
        );
    }
}

async fn explain(app: &TestApp, name: &str, filter: &str) -> serde_json::Value {
    let mut connection = app.connect_as("discovery_app").await;
    let mut tx = connection.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET LOCAL app.tenant_id = '{}'",
        app.tenant
    )))
    .execute(&mut *tx)
    .await
    .unwrap();
    let text = LIST
        .replace("{tenant}", &app.tenant.to_string())
        .replace("{name}", name)
        .replace("{filter}", filter);
    #[expect(
        clippy::disallowed_methods,
        reason = "looks at the database from outside"
    )]
    let plan: serde_json::Value = sqlx::query_scalar(AssertSqlSafe(format!(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}"
    )))
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    plan[0].clone()
}

/// The last page of a tenant's transactions, of a connection's, and the end of the feed touch no more
/// pages than the first do.
#[tokio::test]
async fn the_last_of_many_transactions_are_read_like_the_first() {
    let app = TestApp::start().await;
    fill(&app, 100_000).await;
    app.execute("VACUUM ANALYZE transactions").await;
    let tenant = format!("'{}'", app.tenant);
    let no_filter = "NULL, NULL, NULL, NULL, 201";
    let last_id = format!("'{}'", uuid::Uuid::max());
    let accounts = ten_accounts();
    let [no_days, early, late] = ["NULL", "2025-01-02", "2025-12-30"].map(|day| ten_times(&day));
    let [first_ids, last_ids] = [uuid::Uuid::nil(), uuid::Uuid::max()].map(|id| ten_times(&id));
    let rows = ten_times(&201);
    let newest: Vec<String> = app
        .column("SELECT max(changed_xid::text) FROM transactions")
        .await;
    let newest = format!("'{}'", newest[0]);
    let near_the_end: Vec<String> = app
        .column("SELECT id::text FROM transactions ORDER BY id DESC OFFSET 50 LIMIT 1")
        .await;
    let near_the_end = format!("'{}'", near_the_end[0]);
    let nil = format!("'{}'", uuid::Uuid::nil());

    let tenants = sent_query("AND (civil_date, id) < ");
    let newest_first = sent_query("AND (t.civil_date, t.id) < ");
    let oldest_first = sent_query("AND (t.civil_date, t.id) > ");
    let changes = sent_query("(changed_xid, id) > ");
    for (query, index, first, last) in [
        (
            &tenants,
            "transactions_of_tenant_idx",
            vec![&*tenant, "NULL", &*last_id, no_filter],
            vec![&*tenant, "'2025-01-02'", &*last_id, no_filter],
        ),
        (
            &newest_first,
            "transactions_of_account_idx",
            vec![
                &*tenant,
                &*accounts,
                &*no_days,
                &*last_ids,
                &*rows,
                "NULL, NULL, NULL",
            ],
            vec![
                &*tenant,
                &*accounts,
                &*early,
                &*last_ids,
                &*rows,
                "NULL, NULL, NULL",
            ],
        ),
        (
            &oldest_first,
            "transactions_of_account_idx",
            vec![
                &*tenant,
                &*accounts,
                &*no_days,
                &*first_ids,
                &*rows,
                "NULL, NULL, NULL",
            ],
            vec![
                &*tenant,
                &*accounts,
                &*late,
                &*first_ids,
                &*rows,
                "NULL, NULL, NULL",
            ],
        ),
        (
            &changes,
            "transactions_changes_idx",
            vec![&*tenant, "'0'", &*nil, "'1000000000'", "201"],
            vec![&*tenant, &*newest, &*near_the_end, "'1000000000'", "201"],
        ),
    ] {
        let first = plan(&app, query, &first).await;
        let last = plan(&app, query, &last).await;
        for plan in [&first, &last] {
            assert!(plan.contains(&format!("using {index} on")), "{plan}");
        }
        assert!(
            pages(&last) <= pages(&first) + 20,
            "first:\n{first}\nlast:\n{last}"
        );
    }
}

/// So are the deliveries of a connection, though several came in at one instant, of which the index does not know the
/// order, and whatever the statistics say: a new connection is fuller than they know.
#[tokio::test]
async fn the_last_of_many_deliveries_are_read_like_the_first() {
    let app = TestApp::start().await;
    let connection = uuid::Uuid::from_u128(3);
    app.execute("ALTER TABLE deliveries SET (autovacuum_enabled = false); ANALYZE deliveries")
        .await;
    app.execute(&format!(
        "INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key, key_expires,
                                 body, outcome, hint, received_at)
         SELECT '{}', gen_random_uuid(), '{connection}', gen_random_uuid(), 'item/updated', n::text,
                false, '', 'ignored', 'nothing', '2025-01-01'::timestamptz + n / 3 * interval '1 minute'
         FROM generate_series(1, 100000) AS n",
        app.tenant,
    ))
    .await;
    let tenant = format!("'{}'", app.tenant);
    let connection = format!("'{connection}'");
    let [first_id, last_id] = [uuid::Uuid::nil(), uuid::Uuid::max()].map(|id| format!("'{id}'"));
    let before = "(received_at, id) < ($3, $4)";
    let after = "(received_at, id) > ($3, $4)";
    for statistics in ["of an empty table", "as they are"] {
        if statistics == "as they are" {
            app.execute("VACUUM ANALYZE deliveries").await;
        }
        for (query, place, rows) in [
            (before, &["'infinity'", &last_id, "201"][..], 201),
            (before, &["'2025-01-02'", &last_id, "201"], 201),
            (after, &["'-infinity'", &first_id, "201"], 201),
            (after, &["'2025-01-23'", &first_id, "201"], 201),
            ("ORDER BY received_at DESC LIMIT 1", &[], 1),
        ] {
            let arguments = [&[&*tenant, &*connection], place].concat();
            let plan = plan(&app, &sent_query(query), &arguments).await;
            // Since version 18 it has a fraction.
            let whole = plan.lines().next().unwrap().replace(".00 loops", " loops");
            assert!(
                plan.contains("deliveries_of_connection_idx on")
                    && pages(&plan) < 100
                    && whole.contains(&format!("rows={rows} loops=1")),
                "with statistics {statistics}:\n{plan}"
            );
        }
    }
}

/// Pending rows are found however many posted ones there are: of a tenant, and of accounts.
#[tokio::test]
async fn pending_rows_are_read_without_the_others() {
    let app = TestApp::start().await;
    fill(&app, 100_000).await;
    app.execute(
        "UPDATE transactions SET status = 'pending' WHERE vendor_id IN ('7-100000', '99999-100000')",
    )
    .await;
    app.execute("VACUUM ANALYZE transactions").await;
    let tenant = format!("'{}'", app.tenant);
    let last_id = format!("'{}'", uuid::Uuid::max());
    let accounts = ten_accounts();
    let (days, rows) = (ten_times(&"NULL"), ten_times(&201));
    let [first_ids, last_ids] = [uuid::Uuid::nil(), uuid::Uuid::max()].map(|id| ten_times(&id));

    for direction in ["NULL", "'debit'", "'credit'"] {
        let of_tenant = format!("NULL, NULL, 'pending', {direction}, 201");
        let of_accounts = format!("NULL, 'pending', {direction}");
        for (query, arguments, index) in [
            (
                "AND (civil_date, id) < ",
                vec![&*tenant, "NULL", &*last_id, &*of_tenant],
                "transactions_pending_of_tenant_idx",
            ),
            (
                "WHERE tenant_id = $1\n                 AND (civil_date, id) > ",
                vec![&*tenant, "'2025-01-01'", &*last_id, &*of_tenant],
                "transactions_pending_of_tenant_idx",
            ),
            (
                "AND (t.civil_date, t.id) < ",
                vec![
                    &*tenant,
                    &*accounts,
                    &*days,
                    &*last_ids,
                    &*rows,
                    &*of_accounts,
                ],
                "transactions_pending_of_account_idx",
            ),
            (
                "AND (t.civil_date, t.id) > ",
                vec![
                    &*tenant,
                    &*accounts,
                    &*days,
                    &*first_ids,
                    &*rows,
                    &*of_accounts,
                ],
                "transactions_pending_of_account_idx",
            ),
        ] {
            let plan = plan(&app, &sent_query(query), &arguments).await;
            assert!(plan.contains(&format!("using {index} on")), "{plan}");
            assert!(pages(&plan) <= 100, "{plan}");
        }
    }
}

/// The ten that the rows are of, as an array.
fn ten_accounts() -> String {
    let ids: Vec<String> = (0..10)
        .map(|number| uuid::Uuid::from_u128(number).to_string())
        .collect();
    format!("'{{{}}}'", ids.join(","))
}

/// The same for each of them.
fn ten_times(value: &impl ToString) -> String {
    format!("'{{{}}}'", vec![value.to_string(); 10].join(","))
}

/// How many pages the whole of a plan touched.
fn pages(plan: &str) -> u64 {
    let line = plan.lines().find(|line| line.contains("Buffers:")).unwrap();
    let counts = line
        .split(['=', ' '])
        .filter_map(|word| word.parse::<u64>().ok());
    counts.sum()
}
