//! Asking for one answer: with what proof, how often, and what a refusal means.

use std::time::Duration;

use chrono::DateTime;
use tokio::time::{Instant, sleep};
use url::Url;
use zeroize::Zeroizing;

use super::json;
use crate::{
    connectors::ConnectorError,
    domain::rest::RestAuth,
    net::{
        Call, Client, HeaderMap, HeaderName, NetError, Request, Response, StatusCode,
        header::{AUTHORIZATION, DATE, RETRY_AFTER},
    },
};

/// How often one page is asked for at most.
const TRIES: u32 = 4;

/// How long to wait before asking again, when nobody says; each time twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait that the server may ask for and have at once. Nothing else is done meanwhile, so
/// that a longer one is left to whoever comes again later.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// An answer that is JSON, or nothing.
#[derive(Debug)]
pub(super) struct Answer {
    /// The document; `None` where the server says that there is no content.
    pub(super) document: Option<String>,
    pub(super) headers: HeaderMap,
}

/// Who asks, and until when.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) auth: RestAuth,
    pub(super) deadline: Instant,
}

/// Why there is no answer, and whether asking again may help.
#[derive(Debug, Eq, PartialEq)]
struct Refusal {
    error: ConnectorError,
    again: Again,
}

#[derive(Debug, Eq, PartialEq)]
enum Again {
    No,
    Soon,
    After(Duration),
}

impl From<ConnectorError> for Refusal {
    fn from(error: ConnectorError) -> Self {
        Self {
            error,
            again: Again::No,
        }
    }
}

impl Asker {
    /// Asks for a document.
    pub(super) async fn ask(&self, url: &Url) -> Result<Answer, ConnectorError> {
        let response = self.send(url).await?;
        let document = if response.status == StatusCode::NO_CONTENT {
            None
        } else {
            Some(json::document(response.body)?)
        };
        Ok(Answer {
            document,
            headers: response.headers,
        })
    }

    /// Asks until there is a good answer, or asking again is of no use.
    pub(super) async fn send(&self, url: &Url) -> Result<Response, ConnectorError> {
        let mut wait = FIRST_WAIT;
        for tried in 1.. {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ConnectorError::TimedOut);
            }
            let request = self.request(url.clone())?.timeout(left);
            let outcome = self
                .client
                .send(request)
                .await
                .map_err(|error| failed(&error));
            let refusal = match outcome.and_then(judged) {
                Ok(response) => return Ok(response),
                Err(refusal) => refusal,
            };
            let pause = match refusal.again {
                Again::Soon => wait,
                Again::After(told) if told > LONGEST_WAIT => return Err(ConnectorError::Throttled),
                Again::After(told) => told,
                Again::No => return Err(refusal.error),
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            if tried == TRIES || pause >= left {
                return Err(refusal.error);
            }
            sleep(pause).await;
            wait *= 2;
        }
        Err(ConnectorError::Unreachable)
    }

    fn request(&self, url: Url) -> Result<Request, ConnectorError> {
        let call = Call {
            peer: "rest-generic",
            name: "read",
        };
        let request = Request::get(call, url);
        match &self.auth {
            RestAuth::None => Ok(request),
            RestAuth::Bearer(token) => {
                let value = Zeroizing::new(format!("Bearer {}", token.expose()));
                request.secret_header(AUTHORIZATION, &value)
            }
            RestAuth::Basic { user, password } => {
                request.basic_auth(user.expose(), password.expose())
            }
            RestAuth::Header { name, value } => {
                let name =
                    HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConnectorError::Refused)?;
                request.secret_header(name, value.expose())
            }
        }
        .map_err(|_| ConnectorError::Refused)
    }
}

/// What a failed exchange means.
fn failed(error: &NetError) -> Refusal {
    let soon = |error| Refusal {
        error,
        again: Again::Soon,
    };
    match error {
        NetError::Connect(_) | NetError::Interrupted(_) => soon(ConnectorError::Unreachable),
        NetError::Timeout => soon(ConnectorError::TimedOut),
        NetError::Tls(_) => ConnectorError::Tls.into(),
        NetError::TooLarge { .. } => ConnectorError::TooLarge.into(),
        NetError::Refused { .. } => ConnectorError::HostNotAllowed.into(),
        NetError::InvalidUrl(_) | NetError::InvalidHeader(_) => ConnectorError::Refused.into(),
        NetError::Setup(_) => ConnectorError::Unreachable.into(),
    }
}

/// What a status means.
fn judged(response: Response) -> Result<Response, Refusal> {
    let passing = |error| Refusal {
        error,
        again: told_wait(&response.headers).map_or(Again::Soon, Again::After),
    };
    Err(match response.status {
        status if status.is_success() => return Ok(response),
        StatusCode::UNAUTHORIZED => ConnectorError::LoginRefused.into(),
        StatusCode::FORBIDDEN => ConnectorError::NotPermitted.into(),
        StatusCode::NOT_FOUND | StatusCode::GONE => ConnectorError::NoSuchPlace.into(),
        StatusCode::TOO_MANY_REQUESTS => passing(ConnectorError::Throttled),
        StatusCode::REQUEST_TIMEOUT => passing(ConnectorError::TimedOut),
        status if status.is_server_error() => passing(ConnectorError::Unreachable),
        // Among them every redirect: the proof is for this server, and for no other.
        _ => ConnectorError::Refused.into(),
    })
}

/// How long the server wants to be left alone. A point in time is measured by the server's own
/// clock.
fn told_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let told = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = told.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let instant = |text| DateTime::parse_from_rfc2822(text).ok();
    let pause = instant(told)? - instant(text(DATE)?)?;
    Some(pause.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::HeaderValue;

    fn answer(status: u16, headers: &[(HeaderName, &'static str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: Vec::new(),
        }
    }

    fn refusal(status: u16, headers: &[(HeaderName, &'static str)]) -> (ConnectorError, Again) {
        let refusal = judged(answer(status, headers)).expect_err("a refusal");
        (refusal.error, refusal.again)
    }

    #[test]
    fn each_status_has_its_meaning() {
        for status in [200, 203, 204, 206] {
            assert!(judged(answer(status, &[])).is_ok(), "{status}");
        }
        for (status, error) in [
            (401, ConnectorError::LoginRefused),
            (403, ConnectorError::NotPermitted),
            (404, ConnectorError::NoSuchPlace),
            (410, ConnectorError::NoSuchPlace),
            (301, ConnectorError::Refused),
            (302, ConnectorError::Refused),
            (304, ConnectorError::Refused),
            (307, ConnectorError::Refused),
            (400, ConnectorError::Refused),
            (407, ConnectorError::Refused),
            (451, ConnectorError::Refused),
        ] {
            assert_eq!(refusal(status, &[]), (error, Again::No), "{status}");
        }
        for (status, error) in [
            (408, ConnectorError::TimedOut),
            (429, ConnectorError::Throttled),
            (500, ConnectorError::Unreachable),
            (503, ConnectorError::Unreachable),
        ] {
            assert_eq!(refusal(status, &[]), (error, Again::Soon), "{status}");
        }
    }

    #[test]
    fn a_server_says_how_long_to_wait_in_seconds_or_by_its_clock() {
        let wait = |headers: &[(HeaderName, &'static str)]| refusal(429, headers).1;
        let seconds = |seconds| Again::After(Duration::from_secs(seconds));
        assert_eq!(wait(&[(RETRY_AFTER, "120")]), seconds(120));
        assert_eq!(wait(&[(RETRY_AFTER, "0")]), seconds(0));
        let date = (DATE, "Wed, 21 Oct 2015 07:28:00 GMT");
        let later = (RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT");
        let sooner = (RETRY_AFTER, "Wed, 21 Oct 2015 07:27:30 GMT");
        assert_eq!(wait(&[date.clone(), later.clone()]), seconds(30));
        assert_eq!(wait(&[date, sooner]), seconds(0));
        assert_eq!(wait(&[later]), Again::Soon, "by which clock?");
        assert_eq!(wait(&[(RETRY_AFTER, "soon")]), Again::Soon);
        assert_eq!(wait(&[(RETRY_AFTER, "-1")]), Again::Soon);
    }
}
