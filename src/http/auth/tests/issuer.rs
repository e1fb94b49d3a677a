//! A token issuer: its key pairs, and the places where it publishes their public halves.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use jsonwebtoken::jwk::Jwk;
use tempfile::NamedTempFile;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;

/// A key pair that the tests sign with.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) pem: &'static str,
    pub(super) algorithm: Algorithm,
}

pub(super) const RSA: Pair = Pair {
    pem: include_str!("keys/rsa.pem"),
    algorithm: Algorithm::RS256,
};
pub(super) const RSA_PSS: Pair = Pair {
    algorithm: Algorithm::PS256,
    ..RSA
};
pub(super) const RSA_NEXT: Pair = Pair {
    pem: include_str!("keys/rsa-next.pem"),
    ..RSA
};
pub(super) const EC: Pair = Pair {
    pem: include_str!("keys/ec.pem"),
    algorithm: Algorithm::ES256,
};
pub(super) const ED: Pair = Pair {
    pem: include_str!("keys/ed25519.pem"),
    algorithm: Algorithm::EdDSA,
};

impl Pair {
    pub(super) fn private(self) -> EncodingKey {
        let pem = self.pem.as_bytes();
        match self.algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        }
        .expect("a key")
    }

    /// The public half, as an issuer publishes it.
    pub(super) fn jwk(self, id: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.private(), self.algorithm).expect("a public half");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(super) fn token(self, id: Option<&str>) -> String {
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let Some(id) = id {
            header["kid"] = json!(id);
        }
        signed(header, &claims(), &self.private(), self.algorithm)
    }
}

pub(super) fn key_set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

pub(super) fn key_file(keys: &[Value]) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), key_set(keys)).expect("a written file");
    file
}

/// An authenticator that knows the keys of a file.
pub(super) fn with_file(file: &NamedTempFile) -> (Authenticator, Arc<ManualClock>) {
    authenticator(TokenRules {
        jwks: Some(KeySource::File(file.path().to_owned())),
        ..rules()
    })
}

pub(super) fn with_keys(keys: &[Value]) -> (Authenticator, NamedTempFile) {
    let file = key_file(keys);
    (with_file(&file).0, file)
}

/// A token issuer whose answer can be changed and which counts how often it was asked.
pub(super) struct Issuer {
    pub(super) url: Url,
    pub(super) answer: Arc<Mutex<(StatusCode, String)>>,
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) task: JoinSet<()>,
}

impl Issuer {
    pub(super) async fn start(keys: &[Value]) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, key_set(keys))));
        let asked = Arc::new(AtomicUsize::new(0));
        let (given, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        let router = Router::new().route(
            "/keys",
            get(async move || {
                counted.fetch_add(1, Ordering::SeqCst);
                given.lock().expect("no panic").clone()
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut task = JoinSet::new();
        task.spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self {
            url: format!("http://{address}/keys").parse().expect("a URL"),
            answer,
            asked,
            task,
        }
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.answers(StatusCode::OK, &key_set(keys));
    }

    pub(super) fn answers(&self, status: StatusCode, body: &str) {
        *self.answer.lock().expect("no panic") = (status, body.to_owned());
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn authenticator(&self) -> (Authenticator, Arc<ManualClock>) {
        authenticator(TokenRules {
            jwks: Some(KeySource::Url(self.url.clone())),
            ..rules()
        })
    }
}
