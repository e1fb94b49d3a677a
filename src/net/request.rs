//! What is asked, and what comes back.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::error::NetError;

/// What a request is for, in words that are safe to log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call {
    /// Who is called, such as a vendor's name.
    pub peer: &'static str,
    /// What for, such as `list_accounts`.
    pub name: &'static str,
}

/// A request that has not been sent yet.
pub struct Request {
    pub(super) call: Call,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    pub(super) timeout: Option<Duration>,
    pub(super) body_cap: Option<usize>,
}

impl Request {
    /// Asks for what is at `url`, preferably as JSON.
    #[must_use]
    pub fn get(call: Call, url: Url) -> Self {
        Self {
            call,
            method: Method::GET,
            url,
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
            body: None,
            timeout: None,
            body_cap: None,
        }
    }

    /// Posts a JSON document to `url`.
    #[must_use]
    pub fn post_json(call: Call, url: Url, body: &Value) -> Self {
        Self {
            method: Method::POST,
            body: Some(body.to_string().into_bytes()),
            ..Self::get(call, url)
        }
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets a header whose value must not be seen, such as an API key.
    pub fn secret_header(self, name: HeaderName, value: &str) -> Result<Self, NetError> {
        let mut value =
            HeaderValue::from_str(value).map_err(|_| NetError::InvalidHeader(name.clone()))?;
        value.set_sensitive(true);
        Ok(self.header(name, value))
    }

    /// Authenticates by HTTP Basic.
    pub fn basic_auth(self, user: &str, password: &str) -> Result<Self, NetError> {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.secret_header(AUTHORIZATION, &format!("Basic {pair}"))
    }

    /// Takes a smaller body than the client would.
    #[must_use]
    pub fn body_cap(mut self, bytes: usize) -> Self {
        self.body_cap = Some(bytes);
        self
    }

    /// Gives the exchange less time than the client would.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

/// An answer, read to its end.
pub struct Response {
    /// The status, of whatever class.
    pub status: StatusCode,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}
