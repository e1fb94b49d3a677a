//! Faults, as they look on the wire.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Response, StatusCode},
};
use futures_util::{Stream, stream};
use serde_json::{Value, json};

use super::{
    exchange::Answer,
    faults::Fault,
    limits::{forbidden, too_many},
};

/// How much of an oversized body is sent at once.
const BLOCK: usize = 64 * 1024;

/// What a fault makes of a call.
#[derive(Debug)]
pub(super) enum Course {
    /// The vendor is not asked: this is said instead.
    Instead(Response<Body>),
    /// Nothing is ever said.
    Silence,
    /// The vendor is asked once the faults are lifted.
    Held,
    /// The connection is reset.
    Reset,
    /// The vendor is asked after a while, and what it says is told in this manner.
    Asked(Duration, Manner),
}

/// How an answer is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    Whole,
    Truncated,
    Cut,
    Latin,
    Dripping(usize, Duration),
}

impl Fault {
    pub(super) fn course(self) -> Course {
        let asked = |manner| Course::Asked(Duration::ZERO, manner);
        Course::Instead(match self {
            Self::Answer {
                status,
                body,
                headers,
            } => {
                let mut response = whole(said(status, &body));
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (
                        HeaderName::from_bytes(name.as_bytes()),
                        HeaderValue::from_str(&value),
                    ) {
                        response.headers_mut().insert(name, value);
                    }
                }
                response
            }
            Self::Forbidden => whole(forbidden()),
            Self::TooMany { reset } => whole(too_many(360, reset)),
            Self::Unavailable { status } => whole(said(
                status,
                &json!({ "code": status, "message": "Internal Server Error" }),
            )),
            Self::Oversize { megabytes } => oversized(megabytes),
            Self::Redirect { location, status } => {
                let mut response = whole(said(status, &Value::Null));
                if let Ok(location) = HeaderValue::from_str(&location) {
                    response.headers_mut().insert("location", location);
                }
                response
            }
            Self::Html => whole(Answer {
                status: 200,
                headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
                body: b"<!doctype html><title>Maintenance</title><h1>We'll be back</h1>".to_vec(),
                notices: Vec::new(),
            }),
            Self::ErrorInside { body } if body.is_null() => whole(said(
                200,
                &json!({ "error": { "code": "INTERNAL_ERROR", "message": "Something broke" } }),
            )),
            Self::ErrorInside { body } => whole(said(200, &body)),
            Self::Hang => return Course::Silence,
            Self::Hold => return Course::Held,
            Self::Reset => return Course::Reset,
            Self::Delay { millis } => {
                return Course::Asked(Duration::from_millis(millis), Manner::Whole);
            }
            Self::Truncate => return asked(Manner::Truncated),
            Self::Cut => return asked(Manner::Cut),
            Self::Charset => return asked(Manner::Latin),
            Self::Drip { bytes, millis } => {
                return asked(Manner::Dripping(
                    bytes.max(1),
                    Duration::from_millis(millis),
                ));
            }
        })
    }
}

fn said(status: u16, body: &Value) -> Answer {
    match body {
        Value::String(text) => Answer {
            status,
            headers: vec![("content-type", "text/plain".to_owned())],
            body: text.clone().into_bytes(),
            notices: Vec::new(),
        },
        Value::Null => Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            notices: Vec::new(),
        },
        body => Answer::json(status, body),
    }
}

impl Manner {
    pub(super) fn tell(self, answer: Answer) -> Response<Body> {
        let half = answer
            .body
            .get(..answer.body.len() / 2)
            .unwrap_or_default()
            .to_vec();
        match self {
            Self::Whole => whole(answer),
            Self::Cut => with_body(&answer, Body::from(half)),
            Self::Latin => with_body(&answer, Body::from(latin(&answer.body))),
            Self::Truncated => {
                let broken = Body::from_stream(broken_off(half));
                let mut response = with_body(&answer, broken);
                response
                    .headers_mut()
                    .insert("content-length", HeaderValue::from(answer.body.len()));
                response
            }
            Self::Dripping(bytes, pause) => with_body(
                &answer,
                Body::from_stream(drops(&answer.body, bytes, pause)),
            ),
        }
    }
}

pub(super) fn whole(mut answer: Answer) -> Response<Body> {
    let body = std::mem::take(&mut answer.body);
    with_body(&answer, Body::from(body))
}

fn with_body(answer: &Answer, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// These bytes, and then the end of the connection.
fn broken_off(bytes: Vec<u8>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(bytes), |bytes| async move {
        match bytes {
            Some(bytes) if !bytes.is_empty() => Some((Ok(bytes.into()), Some(Vec::new()))),
            Some(_) => {
                // So that what was said before is on its way when the connection ends.
                tokio::task::yield_now().await;
                Some((Err(io::ErrorKind::ConnectionAborted.into()), None))
            }
            None => None,
        }
    })
}

fn drops(
    body: &[u8],
    bytes: usize,
    pause: Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let drops: Vec<Bytes> = body.chunks(bytes).map(Bytes::copy_from_slice).collect();
    stream::unfold(drops.into_iter(), move |mut drops| async move {
        tokio::time::sleep(pause).await;
        drops.next().map(|drop| (Ok(drop), drops))
    })
}

fn oversized(megabytes: u64) -> Response<Body> {
    let blocks = megabytes.saturating_mul(16);
    let block = Bytes::from(vec![b' '; BLOCK]);
    let blocks = stream::unfold(0, move |sent| {
        let block = if sent == 0 {
            Bytes::from_static(b"{\"results\":[")
        } else {
            block.clone()
        };
        std::future::ready((sent <= blocks).then(|| (Ok::<_, Infallible>(block), sent + 1)))
    });
    let mut response = Response::new(Body::from_stream(blocks));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// The same text in latin-1, with at least one letter that has another form in UTF-8.
fn latin(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let encoded = text
        .chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?'));
    let mut bytes: Vec<u8> = encoded.collect();
    if bytes.is_ascii() {
        let note = b"\"nota\":\"caf\xe9\"";
        match bytes.iter().position(|&byte| byte == b'{') {
            Some(at) => {
                let comma = bytes.get(at + 1).is_some_and(|&next| next != b'}');
                let rest = bytes.split_off(at + 1);
                bytes.extend_from_slice(note);
                bytes.extend(comma.then_some(b','));
                bytes.extend(rest);
            }
            None => bytes.push(0xe9),
        }
    }
    bytes
}
