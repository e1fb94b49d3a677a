//! What is known of a connection's health.

use chrono::{DateTime, TimeDelta, Utc};

use super::{App, AppError};
use crate::{
    domain::{
        caller::Caller,
        ids::ConnectionId,
        status::{
            ConnectionStatus, CredentialState, DataState, DataStatus, SourceState, Verdict,
            WebhookState, WebhookStatus,
        },
    },
    storage::{LastWebhooks, PullHistory, SourceVerdicts},
};

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
        let webhooks = tx.last_webhooks_of(id).await?;
        let pulls = tx.pull_history(id).await?;
        let transactions = tx.count_transactions(id).await?;
        Ok(ConnectionStatus {
            credential,
            source,
            webhooks: WebhookStatus {
                verdict: webhooks_verdict(born, &webhooks, now),
                last_accepted_at: webhooks.accepted_at,
                last_rejected_at: webhooks.refused_at,
            },
            data: DataStatus {
                verdict: data_verdict(born, &pulls, now),
                last_success_at: pulls.succeeded_at,
                last_pull: pulls.last,
                transactions,
                missed_by_webhooks: pulls.missed,
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

fn webhooks_verdict(
    born: DateTime<Utc>,
    last: &LastWebhooks,
    now: DateTime<Utc>,
) -> Verdict<WebhookState> {
    let silence = TimeDelta::days(WebhookState::SILENCE_DAYS.into());
    match (last.accepted_at, last.refused_at) {
        (accepted, Some(refused)) if accepted.is_none_or(|accepted| accepted < refused) => {
            let since = last.refused_since.unwrap_or(refused);
            verdict(WebhookState::Rejected, "source_not_accepted", since)
        }
        (Some(accepted), _) if now - accepted > silence => {
            verdict(WebhookState::Silent, "none_for_days", accepted + silence)
        }
        (Some(accepted), _) => {
            let since = last.accepted_since.unwrap_or(accepted);
            verdict(WebhookState::Ok, "accepted", since)
        }
        (None, _) => verdict(WebhookState::Never, "none_received", born),
    }
}

fn data_verdict(
    born: DateTime<Utc>,
    pulls: &PullHistory,
    now: DateTime<Utc>,
) -> Verdict<DataState> {
    if let Some(since) = pulls.failing_since {
        let reason = pulls.failing_class.as_deref().unwrap_or("pull_failed");
        return verdict(DataState::Failing, reason, since);
    }
    // What grows old while a pull is tried again and again does so for the reason that it fails for.
    let waits_for = pulls.waiting_class.as_deref();
    match pulls.succeeded_at {
        None => verdict(DataState::Never, waits_for.unwrap_or("no_pull_yet"), born),
        Some(at) if now - at > DataState::STALE_AFTER => {
            let reason = waits_for.unwrap_or("no_recent_pull");
            verdict(DataState::Stale, reason, at + DataState::STALE_AFTER)
        }
        Some(at) => verdict(DataState::Fresh, "pulled", pulls.fresh_since.unwrap_or(at)),
    }
}
