//! Rows by the million, made in the database.

use super::{Failure, database::Database};

/// How many connections one statement fills.
const BATCH: u32 = 50;

/// Connections that are there already, with what was pulled through them.
pub(crate) struct Filling<'a> {
    /// Whose they are.
    pub(crate) tenant: &'a str,
    /// How many there are.
    pub(crate) connections: u32,
    /// How many accounts each has.
    pub(crate) accounts: u32,
    /// How many rows each account has.
    pub(crate) rows: u32,
    /// How many webhooks came in for each in the last month, with a pull for every one.
    pub(crate) webhooks: u32,
}

/// Fills the tables over two connections, and lets Postgres learn what is in them.
pub(crate) async fn fill(database: &mut Database, all: &[Filling<'_>]) -> Result<(), Failure> {
    let mut other = database.another().await?;
    let (one_half, other_half) = all.split_at(all.len() / 2);
    tokio::try_join!(
        fill_each(database, one_half),
        fill_each(&mut other, other_half)
    )?;
    settle(database).await
}

/// Leaves the tables as Postgres does by itself in a while: cleared of what is over, known, and on disk.
pub(crate) async fn settle(database: &mut Database) -> Result<(), Failure> {
    database.run("VACUUM (ANALYZE)").await?;
    database.run("CHECKPOINT").await
}

async fn fill_each(database: &mut Database, all: &[Filling<'_>]) -> Result<(), Failure> {
    for one in all {
        let mut first = 1;
        while first <= one.connections {
            let last = (first + BATCH - 1).min(one.connections);
            database.run(&statements(one, first, last)).await?;
            first = last + 1;
        }
    }
    Ok(())
}

/// A month of webhooks for a connection that is there, and of the pulls that they asked for.
pub(crate) fn month(tenant: &str, connection: &str, webhooks: u32) -> String {
    format!(
        "INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                            hints_since, created_at, started_at, finished_at)
         SELECT '{tenant}', id, {connection}, 'succeeded', 'webhook', 30, at, at, at, at, at, at
         FROM {MADE};
         INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key, key_expires,
                                 body, outcome, hint, hint_account, pull_id, received_at)
         SELECT '{tenant}', md5('delivery ' || id)::uuid, {connection}, md5('token ' || id)::uuid,
                'transactions/created', id::text, false, convert_to(repeat('x', 700), 'UTF8'), 'queued',
                'created', 'account', id, at
         FROM {MADE};",
        MADE = format_args!(
            "(SELECT md5('webhook ' || {connection} || ' ' || w)::uuid AS id,
                     now() - interval '30 days' * w / {webhooks} AS at
              FROM generate_series(1, {webhooks}) AS w) AS made"
        ),
    )
}

/// Identifiers are made of what they stand for; those of rows rise with time, as the server's do.
fn statements(filling: &Filling<'_>, first: u32, last: u32) -> String {
    let Filling {
        tenant,
        accounts,
        rows,
        webhooks,
        ..
    } = filling;
    let months: String = (first..=last)
        .filter(|_| *webhooks > 0)
        .map(|c| {
            let connection = format!("md5('connection {tenant} {c}')::uuid");
            month(tenant, &connection, *webhooks)
        })
        .collect();
    format!(
        "BEGIN;
         INSERT INTO connections (tenant_id, id, kind, type, config_name, host, account_ref,
                                  credential, version, created_at, updated_at)
         SELECT '{tenant}', md5('connection {tenant} ' || c)::uuid, 'aggregator', 'pluggy',
                'filled-' || lpad(c::text, 6, '0'), 'https://api.pluggy.ai', 'item-' || c, '\\x00', 1,
                now(), now()
         FROM generate_series({first}, {last}) AS c;
         INSERT INTO accounts (tenant_id, id, connection_id, vendor_id, type, first_seen_at, updated_at)
         SELECT '{tenant}', md5('account {tenant} ' || c || ' ' || a)::uuid,
                md5('connection {tenant} ' || c)::uuid, 'account-' || c || '-' || a, 'bank', now(), now()
         FROM generate_series({first}, {last}) AS c, generate_series(1, {accounts}) AS a;
         INSERT INTO cursors (tenant_id, connection_id, account_id, watermark, window_at, full_at)
         SELECT '{tenant}', md5('connection {tenant} ' || c)::uuid,
                md5('account {tenant} ' || c || ' ' || a)::uuid, now(), now(), now()
         FROM generate_series({first}, {last}) AS c, generate_series(1, {accounts}) AS a;
         INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                            created_at, started_at, finished_at)
         SELECT '{tenant}', md5('pull {tenant} ' || c)::uuid, md5('connection {tenant} ' || c)::uuid,
                'succeeded', 'initial', 20, now(), now(), now(), now(), now()
         FROM generate_series({first}, {last}) AS c;
         INSERT INTO transactions (tenant_id, connection_id, account_id, id, pull_id, date,
                                   first_seen_at, updated_at, civil_date, vendor_id, direction, status,
                                   amount, currency, description, details, content_hash)
         SELECT '{tenant}', md5('connection {tenant} ' || c)::uuid,
                md5('account {tenant} ' || c || ' ' || a)::uuid,
                (lpad(to_hex(1700000000000 + (c::bigint * {accounts} + a) * {rows} + r), 12, '0') || '7'
                 || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
                md5('pull {tenant} ' || c)::uuid, day, now(), now(), day::date, hash::uuid::text,
                'debit', 'posted', -(r * 37 % 5000) - 0.01, 'BRL', 'PIX ENVIADO À PADARIA',
                jsonb_build_object(
                    'category', 'Food and drinks', 'paymentMethod', 'PIX',
                    'counterparty', jsonb_build_object(
                        'name', 'Padaria', 'documentType', 'CNPJ', 'maskedDocument', '**********0100',
                        'bank', '00000000'),
                    'references', jsonb_build_object(
                        'bankId', 'TXN-' || lpad(r::text, 12, '0'), 'code', lpad(r::text, 6, '0'),
                        'payment', 'E0000000020260902031400000000001')),
                decode(hash, 'hex')
         FROM generate_series({first}, {last}) AS c, generate_series(1, {accounts}) AS a,
              generate_series(1, {rows}) AS r,
              LATERAL (SELECT md5('{tenant} ' || c || ' ' || a || ' ' || r) AS hash,
                              date_trunc('day', now()) - interval '1 minute' * (r * 480000 / {rows})
                                  AS day) AS made;
         {months}
         COMMIT"
    )
}
