//! The real program, run as a user runs it, and a small HTTP client to talk to it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

/// A bound on waiting for something that is sure to happen soon; hit only when it does not.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The program with these arguments and just this environment.
pub(crate) fn command(arguments: &[&str], environment: &BTreeMap<&str, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_matcher-discovery"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", path())
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program is found by the PATH of its parent"
)]
fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str], environment: &BTreeMap<&str, String>) -> Output {
    tokio::time::timeout(PATIENCE, command(arguments, environment).output())
        .await
        .expect("the command ends")
        .unwrap()
}

/// A running program whose output is kept.
pub(crate) struct Process {
    pub(crate) child: Child,
    output: Arc<Mutex<String>>,
    line: tokio::sync::watch::Receiver<usize>,
}

impl Process {
    pub(crate) fn spawn(arguments: &[&str], environment: &BTreeMap<&str, String>) -> Self {
        let mut child = command(arguments, environment).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (sender, line) = tokio::sync::watch::channel(0);
        let sender = Arc::new(sender);
        let stdout: Box<dyn tokio::io::AsyncRead + Send + Unpin> =
            Box::new(child.stdout.take().unwrap());
        let stderr: Box<dyn tokio::io::AsyncRead + Send + Unpin> =
            Box::new(child.stderr.take().unwrap());
        for stream in [stdout, stderr] {
            let (output, sender) = (Arc::clone(&output), Arc::clone(&sender));
            #[expect(clippy::disallowed_methods, reason = "ends with the stream it reads")]
            tokio::spawn(async move {
                let mut lines = BufReader::new(stream).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut output = output.lock().unwrap();
                    output.push_str(&line);
                    output.push('\n');
                    sender.send_modify(|count| *count += 1);
                }
            });
        }
        Self {
            child,
            output,
            line,
        }
    }

    /// Everything written so far, to either stream.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits for the first line that `find` accepts.
    pub(crate) async fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> T {
        let search = async {
            loop {
                self.line.borrow_and_update();
                if let Some(found) = self.output().lines().find_map(&find) {
                    return found;
                }
                assert!(
                    self.line.changed().await.is_ok(),
                    "ended before that line:\n{}",
                    self.output()
                );
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("no such line:\n{}", self.output()))
    }

    /// Waits for the address that the server says it listens on.
    pub(crate) async fn listening(&mut self) -> SocketAddr {
        self.wait_for(|line| {
            let (_, rest) = line.split_once("listening on http://")?;
            let address: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || ".:[]".contains(*c))
                .collect();
            address.parse().ok()
        })
        .await
    }

    /// Asks the program to end, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = self.child.id().expect("it runs");
        let id = nix::unistd::Pid::from_raw(id.try_into().unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    /// Waits for the end, and for the last line; answers the exit code.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        let end = async {
            let status = self.child.wait().await.unwrap();
            while self.line.changed().await.is_ok() {}
            status
        };
        let ended = tokio::time::timeout(PATIENCE, end).await;
        ended
            .unwrap_or_else(|_| panic!("does not end:\n{}", self.output()))
            .code()
    }
}

/// One request over a connection of its own; answers status, head and body.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String, String) {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange)
        .await
        .expect("the server answers")
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}
