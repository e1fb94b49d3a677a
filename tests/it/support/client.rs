//! A caller of the API: sends requests through the router and reads the answers.

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// Somebody with (or without) a token.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    authorization: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(router: Router, token: Option<&str>) -> Self {
        Self {
            router,
            authorization: token.map(|token| format!("Bearer {token}")),
        }
    }

    /// The server itself, for a caller who reads an answer bit by bit.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// A request that already carries the token.
    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let builder = Request::builder().method(method).uri(path);
        match &self.authorization {
            Some(value) => builder.header(header::AUTHORIZATION, value),
            None => builder,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let mut request = request;
        let peer: std::net::SocketAddr = "127.0.0.1:40000".parse().unwrap();
        request.extensions_mut().get_or_insert(ConnectInfo(peer));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = self.request(Method::GET, path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        let request = self.request(Method::DELETE, path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PUT, path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PATCH, path, body.to_string()).await
    }

    /// Sends a text as JSON, whether it is or not.
    pub(crate) async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = self
            .request(method, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into());
        self.send(request.unwrap()).await
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers))
            .to_str()
            .unwrap()
    }

    /// Expects success, and answers the body (`null` for none).
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{body}");
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Expects a well-formed problem with this code, and answers it.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["code"], code, "{body:#}");
        assert_eq!(body["status"], status, "{body:#}");
        assert!(
            body["type"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/errors/{code}")),
            "{body:#}"
        );
        let request = format!("urn:request:{}", self.header("x-request-id"));
        assert_eq!(body["instance"], request, "{body:#}");
        body
    }

    /// Expects a problem that lists exactly these places, and answers it.
    #[track_caller]
    pub(crate) fn expect_faults(&self, code: &str, locations: &[&str]) -> Value {
        let body = self.expect_problem(400, code);
        let mut found: Vec<&str> = body["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("no errors in {body:#}"))
            .iter()
            .map(|fault| fault["location"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        let mut wanted = locations.to_vec();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{body:#}");
        body
    }
}
