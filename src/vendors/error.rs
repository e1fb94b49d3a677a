//! What can go wrong at a vendor, and what is to be done about it.

use std::{fmt, time::Duration};

use super::budget::BudgetError;
use crate::{domain::vendor::Vendor, net::NetError};

/// What to do after an error. A property of the error's kind and of nothing else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// Try again when the vendor says; it told, or its published rule tells.
    RetryWhenTold,
    /// Try again later, each time after a longer while.
    RetryWithBackoff,
    /// Get a fresh key, once, and try again at once.
    RenewKey,
    /// Begin the listing anew: the place in it was lost.
    Restart,
    /// Only the user at the bank, or the operator, can mend it; then try again.
    NeedsUser,
    /// Trying again is useless.
    GiveUp,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $class:literal, $disposition:ident, $says:literal;)+) => {
        /// What went wrong, told apart by what it means for us.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum ErrorKind { $($(#[$doc])* $kind,)+ }

        impl ErrorKind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// A stable word for it, shown in status verdicts and failed pulls.
            #[must_use]
            pub fn class(self) -> &'static str {
                match self { $(Self::$kind => $class,)+ }
            }

            /// What to do after it.
            #[must_use]
            pub fn disposition(self) -> Disposition {
                match self { $(Self::$kind => Disposition::$disposition,)+ }
            }

            fn says(self) -> &'static str {
                match self { $(Self::$kind => $says,)+ }
            }
        }
    };
}

kinds! {
    /// The pair of client id and secret is wrong, or belongs to another environment.
    BadCredential => "bad_credential", GiveUp, "refuses the client id and secret";
    /// The pair is right, and the application behind it is switched off.
    Disabled => "client_disabled", GiveUp, "has disabled this client";
    /// The pair is right, but does not allow this.
    NotAllowed => "not_allowed", GiveUp, "does not allow this client to read that";
    /// The session key is no longer (or not yet) good.
    KeyExpired => "key_expired", RenewKey, "does not accept the session key";
    /// Too many requests.
    Throttled => "throttled", RetryWhenTold, "wants fewer requests";
    /// No answer: name, connection, TLS, time-out, reset.
    Unreachable => "unreachable", RetryWithBackoff, "can't be reached";
    /// The address that the host stands for may not be dialled.
    AddressRefused => "address_refused", GiveUp, "has an address that may not be called";
    /// The vendor failed.
    VendorFault => "vendor_fault", RetryWithBackoff, "failed to answer";
    /// The bank behind the vendor is not available, or the vendor is busy with it.
    BankUnavailable => "bank_unavailable", RetryWithBackoff, "can't reach the bank";
    /// The bank refused the login that the vendor has.
    LoginRefused => "login_refused", NeedsUser, "was refused by the bank; the user has to connect it again";
    /// The bank wants a code or an approval of its user.
    UserActionNeeded => "user_action_needed", NeedsUser, "waits for the user at the bank";
    /// The user's consent is over or was taken back.
    ConsentOver => "consent_over", NeedsUser, "no longer has the user's consent";
    /// There is no such item, link or account.
    Gone => "gone", GiveUp, "does not know what the account reference names";
    /// We asked for something wrong.
    WrongRequest => "wrong_request", GiveUp, "refuses the request as malformed";
    /// The endpoint was taken out of service.
    Retired => "endpoint_retired", GiveUp, "has retired the endpoint";
    /// The place in a listing is not known any more.
    BadCursor => "bad_cursor", Restart, "has lost the place in the listing";
    /// The answer is not what it should be: no JSON, the wrong shape, an error dressed as success.
    Malformed => "malformed_answer", RetryWithBackoff, "sent an answer that can't be read";
    /// The answer is bigger than any honest one.
    TooLarge => "answer_too_large", GiveUp, "sent an answer that is too large";
    /// A listing leads in circles.
    EndlessListing => "endless_listing", RetryWithBackoff, "sent a listing that leads in circles";
    /// A listing goes on somewhere else.
    ForeignLink => "foreign_link", GiveUp, "sent a listing that leads to another place";
    /// The answer is a redirect; none is followed.
    Redirected => "redirected", RetryWithBackoff, "redirects to another place, which is not followed";
    /// The sealed credential can't be opened any more.
    Unreadable => "credential_unreadable", GiveUp, "was not asked, because the credential can no longer be read; rotate it";
    /// Our own limiter could not be asked.
    LimiterUnavailable => "limiter_unavailable", RetryWithBackoff, "was not asked, because the rate limiter can't be reached";
}

/// A call to a vendor that did not work out.
///
/// It holds nothing of the request and nothing of the answer but the vendor's own code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VendorError {
    /// Who.
    pub vendor: Vendor,
    /// What went wrong.
    pub kind: ErrorKind,
    /// The vendor's own code for it, in a bounded form that is safe to show.
    pub code: Option<Code>,
    /// How long the vendor wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl VendorError {
    /// An error of which nothing else is known.
    #[must_use]
    pub fn new(vendor: Vendor, kind: ErrorKind) -> Self {
        Self {
            vendor,
            kind,
            code: None,
            retry_after: None,
        }
    }

    /// The same with the vendor's own code.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> Self {
        self.code = Code::of(code);
        self
    }

    /// Whether it says something of the credential, rather than of what was asked for with it.
    #[must_use]
    pub fn speaks_of_credential(&self) -> bool {
        !matches!(
            self.kind,
            ErrorKind::Gone
                | ErrorKind::LoginRefused
                | ErrorKind::UserActionNeeded
                | ErrorKind::ConsentOver
                | ErrorKind::BankUnavailable
        )
    }

    /// What to do about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        self.kind.disposition()
    }

    /// Whether asking again would change nothing, as long as nobody does anything about it.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.disposition(),
            Disposition::GiveUp | Disposition::NeedsUser
        )
    }

    /// The stable reason: the vendor's own code, else the class.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.code
            .as_ref()
            .map_or_else(|| self.kind.class(), Code::as_str)
    }

    pub(super) fn of_net(vendor: Vendor, error: &NetError) -> Self {
        let kind = match error {
            NetError::Refused { .. } => ErrorKind::AddressRefused,
            NetError::TooLarge { .. } => ErrorKind::TooLarge,
            NetError::InvalidUrl(_) | NetError::Setup(_) => ErrorKind::WrongRequest,
            // A secret that no header can carry is a secret that the vendor never issued.
            NetError::InvalidHeader(_) => ErrorKind::BadCredential,
            NetError::Connect(_)
            | NetError::Tls(_)
            | NetError::Timeout
            | NetError::Interrupted(_) => ErrorKind::Unreachable,
        };
        Self::new(vendor, kind).with_code(error.kind())
    }

    pub(super) fn of_budget(vendor: Vendor, error: &BudgetError) -> Self {
        match error {
            BudgetError::Spent(wait) => Self {
                retry_after: Some(*wait),
                ..Self::new(vendor, ErrorKind::Throttled).with_code("own_rate_limit")
            },
            BudgetError::Unavailable => Self::new(vendor, ErrorKind::LimiterUnavailable),
        }
    }
}

impl fmt::Display for VendorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.vendor, self.kind.says())?;
        if let Some(code) = &self.code {
            write!(f, " ({})", code.as_str())?;
        }
        Ok(())
    }
}

impl std::error::Error for VendorError {}

/// A vendor's own code: lower case, bounded, and of characters that are safe everywhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Code(String);

impl Code {
    const MAX_LENGTH: usize = 64;

    /// Takes a code as a vendor sent it, if it looks like one.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let fits = !text.is_empty() && text.len() <= Self::MAX_LENGTH && text.bytes().all(plain);
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_only_what_looks_like_one() {
        assert_eq!(
            Code::of("CLIENT_DISABLED").unwrap().as_str(),
            "client_disabled"
        );
        for text in ["", "two words", "<b>", "çode", &"x".repeat(65), "a\nb"] {
            assert_eq!(Code::of(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_class_is_a_word_of_its_own() {
        let mut classes: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.class()).collect();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn an_error_says_who_and_what_and_the_code() {
        let error = VendorError::new(Vendor::Pluggy, ErrorKind::BadCredential);
        assert_eq!(error.to_string(), "pluggy refuses the client id and secret");
        assert_eq!(error.reason(), "bad_credential");
        let error = error.with_code("CLIENT_KEYS_UNAUTHORIZED");
        assert_eq!(
            error.to_string(),
            "pluggy refuses the client id and secret (client_keys_unauthorized)"
        );
        assert_eq!(error.reason(), "client_keys_unauthorized");
    }
}
