//! The statement that writes any batch of deliveries.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{Error, PgConnection, error::DatabaseError, postgres::PgConnectOptions};
use uuid::Uuid;

use super::columns::Columns;
use crate::domain::{delivery::NewDelivery, ids, pull::PullReason, random::Random};

/// The identifiers of the deliveries that had not come in before.
pub(super) type Fresh = HashSet<Uuid>;

/// How the writer connects: on the role that crosses tenants, and with plans that stay good.
pub(super) fn connect_options(login: &PgConnectOptions) -> PgConnectOptions {
    login.clone().options([
        ("role", super::super::SYSTEM_ROLE),
        ("synchronous_commit", "on"),
        ("statement_timeout", "2s"),
        // Whoever holds a pull's row for longer must not hold up every tenant's webhooks: those that
        // ask for that pull are set aside, and the others are written without them.
        ("lock_timeout", "200ms"),
        // One plan of each statement for every batch, made when the tables may still be small. So it must not
        // depend on how full they are: look-ups by unique keys, joins of what is in memory by hash.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_indexonlyscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_nestloop", "off"),
        ("jit", "off"),
    ])
}

/// Writes deliveries and the pulls that they ask for, in the order of the steps below; those that
/// come twice in this batch are left out before.
///
/// 1. The waiting pull of each connection is locked. The lock is what keeps a worker from beginning
///    the pull before the deliveries that ask for it are there to be read. Nearly every pull has
///    nothing more to do for them than it had, and is not written again: under load that would be
///    a new version of the row for each webhook.
/// 2. Where no pull waits, or one has to do more than before, those deliveries are looked up, for
///    one that is known already asks for nothing.
/// 3. For what is left the missing pulls are made, and the others changed.
/// 4. The deliveries are written, where they are not known. Another process may have written the
///    same since this one began.
///
/// A key that expires is made of the event's words, which another event may repeat. So it only stands
/// for an event that was told before while the pull that follows that one has read nothing yet: then
/// reading once serves both. Else the delivery is taken as new, in the place of the one before, and
/// asks for a pull of its own. One that asks for none is noted again after an hour.
///
/// Locks are taken in one order, so two processes can't wait for each other in a circle; but where
/// one has just made a pull that the other did not see yet, they may, until the first gives up
/// waiting and tries again.
#[expect(
    clippy::too_many_lines,
    reason = "one statement, whose steps are read one after the other"
)]
pub(super) async fn write(
    connection: &mut PgConnection,
    deliveries: impl Iterator<Item = &NewDelivery>,
    random: &dyn Random,
) -> Result<Fresh, Error> {
    let rows = Columns::of(deliveries);
    // What the pulls are called that are made, if any are.
    let now = rows.received_at.first().copied().unwrap_or_default();
    let pulls = ids::uuids_at(now, random, rows.ids.len());
    let written = sqlx::query_scalar!(
        r#"WITH told AS MATERIALIZED (
               -- Unnested here and not in FROM, where each array would be put aside as a whole first.
               SELECT unnest($1::uuid[]) AS tenant_id, unnest($2::uuid[]) AS id,
                      unnest($3::uuid[]) AS connection_id, unnest($4::uuid[]) AS token_id,
                      unnest($5::text[]) AS event, unnest($6::text[]) AS event_key,
                      unnest($7::boolean[]) AS key_expires, unnest($8::bytea[]) AS body,
                      unnest($9::text[]) AS outcome, unnest($10::text[]) AS hint,
                      unnest($11::text[]) AS hint_account, unnest($12::timestamptz[]) AS hint_since,
                      unnest($13::text[]) AS hint_ids, unnest($14::uuid[]) AS pull_id,
                      unnest($15::timestamptz[]) AS received_at
           ),
           waiting AS MATERIALIZED (
               SELECT p.* FROM (
                   SELECT tenant_id, connection_id, min(received_at) AS received_at,
                          max(received_at) FILTER (WHERE hint IN ('full', 'window')) AS asked_at
                   FROM told WHERE outcome = 'queued'
                   GROUP BY tenant_id, connection_id
                   ORDER BY tenant_id, connection_id
               ) AS t CROSS JOIN LATERAL (
                   SELECT tenant_id, connection_id, id,
                          state = 'queued' AND due_at > t.received_at
                              OR hints_since > t.received_at
                              OR priority > $16::smallint
                              OR coalesce(asked_at < t.asked_at, false) AS grows
                   FROM pulls
                   WHERE tenant_id = t.tenant_id AND connection_id = t.connection_id
                     AND state IN ('queued', 'retrying')
                   FOR NO KEY UPDATE
               ) AS p
           ),
           fresh AS MATERIALIZED (
               SELECT t.*, p.id AS joined FROM told t
               LEFT JOIN waiting p
                 ON p.tenant_id = t.tenant_id AND p.connection_id = t.connection_id
                    AND t.outcome = 'queued' AND NOT p.grows
               WHERE p.id IS NOT NULL
                  OR NOT EXISTS (
                       SELECT FROM deliveries d
                       WHERE d.tenant_id = t.tenant_id AND d.id = t.id
                         AND NOT (t.key_expires AND CASE t.outcome
                              WHEN 'queued' THEN (
                                  SELECT k.state FROM pulls k
                                  WHERE k.tenant_id = d.tenant_id AND k.id = d.pull_id
                              ) IS DISTINCT FROM 'queued'
                              ELSE d.received_at <= t.received_at - interval '1 hour' END))
           ),
           made AS (
               INSERT INTO pulls AS p
                   (tenant_id, id, connection_id, state, reason, priority, due_at, hints_since,
                    created_at, asked_at)
               SELECT tenant_id, (array_agg(pull_id))[1], connection_id, 'queued', 'webhook',
                      $16::smallint, min(received_at), min(received_at), min(received_at),
                      coalesce(max(received_at) FILTER (WHERE hint IN ('full', 'window')), 'epoch')
               FROM fresh WHERE outcome = 'queued' AND joined IS NULL
               GROUP BY tenant_id, connection_id
               ORDER BY tenant_id, connection_id
               ON CONFLICT (tenant_id, connection_id) WHERE state IN ('queued', 'retrying')
               DO UPDATE SET
                   -- A pull that failed waits as long as it was told to, whatever comes in.
                   due_at = CASE p.state WHEN 'queued' THEN least(p.due_at, excluded.due_at)
                                         ELSE p.due_at END,
                   hints_since = least(p.hints_since, excluded.hints_since),
                   priority = least(p.priority, excluded.priority),
                   asked_at = greatest(p.asked_at, excluded.asked_at)
               RETURNING p.tenant_id, p.connection_id, p.id
           ),
           written AS (
               INSERT INTO deliveries AS d
                   (tenant_id, id, connection_id, token_id, event, event_key, key_expires, body,
                    outcome, hint, hint_account, hint_since, hint_ids, pull_id, received_at)
               SELECT f.tenant_id, f.id, f.connection_id, f.token_id, f.event, f.event_key,
                      f.key_expires, f.body, f.outcome, f.hint, f.hint_account, f.hint_since,
                      CASE WHEN f.hint_ids IS NOT NULL
                           THEN ARRAY(SELECT json_array_elements_text(f.hint_ids::json)) END,
                      CASE f.outcome WHEN 'queued' THEN coalesce(f.joined, p.id) END,
                      f.received_at
               FROM fresh f
               LEFT JOIN made p
                 ON p.tenant_id = f.tenant_id AND p.connection_id = f.connection_id
               ORDER BY f.tenant_id, f.id
               ON CONFLICT (tenant_id, id) DO UPDATE SET
                   token_id = excluded.token_id, event = excluded.event, body = excluded.body,
                   outcome = excluded.outcome, hint = excluded.hint,
                   hint_account = excluded.hint_account, hint_since = excluded.hint_since,
                   hint_ids = excluded.hint_ids, pull_id = excluded.pull_id,
                   received_at = excluded.received_at, heard_at = NULL
               -- Unless another process has just done the same: then both found one pull.
               WHERE excluded.key_expires
                 AND CASE excluded.outcome
                         WHEN 'queued' THEN d.pull_id IS DISTINCT FROM excluded.pull_id OR (
                             -- An attempt of it has read, and it is to read once more.
                             SELECT k.state FROM pulls k
                             WHERE k.tenant_id = d.tenant_id AND k.id = d.pull_id
                         -- One that runs was put back between the look and the write, or it would
                         -- not have been found to wait.
                         ) IN ('running', 'retrying')
                         ELSE d.received_at <= excluded.received_at - interval '1 hour' END
               RETURNING d.id
           ),
           -- Once for the whole batch, and only if somebody has something to do.
           rung AS MATERIALIZED (
               SELECT count(pg_notify('discovery_pulls', '')) AS times
               FROM (SELECT FROM made UNION ALL SELECT FROM waiting LIMIT 1) AS any_pull
           )
           SELECT id AS "id!" FROM written WHERE (SELECT times FROM rung) >= 0"#,
        &rows.tenants,
        &rows.ids,
        &rows.connections,
        &rows.tokens,
        &rows.events as &[&str],
        &rows.event_keys as &[&str],
        &rows.key_expires,
        &rows.bodies as &[&[u8]],
        &rows.outcomes as &[&str],
        &rows.hints as &[&str],
        &rows.hint_accounts as &[Option<&str>],
        &rows.hint_sinces as &[Option<DateTime<Utc>>],
        &rows.hint_ids as &[Option<String>],
        &pulls,
        &rows.received_at,
        PullReason::Webhook.priority()
    )
    .fetch_all(connection)
    .await?;
    Ok(written.into_iter().collect())
}

/// Of these deliveries, the connections whose waiting pull somebody else holds at this moment.
pub(super) async fn held(
    connection: &mut PgConnection,
    deliveries: impl Iterator<Item = &NewDelivery>,
) -> Result<HashSet<(Uuid, Uuid)>, Error> {
    let (tenants, connections): (Vec<Uuid>, Vec<Uuid>) = deliveries
        .map(|one| (one.tenant.0, one.connection.0))
        .unzip();
    let rows = sqlx::query!(
        r#"WITH asked AS MATERIALIZED (
               SELECT DISTINCT tenant_id, connection_id
               FROM unnest($1::uuid[], $2::uuid[]) AS a (tenant_id, connection_id)
           ),
           free AS MATERIALIZED (
               SELECT p.tenant_id, p.connection_id FROM pulls p
               JOIN asked a ON a.tenant_id = p.tenant_id AND a.connection_id = p.connection_id
               WHERE p.state IN ('queued', 'retrying')
               FOR NO KEY UPDATE OF p SKIP LOCKED
           )
           SELECT p.tenant_id AS "tenant_id!", p.connection_id AS "connection_id!" FROM pulls p
           JOIN asked a ON a.tenant_id = p.tenant_id AND a.connection_id = p.connection_id
           WHERE p.state IN ('queued', 'retrying')
           EXCEPT SELECT tenant_id, connection_id FROM free"#,
        &tenants,
        &connections
    )
    .fetch_all(connection)
    .await?;
    let held = rows.into_iter();
    Ok(held.map(|row| (row.tenant_id, row.connection_id)).collect())
}

/// Whether a lock was not granted in time.
pub(super) fn is_for_want_of_a_lock(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "55P03")
}

/// Whether a smaller batch may succeed: the trouble may be with one row.
pub(super) fn may_be_of_one_row(error: &Error) -> bool {
    let Some(code) = error.as_database_error().and_then(DatabaseError::code) else {
        return false;
    };
    // Values, constraints, transactions in each other's way, limits of size.
    ["22", "23", "40", "54"]
        .iter()
        .any(|class| code.starts_with(class))
}
