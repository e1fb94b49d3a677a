//! Testing a connection live.

use std::time::Duration;

use tokio::time::Instant;

use super::{App, AppError, pull_run::LEASE};
use crate::{
    domain::{
        caller::Caller,
        connection::{AggregatorConnection, ConfigName},
        ids::TenantId,
        pull::Progress,
        status::{CredentialState, Finding, SourceState},
        vendor::Vendor,
    },
    storage::{Lease, SourceVerdicts},
    vendors::{Access, ErrorKind, VendorError, Verification, budget::Share},
};

/// How long the vendor may take in all: within the ten seconds that are promised there is also the
/// database to be asked.
const IN_ALL: Duration = Duration::from_millis(9_500);
/// How long one call of a test may wait for room in the vendor's rate limit.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one call of a test may take, so that two of them tell more than one that hangs.
const CALL: Duration = Duration::from_secs(4);

/// What a test says of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TestOutcome {
    /// Whether the credential is accepted and the item or link can be read and will go on being
    /// refreshed.
    pub healthy: bool,
}

impl App {
    /// Tests the connection of that name with its sealed credential. Whatever the vendor does is an
    /// outcome, not an error.
    pub async fn test_aggregator_connection(
        &self,
        caller: &Caller,
        vendor: Vendor,
        name: &ConfigName,
    ) -> Result<TestOutcome, AppError> {
        let deadline = Instant::now() + IN_ALL;
        let aggregator = self.aggregator(vendor)?;
        // All that it writes is the count of a minute.
        let mut tx = self.0.parts.store.begin_forgettable(caller.tenant).await?;
        let stored = tx
            .access_to_connection_named(vendor, name)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let connection = stored.connection.clone();
        let now = self.0.parts.clock.now();
        if let Err(seconds) = tx.count_test(connection.id, now).await? {
            let wait = Duration::from_secs(seconds.unsigned_abs());
            return Err(AppError::TestedTooOften(wait));
        }
        // Nothing of the database is held while the vendor thinks.
        tx.commit().await?;

        let verification = match self.access_to(caller.tenant, &stored)? {
            Ok(access) => {
                let limited = Access {
                    patience: PATIENCE,
                    call_timeout: CALL,
                    deadline: Some(deadline),
                    share: Share::Half,
                    ..access
                };
                aggregator.verify(&limited).await
            }
            Err(refused) => Verification {
                credential: Err(refused),
                source: None,
            },
        };
        let findings = Findings::of(&verification);
        if let Err(error) = self
            .record_findings(caller.tenant, &connection, &findings, None)
            .await
        {
            // What the vendor did is known all the same.
            tracing::warn!(%error, connection.id = %connection.id, "the verdicts could not be written");
        }
        let outcome = TestOutcome {
            healthy: findings.healthy(),
        };
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %connection.id,
            vendor = %vendor,
            healthy = outcome.healthy,
            credential = findings.credential.state.as_str(),
            credential.reason = findings.credential.reason,
            source = findings.source.as_ref().map(|found| found.state.as_str()),
            source.reason = findings.source.as_ref().map(|found| &*found.reason),
            "a connection was tested"
        );
        Ok(outcome)
    }

    /// Writes the verdicts down, unless the connection changed while it was looked at: then they
    /// speak of what it was. A pull proves by its lease that it still may.
    pub(super) async fn record_findings(
        &self,
        tenant: TenantId,
        tested: &AggregatorConnection,
        findings: &Findings,
        lease: Option<Lease>,
    ) -> Result<(), AppError> {
        let mut tx = self.0.parts.store.begin(tenant).await?;
        // What is known already need not be written, and mostly it is.
        let known = tx.source_verdicts(tested.id).await?;
        if known.is_some_and(|known| findings.are(&known)) {
            return Ok(());
        }
        // Held before the pull, as whoever deletes it does.
        let current = tx.lock_aggregator_connection(tested.id).await?;
        if let Some(lease) = lease {
            let until = self.0.parts.clock.now() + LEASE;
            let ours = tx.advance_pull(lease, &Progress::default(), until).await?;
            if !ours {
                return Ok(());
            }
        }
        if current.is_some_and(|current| current.version == tested.version) {
            tx.record_findings(
                tested.id,
                Some(&findings.credential),
                findings.source.as_ref(),
                self.0.parts.clock.now(),
            )
            .await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What a look at the vendor says of the verdicts.
#[derive(Debug)]
pub(super) struct Findings {
    credential: Finding<CredentialState>,
    /// `None` leaves the verdict as it was: the source was not asked.
    source: Option<Finding<SourceState>>,
}

impl Findings {
    pub(super) fn of(verification: &Verification) -> Self {
        let source = verification.source.as_ref().map(|seen| match seen {
            Ok(report) => Finding::new(report.state, report.reason.clone()),
            Err(error) => source_finding(error),
        });
        let credential = match (&verification.credential, &verification.source) {
            (Err(error), _) => credential_finding(error),
            // Accepted a moment ago, and yet of no use.
            (Ok(()), Some(Err(error)))
                if matches!(
                    error.kind,
                    ErrorKind::BadCredential | ErrorKind::Disabled | ErrorKind::NotAllowed
                ) =>
            {
                credential_finding(error)
            }
            (Ok(()), _) => Finding::new(CredentialState::Ok, "accepted"),
        };
        Self { credential, source }
    }

    /// Whether writing them down would change nothing.
    fn are(&self, known: &SourceVerdicts) -> bool {
        self.credential.is(&known.credential)
            && self
                .source
                .as_ref()
                .is_none_or(|found| found.is(&known.source))
    }

    fn healthy(&self) -> bool {
        self.credential.state == CredentialState::Ok
            && self
                .source
                .as_ref()
                .is_some_and(|found| found.state.is_usable())
    }
}

fn credential_finding(error: &VendorError) -> Finding<CredentialState> {
    let state = match error.kind {
        ErrorKind::BadCredential => CredentialState::Invalid,
        ErrorKind::Disabled | ErrorKind::NotAllowed => CredentialState::Disabled,
        ErrorKind::Throttled => CredentialState::Throttled,
        ErrorKind::Unreachable
        | ErrorKind::AddressRefused
        | ErrorKind::VendorFault
        | ErrorKind::BankUnavailable
        | ErrorKind::Redirected
        | ErrorKind::Malformed
        | ErrorKind::TooLarge
        | ErrorKind::Retired => CredentialState::Unreachable,
        _ => CredentialState::Unknown,
    };
    Finding::new(state, error.reason())
}

/// What an error says of the item or link; most say only why it could not be seen.
fn source_finding(error: &VendorError) -> Finding<SourceState> {
    let state = match error.kind {
        ErrorKind::Gone => SourceState::Gone,
        ErrorKind::LoginRefused => SourceState::LoginError,
        ErrorKind::UserActionNeeded => SourceState::WaitingUser,
        ErrorKind::ConsentOver => SourceState::ConsentExpired,
        _ => SourceState::Unknown,
    };
    Finding::new(state, error.reason())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::source::SourceReport;

    fn report(state: SourceState) -> SourceReport {
        SourceReport {
            state,
            reason: "told".to_owned(),
            transactions_current: true,
            last_synced_at: None,
        }
    }

    fn error(kind: ErrorKind) -> VendorError {
        VendorError::new(Vendor::Pluggy, kind)
    }

    #[test]
    fn every_error_of_the_credential_is_a_verdict_that_is_not_ok() {
        for kind in ErrorKind::ALL {
            let findings = Findings::of(&Verification {
                credential: Err(error(*kind)),
                source: None,
            });
            assert_ne!(findings.credential.state, CredentialState::Ok, "{kind:?}");
            assert_eq!(findings.credential.reason, kind.class());
            assert_eq!(findings.source, None, "{kind:?}: the source was not seen");
            assert!(!findings.healthy(), "{kind:?}");
        }
    }

    #[test]
    fn every_error_of_the_source_is_unhealthy() {
        for kind in ErrorKind::ALL {
            let findings = Findings::of(&Verification {
                credential: Ok(()),
                source: Some(Err(error(*kind))),
            });
            assert!(!findings.healthy(), "{kind:?}");
            let source = findings.source.unwrap();
            assert_eq!(source.reason, kind.class(), "the reason is kept");
            assert!(!source.state.is_usable(), "{kind:?}");
        }
    }

    #[test]
    fn only_a_source_that_goes_on_by_itself_is_healthy() {
        for (state, healthy) in [
            (SourceState::Ok, true),
            (SourceState::Updating, true),
            (SourceState::Outdated, true),
            (SourceState::WaitingUser, false),
            (SourceState::LoginError, false),
            (SourceState::ConsentExpired, false),
            (SourceState::Gone, false),
            (SourceState::Unknown, false),
        ] {
            let findings = Findings::of(&Verification {
                credential: Ok(()),
                source: Some(Ok(report(state))),
            });
            assert_eq!(findings.healthy(), healthy, "{state:?}");
            assert_eq!(findings.source.unwrap().state, state);
        }
    }
}
