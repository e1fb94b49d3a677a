//! The walls between tenants, each tried on its own.

use matcher_discovery::{
    domain::ids::TenantId,
    storage::{IsolationError, Store},
};
use serde_json::json;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::{
    api::aggregator_connections::{PATH, body, create},
    support::TestApp,
};

fn tenants() -> (TenantId, TenantId) {
    (
        TenantId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        TenantId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002)),
    )
}

async fn prove(store: &Store) -> Result<(), IsolationError> {
    let (one, other) = tenants();
    store.prove_isolation(one, other).await
}

#[tokio::test]
async fn another_tenant_gets_what_nobody_gets() {
    let app = TestApp::start().await;
    let path = create(&app.client(), "main").await;
    let other = app.other_tenant();
    let change = json!({"configName": "x", "baseUrl": "https://api.pluggy.ai", "accountRef": "x"});
    for answer in [
        other.get(&path).await,
        other.put(&path, &change).await,
        other.delete(&path).await,
    ] {
        answer.expect_problem(404, "MTCH-0201");
    }
    assert_eq!(other.get(PATH).await.expect(200)["items"], json!([]));
    // Names are a tenant's own.
    other.post(PATH, &body("main")).await.expect(201);
    app.client().get(&path).await.expect(200);
}

#[tokio::test]
async fn nothing_a_caller_sends_chooses_the_tenant() {
    let app = TestApp::start().await;
    let path = create(&app.client(), "main").await;
    let other = app.other_tenant();
    let mine = app.tenant.to_string();
    let request = other
        .request(axum::http::Method::GET, &path)
        .header("x-tenant-id", &mine)
        .header("x-tenant", &mine)
        .header("tenant_id", &mine)
        .body(axum::body::Body::empty());
    other
        .send(request.unwrap())
        .await
        .expect_problem(404, "MTCH-0201");
    other
        .get(&format!("{PATH}?tenant_id={mine}"))
        .await
        .expect_faults("MTCH-0001", &["query.tenant_id"]);
    let mut request = body("theirs");
    request["tenant_id"] = json!(mine);
    other
        .post(PATH, &request)
        .await
        .expect_faults("MTCH-0001", &["body.tenant_id"]);
}

#[tokio::test]
async fn a_transaction_sees_its_tenant_even_without_a_condition() {
    let app = TestApp::start().await;
    create(&app.client(), "mine").await;
    app.other_tenant()
        .post(PATH, &body("theirs"))
        .await
        .expect(201);

    let mut raw = app.connect_as("discovery_app").await;
    let count = "SELECT count(*) FROM connections";
    let (none,): (i64,) = query(&mut raw, count).await;
    assert_eq!(none, 0, "without a tenant there is nothing to see");

    let mut tx = raw.begin().await.unwrap();
    let set = format!("SET LOCAL app.tenant_id = '{}'", app.tenant);
    execute(&mut tx, &set).await.unwrap();
    let (one,): (i64,) = query(&mut tx, count).await;
    assert_eq!(one, 1);
    let update = execute(&mut tx, "UPDATE connections SET version = 99")
        .await
        .unwrap();
    assert_eq!(update, 1, "a careless update reaches one tenant");
    let theft = format!(
        "UPDATE connections SET tenant_id = '{}'",
        Uuid::from_u128(9)
    );
    assert!(
        execute(&mut tx, &theft).await.is_err(),
        "a row can't be given away"
    );
    drop(tx);

    // The setting ends with its transaction.
    let (none,): (i64,) = query(&mut raw, count).await;
    assert_eq!(none, 0);
}

#[tokio::test]
async fn the_app_role_can_neither_delete_history_nor_forge_it() {
    let app = TestApp::start().await;
    create(&app.client(), "mine").await;
    for statement in [
        "DELETE FROM audit_log",
        "UPDATE audit_log SET subject = 'somebody else'",
        "DELETE FROM connections",
        "DELETE FROM transactions",
        "DELETE FROM transaction_versions",
        "UPDATE transaction_versions SET pull_id = transaction_id",
        "UPDATE webhook_tokens SET token_hash = ''",
        "TRUNCATE connections CASCADE",
    ] {
        let mut raw = app.connect_as("discovery_app").await;
        let set = format!("SET app.tenant_id = '{}'", app.tenant);
        execute(&mut raw, &set).await.unwrap();
        let refused = execute(&mut raw, statement).await.unwrap_err();
        let code = refused
            .as_database_error()
            .unwrap()
            .code()
            .unwrap()
            .into_owned();
        assert_eq!(code, "42501", "{statement}");
    }
}

#[tokio::test]
async fn a_sound_database_passes_the_proof_and_keeps_no_trace_of_it() {
    let app = TestApp::start().await;
    prove(&app.store()).await.unwrap();
    let left: Vec<String> = app.column("SELECT ring_key_id FROM tenant_keys").await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn each_hole_in_the_wall_is_found_at_start() {
    for (hole, word) in [
        (
            "ALTER TABLE connections NO FORCE ROW LEVEL SECURITY",
            "connections",
        ),
        (
            "ALTER TABLE webhook_tokens DISABLE ROW LEVEL SECURITY",
            "webhook_tokens",
        ),
        (
            "CREATE POLICY oops ON connections TO discovery_app USING (true)",
            "connections",
        ),
        (
            "CREATE POLICY oops ON webhook_tokens USING (true)",
            "webhook_tokens",
        ),
        (
            "ALTER POLICY tenant_keys_tenant ON tenant_keys USING (true) WITH CHECK (true)",
            "tenant_keys",
        ),
        (
            // The policies still read well, but what they ask always says the same tenant.
            "CREATE OR REPLACE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE
             RETURN '01900000-0000-7000-8000-000000000001'::uuid",
            "sees a tenant's row",
        ),
        (
            "CREATE POLICY oops ON tenant_keys FOR INSERT TO discovery_app WITH CHECK (true)",
            "tenant_keys",
        ),
        (
            "CREATE TABLE added_later (tenant_id uuid PRIMARY KEY)",
            "added_later",
        ),
    ] {
        let app = TestApp::start().await;
        app.execute(hole).await;
        let error = prove(&app.store()).await.unwrap_err().to_string();
        assert!(error.contains(word), "{hole}: {error}");
    }
}

/// Every table with tenants' rows keeps the rules that the walls are made of.
#[tokio::test]
async fn every_tenant_table_keeps_the_rules() {
    let app = TestApp::start().await;
    let unruly: Vec<String> = app
        .column(
            "SELECT c.relname || ': ' || rule FROM pg_class c
             CROSS JOIN LATERAL (VALUES
                 ('has no tenant_id', EXISTS (
                     SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'
                       AND a.attnotnull AND a.atttypid = 'uuid'::regtype)),
                 ('row level security is off', c.relrowsecurity),
                 ('row level security is not forced', c.relforcerowsecurity),
                 ('has no tenant policy', EXISTS (
                     SELECT FROM pg_policy p WHERE p.polrelid = c.oid
                       AND 'discovery_app'::regrole = ANY (p.polroles)
                       AND pg_get_expr(p.polqual, p.polrelid) = '(tenant_id = current_tenant())'
                       AND pg_get_expr(p.polwithcheck, p.polrelid) = '(tenant_id = current_tenant())')),
                 ('has a policy for everybody', NOT EXISTS (
                     SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND 0 = ANY (p.polroles))),
                 ('has a second policy of the app role', (
                     SELECT count(*) = 1 FROM pg_policy p WHERE p.polrelid = c.oid
                       AND 'discovery_app'::regrole = ANY (p.polroles))),
                 ('the tenant is not first in the primary key', EXISTS (
                     SELECT FROM pg_index i JOIN pg_attribute a
                       ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                     WHERE i.indrelid = c.oid AND i.indisprimary AND a.attname = 'tenant_id')),
                 ('the tenant is not first in an index', NOT EXISTS (
                     SELECT FROM pg_index i JOIN pg_attribute a
                       ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                     WHERE i.indrelid = c.oid AND a.attname <> 'tenant_id'
                       AND i.indexrelid::regclass::text <> ALL (ARRAY[
                           'webhook_tokens_token_hash_idx',
                           'sweeps_due_at_idx']))),
                 ('has no comment', obj_description(c.oid, 'pg_class') IS NOT NULL),
                 ('a column has no comment', NOT EXISTS (
                     SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                       AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL))
             ) AS rules (rule, holds)
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
               AND c.relname NOT IN ('_sqlx_migrations', 'budgets') AND holds IS NOT TRUE
             ORDER BY 1",
        )
        .await;
    assert_eq!(unruly, [""; 0]);
}

/// Work that crosses tenants reaches the tables it needs and no others.
#[tokio::test]
async fn the_system_role_reaches_only_what_it_needs() {
    let app = TestApp::start().await;
    let granted: Vec<String> = app
        .column(
            "SELECT table_name || ' ' || string_agg(DISTINCT privilege_type, ',' ORDER BY privilege_type)
             FROM information_schema.role_column_grants WHERE grantee = 'discovery_system'
             GROUP BY table_name ORDER BY table_name",
        )
        .await;
    assert_eq!(
        granted,
        [
            "_sqlx_migrations SELECT",
            "audit_log SELECT",
            "budgets INSERT,SELECT,UPDATE",
            "connections SELECT",
            "deliveries INSERT,SELECT,UPDATE",
            "extractions SELECT,UPDATE",
            "pulls INSERT,SELECT,UPDATE",
            "removals SELECT",
            "sweeps SELECT,UPDATE",
            "tenant_keys SELECT,UPDATE",
            "webhook_tokens SELECT,UPDATE",
        ]
    );
}

async fn query<T>(connection: &mut sqlx::PgConnection, text: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "looks at the database from outside"
    )]
    sqlx::query_as(text).fetch_one(connection).await.unwrap()
}

async fn execute(connection: &mut sqlx::PgConnection, text: &str) -> Result<u64, sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned()))
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
}
