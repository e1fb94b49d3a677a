//! Testing a connection live.

use std::time::Duration;

use super::{App, AppError, credentials::credential_binding};
use crate::{
    domain::{
        caller::Caller,
        connection::{AggregatorConnection, ConfigName},
        status::{CredentialState, Finding, SourceState},
        vendor::Vendor,
    },
    vendors::{Access, ErrorKind, VendorError, Verification},
};

/// How long a test may take in all.
const IN_ALL: Duration = Duration::from_secs(10);
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
        let aggregator = self.aggregator(vendor)?;
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let stored = tx
            .access_to_connection_named(vendor, name)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let connection = stored.connection;
        let now = self.0.parts.clock.now();
        if let Err(seconds) = tx.count_test(connection.id, now).await? {
            let wait = Duration::from_secs(seconds.unsigned_abs());
            return Err(AppError::TestedTooOften(wait));
        }
        // Nothing of the database is held while the vendor thinks.
        tx.commit().await?;

        let binding = credential_binding(caller.tenant, connection.id);
        let access = Access {
            base_url: connection.base_url.clone(),
            credential: self.0.parts.vault.open_credential(
                &stored.key,
                &binding,
                &stored.credential,
            )?,
            account_ref: connection.account_ref.clone(),
            patience: PATIENCE,
            call_timeout: CALL,
        };
        let verification = tokio::time::timeout(IN_ALL, aggregator.verify(&access))
            .await
            .unwrap_or_else(|_| Verification {
                credential: Err(
                    VendorError::new(vendor, ErrorKind::Unreachable).with_code("timeout")
                ),
                source: None,
            });
        let findings = Findings::of(&verification);
        self.record(caller, &connection, &findings).await?;
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
    /// speak of what it was.
    async fn record(
        &self,
        caller: &Caller,
        tested: &AggregatorConnection,
        findings: &Findings,
    ) -> Result<(), AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let current = tx.lock_aggregator_connection(tested.id).await?;
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
struct Findings {
    credential: Finding<CredentialState>,
    /// `None` leaves the verdict as it was: what could not be seen did not change.
    source: Option<Finding<SourceState>>,
    /// Whether the source was seen, and answered well.
    source_seen: bool,
}

impl Findings {
    fn of(verification: &Verification) -> Self {
        let source = match &verification.source {
            None => None,
            Some(Ok(report)) => Some(Finding::new(report.state, report.reason.clone())),
            Some(Err(error)) => source_finding(error),
        };
        let credential = match (&verification.credential, &verification.source) {
            (Err(error), _) => credential_finding(error),
            // Accepted a moment ago, and yet of no use.
            (Ok(()), Some(Err(error))) if error.kind == ErrorKind::NotAllowed => {
                credential_finding(error)
            }
            (Ok(()), _) => Finding::new(CredentialState::Ok, "accepted"),
        };
        Self {
            credential,
            source,
            source_seen: matches!(verification.source, Some(Ok(_))),
        }
    }

    fn healthy(&self) -> bool {
        self.credential.state == CredentialState::Ok
            && self.source_seen
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

/// What an error says of the item or link; most say nothing.
fn source_finding(error: &VendorError) -> Option<Finding<SourceState>> {
    let state = match error.kind {
        // What is no id at all names nothing either.
        ErrorKind::Gone | ErrorKind::WrongRequest => SourceState::Gone,
        ErrorKind::LoginRefused => SourceState::LoginError,
        ErrorKind::UserActionNeeded => SourceState::WaitingUser,
        ErrorKind::ConsentOver => SourceState::ConsentExpired,
        _ => return None,
    };
    Some(Finding::new(state, error.reason()))
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
