//! Many clients that post webhooks. They share the cores with what they measure, so they are spare:
//! prebuilt bytes over plain sockets.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::Failure;

/// The threads of many clients; a lone one has one.
const THREADS: usize = 2;
/// What stands in a body where the number of the event goes.
const PLACE: &str = "000000000000";
/// The identifier of an event, which its number makes another one.
pub(crate) const EVENT_ID: &str = "5eed0000-0000-4000-8000-000000000000";

/// One request, sent again and again, each time with an event of its own.
pub(crate) struct Post {
    bytes: Vec<u8>,
    /// Where the number of the event goes.
    place: usize,
}

impl Post {
    /// A webhook; its body has to name the event [`EVENT_ID`].
    pub(crate) fn new(path: &str, body: &Value) -> Result<Self, Failure> {
        let body = body.to_string();
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: discovery\r\nuser-agent: webhooks\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let event = bytes
            .find(EVENT_ID)
            .ok_or("the body does not name the event")?;
        let place = event + EVENT_ID.len() - PLACE.len();
        Ok(Self {
            bytes: bytes.into_bytes(),
            place,
        })
    }

    /// Writes the request for one event over what `buffer` held.
    fn write(&self, event: u64, buffer: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        buffer.clear();
        buffer.extend_from_slice(&self.bytes);
        let place = &mut buffer[self.place..self.place + PLACE.len()];
        let mut rest = event;
        for digit in place.iter_mut().rev() {
            *digit = DIGITS[usize::from(rest.to_le_bytes()[0] & 15)];
            rest >>= 4;
        }
    }
}

/// The requests, sent in turn by whoever is free.
pub(crate) struct Posts {
    posts: Vec<Post>,
    /// The number of the next event: no two runs send the same.
    next: AtomicU64,
}

impl Posts {
    pub(crate) fn new(posts: Vec<Post>) -> Arc<Self> {
        Arc::new(Self {
            posts,
            next: AtomicU64::new(1),
        })
    }

    /// Lets that many clients post for that long, each again as soon as it was answered 202; answers
    /// how long each took.
    pub(crate) fn run(
        self: &Arc<Self>,
        address: SocketAddr,
        clients: usize,
        lasting: Duration,
    ) -> Result<Vec<Duration>, Failure> {
        let threads = THREADS.min(clients);
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let posts = Arc::clone(self);
                let share = (clients + thread) / threads;
                thread::spawn(move || {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_io()
                        .build()?
                        .block_on(posts.share(address, share, lasting))
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for thread in running {
            let taken = thread.join().map_err(|_| "a client panicked")?;
            latencies.extend(taken?);
        }
        latencies.sort_unstable();
        Ok(latencies)
    }

    /// What one thread does.
    async fn share(
        self: Arc<Self>,
        address: SocketAddr,
        clients: usize,
        lasting: Duration,
    ) -> Result<Vec<Duration>, Failure> {
        let mut lines = Vec::new();
        for _ in 0..clients {
            let line = TcpStream::connect(address).await?;
            line.set_nodelay(true)?;
            lines.push(line);
        }
        let end = Instant::now() + lasting;
        let mut running = JoinSet::new();
        for mut line in lines {
            let posts = Arc::clone(&self);
            running.spawn(async move {
                let mut latencies = Vec::new();
                let mut request = Vec::new();
                let mut answer = Vec::with_capacity(1024);
                let mut asked_at = Instant::now();
                while asked_at < end {
                    let turn = posts.next.fetch_add(1, Ordering::Relaxed);
                    let index = usize::try_from(turn)? % posts.posts.len();
                    posts.posts[index].write(turn, &mut request);
                    line.write_all(&request).await?;
                    read_answer(&mut line, &mut answer).await?;
                    let answered_at = Instant::now();
                    latencies.push(answered_at - asked_at);
                    asked_at = answered_at;
                }
                Ok::<_, Failure>(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(one) = running.join_next().await {
            latencies.extend(one??);
        }
        Ok(latencies)
    }
}

/// Reads an answer, which has no body if it is a good one.
async fn read_answer(line: &mut TcpStream, answer: &mut Vec<u8>) -> Result<(), Failure> {
    const GOOD: &[u8] = b"HTTP/1.1 202 ";
    answer.clear();
    while !answer.ends_with(b"\r\n\r\n") {
        if line.read_buf(answer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if answer.len() >= GOOD.len() && !answer.starts_with(GOOD) {
            let answer = String::from_utf8_lossy(answer);
            return Err(format!("a webhook was answered {answer}").into());
        }
    }
    Ok(())
}
