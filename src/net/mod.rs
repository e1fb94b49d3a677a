//! The one HTTP client: bounded in time and size, and deaf to where others want to send it.
//!
//! - Connecting and the whole exchange each have a time limit.
//! - Redirects are answers like any other; nothing is followed.
//! - A body is read up to a cap, counted after decompression.
//! - The address that was checked is the address that is dialled, see `resolve`.
//! - The environment's proxies are ignored; one that is configured is used.
//! - What is traced is who was called, for what, with which outcome: never a header, a query or a
//!   body.

mod body;
mod error;
mod request;
mod resolve;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub use reqwest::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::Instant;
use tracing::{Instrument, Span, field};
use url::Url;

use self::resolve::{Guard, Resolver};
pub use self::{
    error::NetError,
    request::{Call, Request, Response},
};
use crate::domain::host_rule::HostOrNet;

/// The limits of a client.
#[derive(Clone)]
pub struct NetConfig {
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// How long a whole exchange may take, from the first look-up to the last byte of the body.
    pub total_timeout: Duration,
    /// How many bytes a body may have, after decompression.
    pub body_cap: usize,
    /// What may be dialled although it is not public.
    pub exemptions: Vec<HostOrNet>,
    /// The proxy that makes the connections. It then also resolves the names, so the check of
    /// resolved addresses becomes its duty; literal addresses are still checked here.
    pub proxy: Option<Url>,
}

impl fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The proxy's URL may hold a password.
        f.debug_struct("NetConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("body_cap", &self.body_cap)
            .field("exemptions", &self.exemptions)
            .field("proxy", &self.proxy.as_ref().and_then(Url::host_str))
            .finish()
    }
}

/// The client. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    guard: Arc<Guard>,
    total_timeout: Duration,
    body_cap: usize,
}

impl Client {
    /// Builds a client with these limits.
    #[expect(clippy::disallowed_methods, reason = "the one home of the HTTP client")]
    pub fn new(config: NetConfig) -> Result<Self, NetError> {
        let guard = Arc::new(Guard::new(config.exemptions));
        let proxy_host = config.proxy.as_ref().and_then(Url::host_str);
        let resolver = Resolver::new(Arc::clone(&guard), proxy_host);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(config.connect_timeout)
            .dns_resolver(resolver);
        if let Some(proxy) = config.proxy {
            // What runs on this machine is not reached through another one.
            let here = reqwest::NoProxy::from_string("localhost,127.0.0.0/8,::1");
            let proxy = reqwest::Proxy::all(proxy).map_err(NetError::setup)?;
            builder = builder.proxy(proxy.no_proxy(here));
        }
        Ok(Self {
            http: builder.build().map_err(NetError::setup)?,
            guard,
            total_timeout: config.total_timeout,
            body_cap: config.body_cap,
        })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        let span = tracing::info_span!(
            "net.request",
            peer = request.call.peer,
            call = request.call.name,
            status = field::Empty,
            error = field::Empty,
            duration_ms = field::Empty,
        );
        let started = Instant::now();
        let outcome = self.exchange(request).instrument(span.clone()).await;
        record(&span, started, &outcome);
        outcome
    }

    async fn exchange(&self, request: Request) -> Result<Response, NetError> {
        let host = self.guard.check(&request.url)?;
        let limit = request
            .timeout
            .map_or(self.total_timeout, |own| own.min(self.total_timeout));
        let cap = request
            .body_cap
            .map_or(self.body_cap, |own| own.min(self.body_cap));
        let mut builder = self
            .http
            .request(request.method, request.url)
            .headers(request.headers)
            .timeout(limit);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let answer = builder
            .send()
            .await
            .map_err(|error| NetError::of_send(error, host))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = body::read(answer, cap).await?;
        Ok(Response {
            status,
            headers,
            body,
        })
    }
}

fn record(span: &Span, started: Instant, outcome: &Result<Response, NetError>) {
    let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.record("duration_ms", elapsed);
    match outcome {
        Ok(response) => span.record("status", response.status.as_u16()),
        Err(error) => span.record("error", error.kind()),
    };
    span.in_scope(|| tracing::debug!("request finished"));
}
