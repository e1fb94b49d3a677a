//! One client: a connection that is kept, and what is asked over it.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

use super::Failure;

/// One request, and what a good answer to it is.
#[derive(Clone)]
pub(crate) struct Step {
    pub(super) method: Method,
    pub(super) path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    pub(super) status: StatusCode,
    contains: &'static str,
}

impl Step {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            status: StatusCode::OK,
            contains: "",
        }
    }

    pub(crate) fn send(method: Method, path: impl Into<String>, body: &Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            method,
            headers: vec![(header::CONTENT_TYPE, json)],
            body: body.to_string().into(),
            ..Self::get(path)
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, Failure> {
        self.headers.push((name, value.parse()?));
        Ok(self)
    }

    /// Any other status, or a body without this text, ends the benchmark: a refusal would be quick.
    pub(crate) fn expect(mut self, status: StatusCode, contains: &'static str) -> Self {
        self.status = status;
        self.contains = contains;
        self
    }
}

/// One connection, kept open.
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    /// Moves the bytes, for as long as the line lives.
    _driver: JoinSet<()>,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            host: address.to_string().parse()?,
            _driver: driver,
        })
    }

    /// Asks once, and answers the body.
    pub(crate) async fn ask(&mut self, step: &Step) -> Result<Bytes, Failure> {
        let answer = self.send(step).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        if status != step.status || !text.contains(step.contains) {
            let (method, path) = (&step.method, &step.path);
            return Err(format!("{method} {path} was answered {status}: {text}").into());
        }
        Ok(body)
    }

    pub(super) async fn send(&mut self, step: &Step) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(&step.method)
            .uri(&*step.path)
            .header(header::HOST, &self.host)
            .body(Full::new(step.body.clone()))?;
        for (name, value) in &step.headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}
