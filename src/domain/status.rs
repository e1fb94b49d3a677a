//! The verdicts of a connection's status.

use chrono::{DateTime, TimeDelta, Utc};

pub use super::source::SourceState;
use super::{
    ids::PullId,
    words::{words, words_of},
};

/// The text is no verdict of this kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no verdict of this kind")]
pub struct NoVerdict;

words!(
    /// Whether the vendor accepts the credential.
    CredentialState, NoVerdict {
        /// It did when it was last asked.
        Ok = "ok",
        /// It refuses it.
        Invalid = "invalid",
        /// It knows it, and has switched it off or does not let it read.
        Disabled = "disabled",
        /// It wants fewer requests, so it could not be asked.
        Throttled = "throttled",
        /// It could not be asked.
        Unreachable = "unreachable",
        /// It was not asked yet, or what it was asked says nothing of the credential.
        Unknown = "unknown",
    }
);

words_of!(SourceState, NoVerdict {
    Ok = "ok",
    Updating = "updating",
    WaitingUser = "waiting_user",
    LoginError = "login_error",
    Outdated = "outdated",
    ConsentExpired = "consent_expired",
    Gone = "gone",
    Unknown = "unknown",
});

words!(
    /// Whether the vendor's webhooks come in.
    WebhookState, NoVerdict {
        /// They do.
        Ok = "ok",
        /// None came for longer than is usual.
        Silent = "silent",
        /// None ever came.
        Never = "never",
        /// The last one was refused.
        Rejected = "rejected",
    }
);

words!(
    /// Whether the rows are what the vendor has.
    DataState, NoVerdict {
        /// They are.
        Fresh = "fresh",
        /// They were, a while ago.
        Stale = "stale",
        /// There was no pull yet.
        Never = "never",
        /// The last pull failed for good.
        Failing = "failing",
    }
);

impl SourceState {
    /// Whether rows can be read and will go on coming without the user doing something.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ok | Self::Updating | Self::Outdated)
    }
}

impl WebhookState {
    /// After so many days without a webhook something is wrong: every vendor that reads a bank daily has
    /// something to say in this time.
    pub const SILENCE_DAYS: i32 = 3;
}

impl DataState {
    /// Rows that were fresh for longer than this are stale: the calendar asks for a look a day.
    pub const STALE_AFTER: TimeDelta = TimeDelta::hours(36);
}

/// One verdict, and where it comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict<State> {
    /// The verdict.
    pub state: State,
    /// Why, as a stable word.
    pub reason: String,
    /// Since when it is this one.
    pub since: DateTime<Utc>,
}

/// What a look at the vendor says of one verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding<State> {
    /// The verdict.
    pub state: State,
    /// Why, as a stable word.
    pub reason: String,
}

impl<State> Finding<State> {
    /// A finding for this reason.
    pub fn new(state: State, reason: impl Into<String>) -> Self {
        Self {
            state,
            reason: reason.into(),
        }
    }

    /// Whether it says what is known already.
    #[must_use]
    pub fn is(&self, known: &Verdict<State>) -> bool
    where
        State: PartialEq,
    {
        self.state == known.state && self.reason == known.reason
    }
}

/// The status of a connection: four verdicts that do not follow from each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionStatus {
    /// Whether the vendor accepts the credential.
    pub credential: Verdict<CredentialState>,
    /// How the item or link does.
    pub source: Verdict<SourceState>,
    /// Whether webhooks come in.
    pub webhooks: WebhookStatus,
    /// Whether the rows are what the vendor has.
    pub data: DataStatus,
}

/// Whether webhooks come in, and when they did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookStatus {
    /// The verdict.
    pub verdict: Verdict<WebhookState>,
    /// When one was last accepted.
    pub last_accepted_at: Option<DateTime<Utc>>,
    /// When one was last refused although its token was good, because its source was not accepted.
    pub last_rejected_at: Option<DateTime<Utc>>,
}

/// Whether the rows are what the vendor has, and how it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataStatus {
    /// The verdict.
    pub verdict: Verdict<DataState>,
    /// When a pull last succeeded.
    pub last_success_at: Option<DateTime<Utc>>,
    /// The last pull that came to an end.
    pub last_pull: Option<PullId>,
    /// How many rows there are.
    pub transactions: u64,
    /// Changes that the last look without being told to found, and no webhook had announced.
    pub missed_by_webhooks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_read_back() {
        for state in CredentialState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        for state in SourceState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert_eq!("fine".parse::<SourceState>(), Err(NoVerdict));
    }
}
