//! The short way into the inbox, for a crowd: of many webhooks at once most may find a pull that waits and does what
//! they ask for anyway, and all that is left to do for them is to be written down.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{Error, PgConnection};
use uuid::Uuid;

use super::{columns::Columns, statement::Fresh};
use crate::domain::{
    delivery::{DeliveryOutcome, NewDelivery},
    pull::PullReason,
};

/// Whether the short way is worth trying.
#[derive(Debug, Default)]
pub(super) struct ShortWay {
    /// How many crowds are still to go the long way at once.
    detours: u32,
}

impl ShortWay {
    /// How many a crowd are. With fewer, a statement too many costs them more than a shorter one spares.
    const CROWD: usize = 16;
    /// Letting in so many spares what a second statement and commit for the others cost.
    const WORTH_IT: usize = 48;
    /// How many crowds are not let try after one that did not gain by it.
    const DETOURS: u32 = 16;

    /// Lets the `takers` among so many deliveries try it, or sends all of them the long way at once.
    pub(super) fn admits(&mut self, takers: usize, count: usize) -> bool {
        if takers < Self::CROWD || !Self::gains(takers, count) {
            return false;
        }
        let is_open = self.detours == 0;
        self.detours = self.detours.saturating_sub(1);
        is_open
    }

    /// Notes how many of those that tried were let in.
    pub(super) fn note(&mut self, let_in: usize, count: usize) {
        if !Self::gains(let_in, count) {
            self.detours = Self::DETOURS;
        }
    }

    fn gains(let_in: usize, count: usize) -> bool {
        let_in == count || let_in >= Self::WORTH_IT
    }
}

/// Whether a delivery may take the short way: a key that expires is judged on the long one only.
pub(super) fn may_take(delivery: &NewDelivery) -> bool {
    delivery.outcome == DeliveryOutcome::Queued && !delivery.key_expires
}

/// Writes those deliveries that are new and whose pull waits with nothing more to do for them; the others are not
/// written, and have to go the long way, that of `statement::write`. Where none is left, this one takes a fifth
/// less of the database's time.
///
/// Each such pull is locked, for the same reason as there. Where somebody holds one nobody waits: whatever
/// asks for it is left.
pub(super) async fn write(
    connection: &mut PgConnection,
    deliveries: impl Iterator<Item = &NewDelivery>,
) -> Result<Fresh, Error> {
    let rows = Columns::of(deliveries.filter(|one| may_take(one)));
    let demand = Demand::of(&rows);
    let written = sqlx::query_scalar!(
        r#"WITH waiting AS MATERIALIZED (
               SELECT a.place, p.id FROM (
                   SELECT unnest($1::uuid[]) AS tenant_id, unnest($2::uuid[]) AS connection_id,
                          unnest($3::timestamptz[]) AS received_at,
                          unnest($4::timestamptz[]) AS asked_at,
                          generate_series(0, cardinality($1::uuid[]) - 1) AS place
               ) AS a CROSS JOIN LATERAL (
                   SELECT id FROM pulls
                   WHERE tenant_id = a.tenant_id AND connection_id = a.connection_id
                     AND state IN ('queued', 'retrying')
                     AND NOT (state = 'queued' AND due_at > a.received_at)
                     AND hints_since <= a.received_at
                     AND priority <= $5::smallint
                     AND coalesce(asked_at >= a.asked_at, true)
                   FOR NO KEY UPDATE SKIP LOCKED
               ) AS p
           ),
           written AS (
               INSERT INTO deliveries
                   (tenant_id, id, connection_id, token_id, event, event_key, key_expires, body,
                    outcome, hint, hint_account, hint_since, hint_ids, pull_id, received_at)
               SELECT t.tenant_id, t.id, t.connection_id, t.token_id, t.event, t.event_key,
                      false, t.body, 'queued', t.hint, t.hint_account, t.hint_since,
                      CASE WHEN t.hint_ids IS NOT NULL
                           THEN ARRAY(SELECT json_array_elements_text(t.hint_ids::json)) END,
                      w.id, t.received_at
               FROM (
                   SELECT unnest($6::uuid[]) AS tenant_id, unnest($7::uuid[]) AS id,
                          unnest($8::uuid[]) AS connection_id, unnest($9::uuid[]) AS token_id,
                          unnest($10::text[]) AS event, unnest($11::text[]) AS event_key,
                          unnest($12::bytea[]) AS body, unnest($13::text[]) AS hint,
                          unnest($14::text[]) AS hint_account,
                          unnest($15::timestamptz[]) AS hint_since,
                          unnest($16::text[]) AS hint_ids,
                          unnest($17::timestamptz[]) AS received_at,
                          unnest($18::integer[]) AS place
               ) AS t
               JOIN waiting w ON w.place = t.place
               ON CONFLICT (tenant_id, id) DO NOTHING
               RETURNING id
           ),
           -- A worker that looked for work meanwhile passed by those that are locked.
           rung AS MATERIALIZED (
               SELECT count(pg_notify('discovery_pulls', '')) AS times
               FROM (SELECT FROM waiting LIMIT 1) AS any_pull
           )
           SELECT id AS "id!" FROM written WHERE (SELECT times FROM rung) >= 0"#,
        &demand.tenants,
        &demand.connections,
        &demand.received_at,
        &demand.asked_at as &[Option<DateTime<Utc>>],
        PullReason::Webhook.priority(),
        &rows.tenants,
        &rows.ids,
        &rows.connections,
        &rows.tokens,
        &rows.events as &[&str],
        &rows.event_keys as &[&str],
        &rows.bodies as &[&[u8]],
        &rows.hints as &[&str],
        &rows.hint_accounts as &[Option<&str>],
        &rows.hint_sinces as &[Option<DateTime<Utc>>],
        &rows.hint_ids as &[Option<String>],
        &rows.received_at,
        &demand.places
    )
    .fetch_all(connection)
    .await?;
    Ok(written.into_iter().collect())
}

/// The connections that deliveries are of, each once, as columns.
#[derive(Default)]
struct Demand {
    tenants: Vec<Uuid>,
    connections: Vec<Uuid>,
    /// When the first of a connection's came in.
    received_at: Vec<DateTime<Utc>>,
    /// When the last came in that asks for all there is, or for a stretch of it.
    asked_at: Vec<Option<DateTime<Utc>>>,
    /// Of each delivery, where in this its connection stands.
    places: Vec<i32>,
}

impl Demand {
    fn of(rows: &Columns<'_>) -> Self {
        let keys = || rows.tenants.iter().zip(&rows.connections);
        let mut each: BTreeMap<(&Uuid, &Uuid), One> = BTreeMap::new();
        for ((key, hint), &at) in keys().zip(&rows.hints).zip(&rows.received_at) {
            let one = each.entry(key).or_insert(One {
                place: 0,
                received_at: at,
                asked_at: None,
            });
            one.received_at = one.received_at.min(at);
            if matches!(*hint, "full" | "window") {
                one.asked_at = one.asked_at.max(Some(at));
            }
        }
        let mut demand = Self::default();
        for (((tenant, connection), one), place) in each.iter_mut().zip(0..) {
            one.place = place;
            demand.tenants.push(**tenant);
            demand.connections.push(**connection);
            demand.received_at.push(one.received_at);
            demand.asked_at.push(one.asked_at);
        }
        demand.places = keys().map(|key| each[&key].place).collect();
        demand
    }
}

/// What is asked of a connection's pull.
struct One {
    place: i32,
    received_at: DateTime<Utc>,
    asked_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::{
        delivery::DeliveryId,
        event::Hint,
        ids::{ConnectionId, TenantId, WebhookTokenId},
    };

    /// Of a connection; tenants may have some by the same name.
    fn told((tenant, connection): (u128, u128), seconds: i64, hint: Hint) -> NewDelivery {
        NewDelivery {
            tenant: TenantId(Uuid::from_u128(tenant)),
            id: DeliveryId(Uuid::from_u128(
                connection << 64 | u128::from(seconds.unsigned_abs()),
            )),
            connection: ConnectionId(Uuid::from_u128(connection)),
            token: WebhookTokenId(Uuid::nil()),
            event: "item/updated".to_owned(),
            event_key: String::new(),
            key_expires: false,
            body: Vec::new(),
            outcome: DeliveryOutcome::Queued,
            hint,
            received_at: at(seconds),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn a_connection_demands_what_its_deliveries_ask_for_together() {
        let (one, two, other) = ((1, 1), (1, 2), (2, 1));
        let crowd = [
            told(two, 5, Hint::Source),
            told(one, 4, Hint::Window),
            told(one, 9, Hint::Full),
            told(one, 7, Hint::Full),
            told(two, 3, Hint::Source),
            told(one, 12, Hint::Source),
            told(other, 6, Hint::Window),
        ];
        let demand = Demand::of(&Columns::of(crowd.iter()));
        assert_eq!(demand.tenants, [1, 1, 2].map(Uuid::from_u128));
        assert_eq!(demand.connections, [1, 2, 1].map(Uuid::from_u128));
        assert_eq!(demand.received_at, [at(4), at(3), at(6)]);
        assert_eq!(demand.asked_at, [Some(at(9)), None, Some(at(6))]);
        assert_eq!(demand.places, [1, 0, 0, 0, 1, 0, 2]);
    }

    #[test]
    fn few_go_the_long_way() {
        let mut way = ShortWay::default();
        assert!(!way.admits(1, 1));
        assert!(!way.admits(15, 15));
        assert!(way.admits(16, 16));
    }

    #[test]
    fn those_who_may_not_take_it_need_many_who_do() {
        let mut way = ShortWay::default();
        assert!(!way.admits(47, 48));
        assert!(way.admits(48, 49));
    }

    #[test]
    fn a_way_that_was_taken_in_vain_is_left_alone_for_a_while() {
        let mut way = ShortWay::default();
        way.note(20, 20);
        assert!(way.admits(40, 40), "nobody was left");
        way.note(48, 90);
        assert!(way.admits(40, 40), "enough of them were let in");
        way.note(39, 40);
        for _ in 0..16 {
            assert!(!way.admits(40, 40));
            assert!(!way.admits(1, 1));
        }
        assert!(way.admits(40, 40));
    }
}
