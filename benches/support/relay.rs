//! A Postgres that only has a socket, reached as a tenant's database is.

use std::{convert::Infallible, io, net::Ipv4Addr, path::PathBuf};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, UnixStream},
    task::JoinSet,
};

use super::Failure;

/// A port of the loopback that leads to the server's socket, in a thread of its own, to the end of
/// this process.
pub(crate) fn pass_on(options: &PgConnectOptions) -> Result<u16, Failure> {
    let directory: PathBuf = options
        .get_socket()
        .ok_or("the server has no socket")?
        .into();
    let socket = directory.join(format!(".s.PGSQL.{}", options.get_port()));
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || runtime.block_on(relay(listener, socket)));
    Ok(port)
}

async fn relay(listener: std::net::TcpListener, socket: PathBuf) -> io::Result<Infallible> {
    const BUFFER: usize = 64 * 1024;
    let listener = TcpListener::from_std(listener)?;
    let mut open = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut server = UnixStream::connect(&socket).await?;
        open.spawn(async move {
            copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await
        });
    }
}
