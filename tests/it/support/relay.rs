//! An address that stays the same while what is behind it comes and goes, in the clear or over TLS.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use matcher_discovery::shutdown::Shutdown;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// What a program has to trust to call a relay over TLS. The key belongs to nobody: it is good for
/// 127.0.0.1, in tests.
pub(crate) const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/support/tls/certificate.pem"
);
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls/key.pem");

fn tls() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_file(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Leads to wherever it is told to; to nowhere, and the caller is hung up on.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    shutdown: Shutdown,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Relay {
    /// Leads from here, in the clear.
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// Leads to `target` from here, where TLS is spoken.
    pub(crate) async fn over_tls(target: SocketAddr) -> Self {
        let relay = Self::listen(Some(tls())).await;
        relay.lead_to(target);
        relay
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(None));
        let shutdown = Shutdown::new();
        let stop = shutdown.token();
        let leading = Arc::clone(&target);
        shutdown.spawn("relay", async move {
            let mut calls = JoinSet::new();
            loop {
                let from = tokio::select! {
                    () = stop.cancelled() => return,
                    Some(_) = calls.join_next() => continue,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let target = *leading.lock().unwrap();
                let tls = tls.clone();
                calls.spawn(async move {
                    let Some(target) = target else { return };
                    match tls {
                        None => lead(from, target).await,
                        Some(tls) => {
                            if let Ok(from) = tls.accept(from).await {
                                lead(from, target).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            target,
            shutdown,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where new callers are led.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target.lock().unwrap().expect("it leads somewhere")
    }

    /// Leads new callers there from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = Some(target);
    }
}

async fn lead(mut from: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr) {
    if let Ok(mut to) = TcpStream::connect(target).await {
        // Whichever end breaks off, the other one is hung up on.
        let _ = copy_bidirectional(&mut from, &mut to).await;
    }
}
