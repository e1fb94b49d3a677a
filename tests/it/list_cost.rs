//! A list costs what its page holds, wherever the page is.

use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::TestApp;

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
