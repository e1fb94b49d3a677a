//! The server under test: the real program, with a Postgres and a simulator of its own.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Seek as _},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use super::Failure;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Making the database files takes a while; fetching a Postgres takes longer.
const START: Duration = Duration::from_mins(5);
const STOP: Duration = Duration::from_secs(30);

/// A running `dev`.
pub(crate) struct Server {
    child: Child,
    pub(crate) ready: Ready,
    pub(crate) api: SocketAddr,
    pub(crate) simulator: SocketAddr,
}

/// What `dev --json` tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    pub(crate) api_url: String,
    pub(crate) simulator_url: String,
    pub(crate) database_url: String,
    pub(crate) tenant: String,
    pub(crate) token: String,
}

impl Server {
    /// Starts it with these variables beside those of this process, and with what it keeps in a
    /// directory that goes with it.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_with(&["--ephemeral".as_ref()], variables).await
    }

    /// The same, with what it keeps in a directory that stays.
    pub(crate) async fn start_in(
        directory: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        Self::start_with(&["--data-dir".as_ref(), directory.as_os_str()], variables).await
    }

    /// The number of the server's process; nothing once it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    async fn start_with(directory: &[&OsStr], variables: &[(&str, &str)]) -> Result<Self, Failure> {
        // It logs as in production. A file takes it, so that there is something to show.
        let mut log = tempfile::tempfile()?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_matcher-discovery"))
            .args(["dev", "--json", "--no-demo"])
            .args(directory)
            .args(["--listen", "127.0.0.1:0"])
            .args(["--simulator-listen", "127.0.0.1:0"])
            .env("DISCOVERY_LOG_FORMAT", "json")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .kill_on_drop(true)
            .spawn()?;
        let line = tokio::time::timeout(START, first_line(&mut child)).await??;
        let Ok(ready) = serde_json::from_str::<Ready>(&line) else {
            return Err(did_not_start(&mut log));
        };
        Ok(Self {
            api: address(&ready.api_url)?,
            simulator: address(&ready.simulator_url)?,
            child,
            ready,
        })
    }

    /// Asks it to end, so that it takes its Postgres and its files with it.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        #[cfg(unix)]
        if let Some(id) = self.child.id() {
            use nix::{sys::signal, unistd::Pid};
            signal::kill(Pid::from_raw(id.try_into()?), signal::Signal::SIGTERM)?;
        }
        tokio::time::timeout(STOP, self.child.wait()).await??;
        Ok(())
    }
}

async fn first_line(child: &mut Child) -> Result<String, Failure> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).await?;
    }
    Ok(line)
}

fn did_not_start(log: &mut File) -> Failure {
    let mut said = String::new();
    let told = log.rewind().and_then(|()| log.read_to_string(&mut said));
    match told {
        Ok(_) => format!("the server did not start; it said:\n{said}").into(),
        Err(error) => format!("the server did not start, and its log is lost: {error}").into(),
    }
}

fn address(url: &str) -> Result<SocketAddr, Failure> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let wrong = |error| format!("{url} is no address of this machine: {error}");
    Ok(address.parse().map_err(wrong)?)
}
