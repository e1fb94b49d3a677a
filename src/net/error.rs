//! Why an exchange failed, in classes that a caller can act on.

use std::{error::Error, io};

use reqwest::header::HeaderName;

use super::resolve::RefusedAddress;

/// An exchange that brought no complete answer.
///
/// Neither the text nor a source names the URL: its path and query may hold what must not be logged.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The URL cannot be requested at all.
    #[error("the URL cannot be requested: {0}")]
    InvalidUrl(&'static str),
    /// A header value holds characters that no header may hold.
    #[error("the value for the header `{0}` holds characters that no header may hold")]
    InvalidHeader(HeaderName),
    /// The host is, or resolves only to, an address that must not be dialled.
    #[error("{host} is refused: {reason}; only public addresses and listed hosts are dialled")]
    Refused {
        /// The host as the URL names it.
        host: String,
        /// What kind of address it is, or what else is wrong with it.
        reason: &'static str,
    },
    /// The name did not resolve, or nothing answered there.
    #[error("no connection could be made")]
    Connect(#[source] reqwest::Error),
    /// Something answered, but a trusted TLS session could not be agreed upon.
    #[error("no trusted TLS session could be agreed upon")]
    Tls(#[source] reqwest::Error),
    /// The time was up.
    #[error("the time limit passed before the answer was complete")]
    Timeout,
    /// The body is larger than the client takes.
    #[error("the answer's body is larger than {cap} bytes")]
    TooLarge {
        /// The cap that it passed.
        cap: usize,
    },
    /// The connection broke before the answer was complete, or what came was not HTTP.
    #[error("the connection broke, or spoke no HTTP, before the answer was complete")]
    Interrupted(#[source] reqwest::Error),
    /// The client itself could not be built.
    #[error("the HTTP client cannot be set up; are the system's root certificates installed?")]
    Setup(#[source] reqwest::Error),
}

impl NetError {
    /// The class, as a stable word for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidUrl(_) => "invalid_url",
            Self::InvalidHeader(_) => "invalid_header",
            Self::Refused { .. } => "refused",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Interrupted(_) => "interrupted",
            Self::Setup(_) => "setup",
        }
    }

    pub(super) fn setup(error: reqwest::Error) -> Self {
        Self::Setup(error.without_url())
    }

    /// Classifies a failure before the head of the answer was there.
    pub(super) fn of_send(error: reqwest::Error, host: String) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            return Self::Timeout;
        }
        if let Some(RefusedAddress(reason)) = find(&error) {
            return Self::Refused { host, reason };
        }
        if !error.is_connect() {
            return Self::Interrupted(error);
        }
        // TLS faults reach us as I/O errors of kinds that connecting by TCP never has.
        let tls =
            causes(&error)
                .filter_map(|cause| cause.downcast_ref())
                .any(|cause: &io::Error| {
                    matches!(
                        cause.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                    )
                });
        if tls {
            Self::Tls(error)
        } else {
            Self::Connect(error)
        }
    }

    /// Classifies a failure after the head of the answer was there.
    pub(super) fn of_body(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Interrupted(error)
        }
    }
}

/// The first error of type `E` among the causes of `error`.
fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Every cause of `error`, the nearest first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| next_cause(cause))
}

fn next_cause<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An I/O error passes over the error that it was made of; its `source` is that one's.
    match cause.downcast_ref().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => cause.source(),
    }
}
