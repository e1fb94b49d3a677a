//! The door: both vendors at their real paths, and the control API beside them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{Response, StatusCode, header, request},
    response::IntoResponse as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};
use url::form_urlencoded;

use super::{
    Simulator,
    calls::Call,
    control,
    exchange::Ask,
    lock,
    spoil::{Course, whole},
};
use crate::{
    domain::{clock::Clock as _, vendor::Vendor},
    shutdown::Shutdown,
};

/// No vendor takes a request larger than this.
const BODY_CAP: usize = 1024 * 1024;
/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long what was begun may take to finish; some faults never do.
const GRACE: Duration = Duration::from_secs(1);

/// By which a call ends its own connection, without an answer.
#[derive(Clone)]
struct Line(CancellationToken);

impl Simulator {
    /// Both vendors at their real paths, and the control API under `/_control`.
    pub fn router(&self) -> Router {
        Router::new()
            .nest("/_control", control::router())
            .fallback(vendor_call)
            .with_state(self.clone())
    }

    /// Serves, and sends webhooks, until the process is to end.
    pub async fn serve(self, listener: TcpListener, shutdown: &Shutdown) {
        let (parts, closing) = (Arc::clone(&self.0), shutdown.token());
        let sending = closing.clone();
        shutdown.spawn("simulator webhooks", async move {
            parts.sender.run(&parts.clock, sending).await;
        });
        let router = self.router();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let line = converse(stream, peer, router.clone(), closing.clone());
                    connections.spawn(line);
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let finished = async { while connections.join_next().await.is_some() {} };
        // Whoever is kept waiting on purpose waits in vain.
        let _ = tokio::time::timeout(GRACE, finished).await;
    }
}

/// Serves one connection until either side ends it.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, closing: CancellationToken) {
    // Nothing depends on it but speed.
    let _ = stream.set_nodelay(true);
    let line = CancellationToken::new();
    let own = Line(line.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(own.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut told = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "a connection to the simulator broke");
                }
                return;
            }
            () = line.cancelled() => break,
            () = closing.cancelled(), if !told => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                told = true;
            }
        }
    }
    // Dropped like this, the socket is reset rather than closed.
    let stream = connection.into_parts().io.into_inner();
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection is closed rather than reset");
    }
}

async fn vendor_call(State(simulator): State<Simulator>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_CAP).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let vendor = vendor_of(head.uri.path());
    let ask = read(&head, &body);
    let parts = &simulator.0;
    let now = parts.clock.now();
    let number = parts.calls.arrived(Call {
        at: now,
        vendor,
        method: ask.method.to_owned(),
        path: ask.path.to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        client: client(&simulator, vendor, &ask),
    });
    let caller = head
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| {
            peer.ip()
        });
    let refused = parts
        .limits
        .refuse(vendor, ask.method, ask.path, caller, now);
    let response = match refused {
        Some(refused) => whole(refused),
        None => answer(&simulator, vendor, &ask, head.extensions.get()).await,
    };
    parts.calls.answered(number, response.status().as_u16());
    response
}

/// Asks the vendor, unless the fault script has it otherwise.
async fn answer(
    simulator: &Simulator,
    vendor: Vendor,
    ask: &Ask<'_>,
    line: Option<&Line>,
) -> Response<Body> {
    // Taken first: what strikes now is lifted by it.
    let lifted = simulator.0.faults.lifted();
    let fault = simulator.0.faults.strike(vendor, ask.method, ask.path);
    let Some(fault) = fault else {
        return whole(simulator.answer(vendor, ask));
    };
    match fault.course() {
        Course::Instead(response) => response,
        Course::Silence => std::future::pending().await,
        Course::Held => {
            lifted.cancelled().await;
            whole(simulator.answer(vendor, ask))
        }
        Course::Reset => reset(line).await,
        Course::Asked(pause, manner) => {
            tokio::time::sleep(pause).await;
            manner.tell(simulator.answer(vendor, ask))
        }
    }
}

/// Belvo's API begins with `/api/`; what is elsewhere is Pluggy's.
fn vendor_of(path: &str) -> Vendor {
    if path.starts_with("/api/") {
        Vendor::Belvo
    } else {
        Vendor::Pluggy
    }
}

fn read<'a>(head: &'a request::Parts, body: &'a [u8]) -> Ask<'a> {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let query = head.uri.query().unwrap_or_default();
    Ask {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body,
        host: head
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost"),
    }
}

/// Whose call it is, as far as its credentials tell.
fn client(simulator: &Simulator, vendor: Vendor, ask: &Ask<'_>) -> Option<String> {
    match vendor {
        Vendor::Pluggy if ask.path == "/auth" => {
            let body: Value = serde_json::from_slice(ask.body).ok()?;
            body["clientId"].as_str().map(str::to_owned)
        }
        Vendor::Pluggy => lock(&simulator.0.pluggy).caller(ask),
        Vendor::Belvo => {
            let mut headers = ask.headers.iter();
            let (_, value) = headers.find(|(name, _)| name == "authorization")?;
            let pair = STANDARD.decode(value.split_once(' ')?.1).ok()?;
            let pair = String::from_utf8(pair).ok()?;
            pair.split_once(':').map(|(user, _)| user.to_owned())
        }
    }
}

/// Ends the connection of this call. A call without one, as in a test, gets a body that breaks.
async fn reset(line: Option<&Line>) -> Response<Body> {
    if let Some(Line(line)) = line {
        line.cancel();
        return std::future::pending().await;
    }
    let broken = futures_util::stream::once(async {
        Err::<Vec<u8>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::new(Body::from_stream(broken))
}
