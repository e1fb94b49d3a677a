//! The client against servers on this machine that misbehave one way each.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

const CALL: Call = Call {
    peer: "tester",
    name: "probe",
};

/// What a server does once it has written its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hold,
    Reset,
}

/// Writes the same bytes to whoever connects, and keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (answer.into(), Arc::clone(&asked));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                seen.lock().expect("no panic").push(request);
                // A client that has heard enough hangs up; that is its right.
                let _ = stream.write_all(&answer).await;
                match then {
                    Then::Close => drop(stream),
                    Then::Hold => held.push(stream),
                    Then::Reset => stream.set_zero_linger().expect("an open socket"),
                }
            }
        });
        Self {
            address,
            asked,
            _task: task,
        }
    }

    fn url(&self, path: &str) -> Url {
        let text = format!("http://{}{path}", self.address);
        text.parse().expect("a URL")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Reads a head and, where one is announced, a body; or the greeting of a TLS client.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                return text;
            }
        }
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return text,
            Ok(_) if request[0] == 0x16 => return text,
            Ok(_) => {}
        }
    }
}

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn config() -> NetConfig {
    NetConfig {
        connect_timeout: Duration::from_secs(20),
        total_timeout: Duration::from_secs(20),
        body_cap: 64 * 1024,
        exemptions: vec!["127.0.0.0/8".parse().expect("a network")],
        proxy: None,
    }
}

fn client() -> Client {
    Client::new(config()).expect("a client")
}

async fn get(url: Url) -> Result<Response, NetError> {
    client().send(Request::get(CALL, url)).await
}

fn kind(outcome: Result<Response, NetError>) -> &'static str {
    outcome.expect_err("an error").kind()
}

#[tokio::test]
async fn an_answer_is_read_whole_whatever_its_status() {
    let server = Server::start(
        "HTTP/1.1 404 Not Found\r\nX-Hint: 7\r\nContent-Length: 4\r\n\r\nnone",
        Then::Close,
    )
    .await;
    let response = get(server.url("/a?b=c")).await.expect("an answer");
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(response.headers["x-hint"], "7");
    assert_eq!(response.body, b"none");
    assert!(server.asked()[0].starts_with("GET /a?b=c HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_request_carries_its_headers_and_body() {
    let server = Server::start(answer("Content-Length: 0\r\n", b""), Then::Close).await;
    let request = Request::post_json(CALL, server.url("/auth"), &json!({"clientId": "x"}))
        .basic_auth("id", "pa:ss")
        .expect("a plain pair")
        .secret_header(HeaderName::from_static("x-api-key"), "k")
        .expect("a plain value");
    client().send(request).await.expect("an answer");
    let asked = &server.asked()[0];
    for part in [
        "POST /auth HTTP/1.1\r\n",
        "\r\nauthorization: Basic aWQ6cGE6c3M=\r\n",
        "\r\nx-api-key: k\r\n",
        "\r\ncontent-type: application/json\r\n",
        "\r\n\r\n{\"clientId\":\"x\"}",
    ] {
        assert!(asked.contains(part), "{part} is missing: {asked}");
    }
}

#[tokio::test]
async fn a_header_value_that_would_split_the_head_is_refused_unseen() {
    let url: Url = "https://host.example/".parse().expect("a URL");
    let error = Request::get(CALL, url)
        .secret_header(HeaderName::from_static("x-api-key"), "canary\r\nHost: evil")
        .expect_err("a line break");
    assert_eq!(error.kind(), "invalid_header");
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = Server::start(answer("Content-Length: 0\r\n", b""), Then::Close).await;
    let server = Server::start(
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            target.url("/stolen")
        ),
        Then::Close,
    )
    .await;
    let response = get(server.url("/")).await.expect("an answer");
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(target.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_may_fill_the_cap_but_not_pass_it() {
    let full = vec![b'x'; 64 * 1024];
    let over = vec![b'x'; 64 * 1024 + 1];

    let server = Server::start(answer("Content-Length: 65536\r\n", &full), Then::Close).await;
    let response = get(server.url("/")).await.expect("the cap is not passed");
    assert_eq!(response.body, full);

    // Without a length the end of the connection is the end of the body.
    let server = Server::start(answer("", &over), Then::Close).await;
    assert_eq!(kind(get(server.url("/")).await), "too_large");
}

#[tokio::test]
async fn an_announced_length_over_the_cap_is_refused_before_the_body() {
    // The body never comes: waiting for it would end in a time-out.
    let server = Server::start(answer("Content-Length: 1000000000000\r\n", b""), Then::Hold).await;
    assert_eq!(kind(get(server.url("/")).await), "too_large");
}

#[tokio::test]
async fn an_endless_body_is_left_at_the_cap() {
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(vec![b'x'; 0x10000]);
    chunk.extend(b"\r\n10000\r\n");
    chunk.extend(vec![b'x'; 0x10000]);
    let server = Server::start(answer("Transfer-Encoding: chunked\r\n", &chunk), Then::Hold).await;
    assert_eq!(kind(get(server.url("/")).await), "too_large");
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn packed_answer(packed: &[u8]) -> Vec<u8> {
    let headers = format!(
        "Content-Encoding: gzip\r\nContent-Length: {}\r\n",
        packed.len()
    );
    answer(&headers, packed)
}

#[tokio::test]
async fn a_compressed_body_counts_by_what_it_unpacks_to() {
    let server = Server::start(packed_answer(&packed(b"plain")), Then::Close).await;
    assert_eq!(get(server.url("/")).await.expect("fits").body, b"plain");

    let bomb = packed(&vec![0; 16 * 1024 * 1024]);
    assert!(bomb.len() < 64 * 1024, "packed, it is under the cap");
    let server = Server::start(packed_answer(&bomb), Then::Close).await;
    assert_eq!(kind(get(server.url("/")).await), "too_large");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_interrupted() {
    let half = packed_answer(&packed(b"plain"));
    for (bytes, then) in [
        (answer("Content-Length: 100\r\n", b"half"), Then::Close),
        (answer("Content-Length: 100\r\n", b"half"), Then::Reset),
        (
            answer("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"),
            Then::Close,
        ),
        (
            answer("Transfer-Encoding: chunked\r\n", b"zz\r\n"),
            Then::Hold,
        ),
        (half[..half.len() - 4].to_vec(), Then::Close),
        (
            answer(
                "Content-Encoding: gzip\r\nContent-Length: 9\r\n",
                b"not gzip!",
            ),
            Then::Close,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(), Then::Close),
        (b"".to_vec(), Then::Close),
        (b"".to_vec(), Then::Reset),
        (b"SSH-2.0-server\r\n".to_vec(), Then::Hold),
    ] {
        let server = Server::start(bytes.clone(), then).await;
        let outcome = get(server.url("/")).await;
        assert_eq!(
            kind(outcome),
            "interrupted",
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_given_up() {
    for bytes in [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        answer("Content-Length: 100\r\n", b"half"),
    ] {
        let server = Server::start(bytes, Then::Hold).await;
        let impatient = Client::new(NetConfig {
            total_timeout: Duration::from_millis(50),
            ..config()
        })
        .expect("a client");
        let request = Request::get(CALL, server.url("/"));
        assert_eq!(kind(impatient.send(request).await), "timeout");

        let request = Request::get(CALL, server.url("/")).timeout(Duration::from_millis(50));
        assert_eq!(kind(client().send(request).await), "timeout");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let url = format!("http://{address}/").parse().expect("a URL");
    assert_eq!(kind(get(url).await), "connect");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_failed_session() {
    let server = Server::start("HTTP/1.1 400 Bad Request\r\n\r\n", Then::Hold).await;
    let url = format!("https://{}/", server.address);
    assert_eq!(kind(get(url.parse().expect("a URL")).await), "tls");
}

#[tokio::test]
async fn loopback_is_refused_by_address_and_by_name() {
    let server = Server::start(answer("Content-Length: 0\r\n", b""), Then::Close).await;
    let port = server.address.port();
    let strict = Client::new(NetConfig {
        exemptions: Vec::new(),
        ..config()
    })
    .expect("a client");
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = format!("http://{host}:{port}/").parse().expect("a URL");
        match strict.send(Request::get(CALL, url)).await {
            Err(NetError::Refused { reason, .. }) => assert_eq!(reason, "loopback", "{host}"),
            other => panic!("{host}: {other:?}"),
        }
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_listed_loopback_host_is_dialled_by_address_and_by_name() {
    let server = Server::start(answer("Content-Length: 0\r\n", b""), Then::Close).await;
    let port = server.address.port();
    for (listed, host) in [
        ("127.0.0.1".to_owned(), "127.0.0.1"),
        (format!("localhost:{port}"), "localhost"),
        ("127.0.0.0/8".to_owned(), "localhost"),
    ] {
        let client = Client::new(NetConfig {
            exemptions: vec![listed.parse().expect("an exemption")],
            ..config()
        })
        .expect("a client");
        let url = format!("http://{host}:{port}/").parse().expect("a URL");
        let response = client.send(Request::get(CALL, url)).await;
        assert!(response.is_ok(), "{listed}: {response:?}");
    }
}

#[tokio::test]
async fn a_configured_proxy_is_asked_in_place_of_the_host() {
    let proxy = Server::start(answer("Content-Length: 2\r\n", b"ok"), Then::Close).await;
    for base in [
        proxy.url("/"),
        // By name too, which the resolver must let through although nothing is exempt.
        format!("http://localhost:{}", proxy.address.port())
            .parse()
            .expect("a URL"),
    ] {
        let client = Client::new(NetConfig {
            exemptions: Vec::new(),
            proxy: Some(base),
            ..config()
        })
        .expect("a client");
        let url = "http://vendor.example/x".parse().expect("a URL");
        let response = client.send(Request::get(CALL, url)).await;
        assert_eq!(response.expect("the proxy's answer").body, b"ok");
        // What the proxy can't be trusted to refuse is refused here.
        let url = "http://169.254.169.254/".parse().expect("a URL");
        assert_eq!(kind(client.send(Request::get(CALL, url)).await), "refused");
    }
    for asked in proxy.asked() {
        assert!(asked.starts_with("GET http://vendor.example/x HTTP/1.1"));
    }
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn what_is_traced_names_the_call_and_nothing_it_carried() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // While there is only one subscriber, a test on another thread may settle for good that nobody
    // listens to an event. A second one that listens to nothing prevents that.
    let _deaf = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let guard = tracing::subscriber::set_default(subscriber);

    let whole = answer("X-Canary: canary\r\nContent-Length: 6\r\n", b"canary");
    let half = answer("X-Canary: canary\r\nContent-Length: 99\r\n", b"canary");
    let mut errors = Vec::new();
    for bytes in [whole, half, Vec::new()] {
        let server = Server::start(bytes, Then::Close).await;
        let request = Request::post_json(
            CALL,
            server.url("/canary?key=canary"),
            &json!({"secret": "canary"}),
        )
        .basic_auth("canary", "canary")
        .expect("a plain pair");
        errors.push(format!("{request:?}"));
        errors.push(format!("{:?}", client().send(request).await));
    }
    drop(guard);

    let logged = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    for part in [
        "net.request",
        "peer=\"tester\"",
        "call=\"probe\"",
        "status=200",
        "error=\"interrupted\"",
        "duration_ms=",
    ] {
        assert!(logged.contains(part), "{part} is missing: {logged}");
    }
    assert!(!logged.contains("canary"), "{logged}");
    assert!(!logged.contains("Y2FuYXJ5"), "{logged}");
    let errors = errors.join("\n");
    assert!(!errors.contains("canary"), "{errors}");
}
