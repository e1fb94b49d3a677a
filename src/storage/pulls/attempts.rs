//! What the one that runs a pull writes of it, for as long as the lease is its own.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx},
    HandOver, count,
};
use crate::domain::{
    ids::{ConnectionId, PullId},
    pull::{Progress, PullFailure, PullState},
    status::DataState,
};

/// What becomes of a pull whose attempt is over.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It came to its end.
    Succeeded,
    /// It is tried again at this instant.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// Why this attempt failed; `None` if it only stopped.
        failure: Option<PullFailure>,
        /// Whether the attempt counts against the most there may be.
        counts: bool,
    },
    /// It rests until somebody retries it.
    Failed(PullFailure),
    /// There is nothing to pull any more.
    Cancelled,
}

impl Ending {
    /// A word for the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retry { .. } => "retry",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Proves that whoever writes still is the one that runs the pull.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The pull.
    pub pull: PullId,
    /// The proof.
    pub token: Uuid,
}

impl TenantTx {
    /// Adds to the progress of a pull and keeps its lease; `false` if the lease is lost, and then
    /// nothing else of this transaction may be kept.
    pub async fn advance_pull(
        &mut self,
        lease: Lease,
        more: &Progress,
        lease_until: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE pulls SET
                 -- Each attempt lists them all.
                 accounts = greatest(accounts, $4), pages = pages + $5, seen = seen + $6,
                 inserted = inserted + $7, updated = updated + $8, unchanged = unchanged + $9,
                 deleted = deleted + $10, quarantined = quarantined + $11, missed = missed + $12,
                 lease_until = $13, unsettled = unsettled + $14
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.pull.0,
            lease.token,
            i32::try_from(more.accounts).unwrap_or(i32::MAX),
            count(more.pages),
            count(more.seen),
            count(more.inserted),
            count(more.updated),
            count(more.unchanged),
            count(more.deleted),
            count(more.quarantined),
            count(more.missed),
            lease_until,
            count(more.unsettled)
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends an attempt; `false` if the lease is lost, and then the pull is somebody else's.
    ///
    /// A pull that is to be tried again while another one waits already leaves its work to that one.
    pub async fn end_attempt(
        &mut self,
        lease: Lease,
        connection: ConnectionId,
        attempts: u32,
        ending: &Ending,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        if !self.hold_leased_pull(lease).await? {
            return Ok(false);
        }
        let joined;
        let (state, due_at, failure, counts) = match ending {
            Ending::Succeeded => (PullState::Succeeded, now, None, true),
            Ending::Retry {
                at,
                failure,
                counts,
            } => {
                let how = HandOver::ToWait {
                    until: *at,
                    attempts: if *counts { attempts } else { 0 },
                };
                let waiting = self
                    .hand_over_to_waiting(lease.pull, connection, how)
                    .await?;
                match waiting {
                    // Nothing failed for good, and whoever looks for this one is told where it went.
                    Some(waiting) => {
                        joined = PullFailure {
                            class: "joined".to_owned(),
                            message: format!("pull {waiting} does its work"),
                        };
                        (PullState::Cancelled, *at, Some(&joined), *counts)
                    }
                    None => (PullState::Retrying, *at, failure.as_ref(), *counts),
                }
            }
            // What it was asked for is not lost with it: the next one looks for what failed.
            Ending::Failed(failure) => (PullState::Failed, now, Some(failure), true),
            Ending::Cancelled => (PullState::Cancelled, now, None, true),
        };
        let finished = (state != PullState::Retrying).then_some(now);
        let done = sqlx::query!(
            "UPDATE pulls SET state = $4, due_at = $5, lease = NULL, lease_until = NULL,
                    error_class = $6, error_message = $7, finished_at = $8,
                    attempts = attempts - CASE WHEN $9 THEN 0 ELSE 1 END,
                    fresh_since = CASE WHEN $4 = 'succeeded' THEN coalesce((
                        SELECT CASE WHEN p.state = 'succeeded' AND p.finished_at >= $10
                                    THEN coalesce(p.fresh_since, p.finished_at) END
                        FROM pulls p
                        WHERE p.tenant_id = $1 AND p.connection_id = $11
                          AND p.state IN ('succeeded', 'failed')
                          AND (p.window_from IS NULL
                               OR p.error_class IS DISTINCT FROM 'wrong_request')
                        ORDER BY p.finished_at DESC, p.id DESC LIMIT 1), $8) END
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.pull.0,
            lease.token,
            state.as_str(),
            due_at,
            failure.map(|failure| failure.class.as_str()),
            failure.map(|failure| failure.message.as_str()),
            finished,
            counts,
            now - DataState::STALE_AFTER,
            connection.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
