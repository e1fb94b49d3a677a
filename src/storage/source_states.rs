//! `source_states`: what looking at the vendor told of a connection.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{StorageError, TenantTx};
use crate::domain::{
    ids::ConnectionId,
    status::{CredentialState, Finding, SourceState, Verdict},
};

/// The verdicts that come from looking at the vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceVerdicts {
    /// Whether the vendor accepts the credential.
    pub credential: Verdict<CredentialState>,
    /// How the item or link does.
    pub source: Verdict<SourceState>,
}

struct Row {
    connection_id: Uuid,
    credential: String,
    credential_reason: String,
    credential_since: DateTime<Utc>,
    source: String,
    source_reason: String,
    source_since: DateTime<Utc>,
}

impl TryFrom<Row> for SourceVerdicts {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let inconsistent = |column| StorageError::Inconsistent {
            table: "source_states",
            column,
            id: row.connection_id,
        };
        Ok(Self {
            credential: Verdict {
                state: row
                    .credential
                    .parse()
                    .map_err(|_| inconsistent("credential"))?,
                reason: row.credential_reason,
                since: row.credential_since,
            },
            source: Verdict {
                state: row.source.parse().map_err(|_| inconsistent("source"))?,
                reason: row.source_reason,
                since: row.source_since,
            },
        })
    }
}

impl TenantTx {
    /// What is known of a connection; `None` if it was never looked at.
    pub async fn source_verdicts(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Option<SourceVerdicts>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT connection_id, credential, credential_reason, credential_since,
                    source, source_reason, source_since
             FROM source_states WHERE tenant_id = $1 AND connection_id = $2",
            self.tenant.0,
            connection.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// Counts one more test of a connection, if there were fewer than ten in the last minute;
    /// answers how many seconds are to wait otherwise.
    pub async fn count_test(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<Result<(), i64>, StorageError> {
        const MOST: i64 = 10;
        let minute = TimeDelta::minutes(1);
        let counted = sqlx::query!(
            "INSERT INTO source_states AS s
                 (tenant_id, connection_id, credential, credential_reason, credential_since,
                  source, source_reason, source_since, recent_tests)
             VALUES ($1, $2, 'unknown', 'not_checked_yet', $3, 'unknown', 'not_checked_yet', $3,
                     ARRAY[$3::timestamptz])
             ON CONFLICT (tenant_id, connection_id) DO UPDATE
             -- What is far ahead was written by a clock that has been set back since; what is a
             -- little ahead, by a request that was a little faster.
             SET recent_tests =
                     ARRAY(SELECT at FROM unnest(s.recent_tests) AS at WHERE at > $4 AND at < $6) || $3
             WHERE (SELECT count(*) FROM unnest(s.recent_tests) AS at WHERE at > $4 AND at < $6) < $5",
            self.tenant.0,
            connection.0,
            now,
            now - minute,
            MOST,
            now + minute
        )
        .execute(&mut *self.tx)
        .await?;
        if counted.rows_affected() == 1 {
            return Ok(Ok(()));
        }
        let oldest = sqlx::query_scalar!(
            "SELECT (SELECT min(at) FROM unnest(recent_tests) AS at WHERE at > $3 AND at < $4)
             FROM source_states WHERE tenant_id = $1 AND connection_id = $2",
            self.tenant.0,
            connection.0,
            now - minute,
            now + minute
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let free_at = oldest.map_or(now, |oldest| oldest + minute);
        Ok(Err((free_at - now).num_seconds() + 1))
    }

    /// Writes what a look at the vendor found; what is `None` stays as it was. A verdict that stays
    /// the same keeps the time since when it is.
    pub async fn record_findings(
        &mut self,
        connection: ConnectionId,
        credential: Option<&Finding<CredentialState>>,
        source: Option<&Finding<SourceState>>,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO source_states AS s
                 (tenant_id, connection_id, credential, credential_reason, credential_since,
                  source, source_reason, source_since)
             VALUES ($1, $2, coalesce($3, 'unknown'), coalesce($4, 'not_checked_yet'), $7,
                     coalesce($5, 'unknown'), coalesce($6, 'not_checked_yet'), $7)
             ON CONFLICT (tenant_id, connection_id) DO UPDATE SET
                 credential = coalesce($3, s.credential),
                 credential_reason = coalesce($4, s.credential_reason),
                 credential_since = CASE WHEN coalesce($3, s.credential) = s.credential
                                         THEN s.credential_since ELSE $7 END,
                 source = coalesce($5, s.source),
                 source_reason = coalesce($6, s.source_reason),
                 source_since = CASE WHEN coalesce($5, s.source) = s.source
                                     THEN s.source_since ELSE $7 END",
            self.tenant.0,
            connection.0,
            credential.map(|found| found.state.as_str()),
            credential.map(|found| found.reason.as_str()),
            source.map(|found| found.state.as_str()),
            source.map(|found| found.reason.as_str()),
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
