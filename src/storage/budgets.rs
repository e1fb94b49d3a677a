//! `budgets`: the vendors' rate limits, kept by one clock for every process.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

use super::{StorageError, Store};

/// How fast calls may be made: a few at once, and then at a steady rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// The time that one call uses up.
    pub interval: Duration,
    /// How many calls may be made at once after a rest.
    pub full_burst: u32,
    /// How many of these this caller may make.
    pub burst: u32,
}

impl Store {
    /// Takes room for one call in a bucket. `Err` in the answer is how long to wait before asking
    /// again.
    ///
    /// The time is the database's, since it is the only clock that the processes share.
    pub async fn take_budget(
        &self,
        egress_group: &str,
        bucket: &str,
        pace: Pace,
    ) -> Result<Result<(), Duration>, StorageError> {
        let most_ahead = pace.interval * pace.burst;
        // One statement, so one round trip and a lock that is held for no longer than its commit.
        let row = sqlx::query!(
            r#"WITH taken AS (
                   INSERT INTO budgets AS b (egress_group, bucket, busy_until)
                   VALUES ($1, $2, clock_timestamp() + $3)
                   ON CONFLICT (egress_group, bucket) DO UPDATE
                   -- Further ahead than a full bucket is only what a clock that was set back left; what
                   -- was granted since is not known, so just one is.
                   SET busy_until = $3 + greatest(clock_timestamp(),
                           CASE WHEN b.busy_until > clock_timestamp() + $5
                                THEN clock_timestamp() + $5 - $3 ELSE b.busy_until END)
                   WHERE b.busy_until > clock_timestamp() + $5
                      OR greatest(b.busy_until, clock_timestamp()) + $3
                         <= clock_timestamp() + $4::interval
                   RETURNING 1 AS one
               )
               SELECT EXISTS (SELECT FROM taken) AS "taken!",
                      (SELECT 1000 * extract(epoch FROM busy_until + $3 - $4 - clock_timestamp())
                       FROM budgets WHERE egress_group = $1 AND bucket = $2)::bigint AS wait_ms"#,
            egress_group,
            bucket,
            interval(pace.interval),
            interval(most_ahead),
            interval(pace.interval * pace.full_burst),
        )
        .fetch_one(&self.budgets)
        .await?;
        if row.taken {
            return Ok(Ok(()));
        }
        // The row as it was before others took from it too, so the wait may be told too short.
        let wait = row.wait_ms.and_then(|ms| u64::try_from(ms).ok());
        Ok(Err(
            Duration::from_millis(wait.unwrap_or_default()).max(pace.interval)
        ))
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
