//! The way to a database of the tests, which listens on no network: a port of the loopback that leads
//! to its socket.

use std::{net::Ipv4Addr, path::PathBuf};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
};

/// Leads there until it is dropped.
pub(crate) struct Relay {
    port: u16,
    _accepting: JoinSet<()>,
}

impl Relay {
    /// To the server that these options lead to.
    pub(crate) async fn to(options: &PgConnectOptions) -> Self {
        let directory = options
            .get_socket()
            .expect("the tests' server has a socket");
        let socket = directory.join(format!(".s.PGSQL.{}", options.get_port()));
        Self::accept(move |stream| pass_on(stream, socket.clone())).await
    }

    /// To somebody who accepts and never says a word.
    pub(crate) async fn to_nobody() -> Self {
        Self::accept(|stream| async move {
            let _kept = stream;
            std::future::pending::<()>().await;
        })
        .await
    }

    /// To somebody who accepts and hangs up.
    pub(crate) async fn to_the_door() -> Self {
        Self::accept(|stream| async move { drop(stream) }).await
    }

    async fn accept<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn(serve(stream));
            }
        });
        Self {
            port,
            _accepting: accepting,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

async fn pass_on(mut stream: TcpStream, socket: PathBuf) {
    let mut server = UnixStream::connect(socket).await.expect("the server is up");
    // One of them hangs up sooner or later, which ends both.
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}
