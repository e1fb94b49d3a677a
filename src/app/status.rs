//! What is known of a connection's health.

use chrono::{DateTime, TimeDelta, Utc};

use super::{App, AppError};
use crate::{
    domain::{
        caller::Caller,
        ids::ConnectionId,
        pull::{Pull, PullState},
        status::{
            ConnectionStatus, CredentialState, DataState, DataStatus, SourceState, Verdict,
            WebhookState, WebhookStatus,
        },
    },
    storage::SourceVerdicts,
};

/// Every vendor that reads a bank daily has something to say in this time.
const SILENCE: TimeDelta = TimeDelta::days(3);
/// The calendar asks for a look a day; a little later something is wrong.
const STALE_AFTER: TimeDelta = TimeDelta::hours(36);

impl App {
    /// The four verdicts on a connection.
    pub async fn aggregator_connection_status(
        &self,
        caller: &Caller,
        id: ConnectionId,
    ) -> Result<ConnectionStatus, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx
            .aggregator_connection(id)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let born = connection.created_at;
        let SourceVerdicts { credential, source } =
            tx.source_verdicts(id)
                .await?
                .unwrap_or_else(|| SourceVerdicts {
                    credential: verdict(CredentialState::Unknown, "not_checked_yet", born),
                    source: verdict(SourceState::Unknown, "not_checked_yet", born),
                });
        let (accepted, rejected) = tx.last_webhooks_of(id).await?;
        let (ended, succeeded) = tx.last_pulls(id).await?;
        let transactions = tx.count_transactions(id).await?;
        Ok(ConnectionStatus {
            credential,
            source,
            webhooks: WebhookStatus {
                verdict: webhooks(born, accepted, rejected, now),
                last_accepted_at: accepted,
                last_rejected_at: rejected,
            },
            data: DataStatus {
                verdict: data(born, ended.as_ref(), succeeded.as_ref(), now),
                last_success_at: succeeded.as_ref().and_then(|pull| pull.finished_at),
                last_pull: ended.map(|pull| pull.id),
                transactions,
                missed_by_webhooks: succeeded.map_or(0, |pull| pull.progress.missed),
            },
        })
    }
}

fn verdict<State>(state: State, reason: &str, since: DateTime<Utc>) -> Verdict<State> {
    Verdict {
        state,
        reason: reason.to_owned(),
        since,
    }
}

fn webhooks(
    born: DateTime<Utc>,
    accepted: Option<DateTime<Utc>>,
    rejected: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Verdict<WebhookState> {
    match (accepted, rejected) {
        (_, Some(rejected)) if accepted.is_none_or(|accepted| accepted < rejected) => {
            verdict(WebhookState::Rejected, "source_not_accepted", rejected)
        }
        (Some(accepted), _) if now - accepted > SILENCE => {
            verdict(WebhookState::Silent, "none_for_days", accepted + SILENCE)
        }
        (Some(accepted), _) => verdict(WebhookState::Ok, "accepted", accepted),
        (None, _) => verdict(WebhookState::Never, "none_received", born),
    }
}

fn data(
    born: DateTime<Utc>,
    ended: Option<&Pull>,
    succeeded: Option<&Pull>,
    now: DateTime<Utc>,
) -> Verdict<DataState> {
    let finished = |pull: &Pull| pull.finished_at.unwrap_or(pull.created_at);
    if let Some(failed) = ended.filter(|pull| pull.state == PullState::Failed) {
        let reason = failed.failure.as_ref();
        let reason = reason.map_or("pull_failed", |failure| failure.class.as_str());
        return verdict(DataState::Failing, reason, finished(failed));
    }
    match succeeded.map(finished) {
        None => verdict(DataState::Never, "no_pull_yet", born),
        Some(at) if now - at > STALE_AFTER => {
            verdict(DataState::Stale, "no_recent_pull", at + STALE_AFTER)
        }
        Some(at) => verdict(DataState::Fresh, "pulled", at),
    }
}
