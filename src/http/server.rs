//! The sockets: accepts connections, bounds them, and lets them finish.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

/// How long a client may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The most connections at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 4096;
/// The most requests at once over one connection of HTTP/2.
const STREAMS: u32 = 32;
/// How long to wait after the system refused a connection, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `closing` is cancelled, then takes no more connections and lets those there are
/// finish their requests.
pub async fn serve(listener: TcpListener, router: Router, closing: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, peer, place) = tokio::select! {
            () = closing.cancelled() => break,
            // Ended connections are taken note of, or the set would only grow.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => match accepted {
                Some(accepted) => accepted,
                None => continue,
            },
        };
        let router = router.clone();
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request.map(Body::new))
        });
        let service = hyper_util::service::TowerToHyperService::new(service);
        let watcher = graceful.watcher();
        let builder = Arc::clone(&builder);
        connections.spawn(async move {
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(error, "a connection broke");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are small and complete: waiting for more to send only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection can't be set up");
            }
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection was not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What a server says of itself over HTTP/2, by the number of each setting.
    async fn settings() -> Vec<(u16, u32)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let serving = serve(listener, Router::new(), closing.clone());
        let asking = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let no_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &no_settings].concat();
            stream.write_all(&hello).await.unwrap();
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(head[3], 4, "settings come first");
            let mut said = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            stream.read_exact(&mut said).await.unwrap();
            closing.cancel();
            said
        };
        let ((), said) = tokio::join!(serving, asking);
        let setting = |one: &[u8]| {
            let number = u16::from_be_bytes([one[0], one[1]]);
            (number, u32::from_be_bytes([one[2], one[3], one[4], one[5]]))
        };
        said.chunks_exact(6).map(setting).collect()
    }

    #[tokio::test]
    async fn one_connection_may_hold_only_so_many_requests() {
        const MAX_CONCURRENT_STREAMS: u16 = 3;
        let said = settings().await;
        assert!(said.contains(&(MAX_CONCURRENT_STREAMS, 32)), "{said:?}");
    }
}
