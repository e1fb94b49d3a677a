//! The REST connector, against a server on this machine that pages, refuses and misbehaves.

mod pages;
mod reading;
mod trouble;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use matcher_discovery::{
    connectors::{
        BATCH_BYTES, Batch, Connector, ConnectorError, Limits, Reach, Source, compiled_in,
    },
    domain::{
        connector::ConnectorCategory,
        rest::{Paging, Resource, RestAuth, RestPlace},
        secret::SecretText,
        table::{Days, TableRead},
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    total: Duration::from_mins(1),
    rows: 1_000_000,
    bytes: 1 << 30,
};

/// A request as it came.
#[derive(Clone, Debug)]
struct Asked {
    /// Path and query.
    target: String,
    headers: HeaderMap,
    /// How many came before it.
    before: usize,
}

impl Asked {
    /// The value of a parameter of the query.
    fn query(&self, parameter: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| (name == parameter).then_some(value))
    }
}

/// A server that answers as a test says, and keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: JoinSet<io::Result<()>>,
}

impl Server {
    async fn start(answer: impl Fn(&Asked) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let router = Router::new().fallback(move |request: Request| {
            let mut seen = seen.lock().unwrap();
            let this = Asked {
                target: request.uri().to_string(),
                headers: request.headers().clone(),
                before: seen.len(),
            };
            let answered = answer(&this);
            seen.push(this);
            async move { answered }
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    fn targets(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|one| one.target.clone()).collect()
    }

    /// The connector of a deployment that lists this server and nothing else.
    fn connector(&self) -> Arc<dyn Connector> {
        connector(&[&self.address.to_string()])
    }

    fn source(&self, paging: Paging) -> Source {
        source(&format!("http://{}/api", self.address), paging)
    }

    async fn read(&self, paging: Paging) -> Result<Vec<String>, ConnectorError> {
        lines(
            &*self.connector(),
            self.source(paging),
            everything(),
            LIMITS,
        )
        .await
    }
}

fn connector(private_hosts: &[&str]) -> Arc<dyn Connector> {
    let reach = Reach {
        rest_private_hosts: private_hosts
            .iter()
            .map(|host| host.parse().unwrap())
            .collect(),
        ..Reach::default()
    };
    compiled_in(&reach)
        .unwrap()
        .into_iter()
        .find(|one| one.connector_type().name == "rest-generic")
        .unwrap()
}

fn source(base_url: &str, paging: Paging) -> Source {
    Source::Rest {
        place: RestPlace {
            base_url: base_url.parse().unwrap(),
            resources: vec![resource("orders", "/orders", "", paging)],
        },
        auth: RestAuth::None,
    }
}

fn resource(name: &str, path: &str, record_path: &str, paging: Paging) -> Resource {
    Resource {
        name: name.to_owned(),
        path: path.to_owned(),
        record_path: record_path.to_owned(),
        paging,
    }
}

fn pages() -> Paging {
    Paging::Page {
        parameter: "page".to_owned(),
        first: 1,
        size: Some(("limit".to_owned(), 2)),
    }
}

fn cursor() -> Paging {
    Paging::Cursor {
        parameter: "after".to_owned(),
        next_path: "/next".to_owned(),
    }
}

fn everything() -> TableRead {
    TableRead {
        table: "orders".to_owned(),
        columns: None,
        equals: Vec::new(),
        days: None,
    }
}

/// The lines of a whole read, each checked to be what a batch promises.
async fn lines(
    connector: &dyn Connector,
    source: Source,
    read: TableRead,
    limits: Limits,
) -> Result<Vec<String>, ConnectorError> {
    let batches: Vec<Batch> = connector.read(source, read, limits).try_collect().await?;
    let mut lines = Vec::new();
    for batch in batches {
        let text = String::from_utf8(batch.lines).unwrap();
        assert!(text.ends_with('\n'));
        assert_eq!(text.lines().count() as u64, batch.rows);
        lines.extend(text.lines().map(str::to_owned));
    }
    Ok(lines)
}

/// An answer with this document.
fn document(text: impl Into<Body>) -> Response {
    ([("content-type", "application/json")], text.into()).into_response()
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}
