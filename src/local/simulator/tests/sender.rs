use std::sync::atomic::{AtomicU16, Ordering};

use axum::{Router, extract::State, routing::post};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::*;

/// What a receiver got: its header `x-secret`, and the body.
type Got = (String, Value);

/// A demo whose webhooks go to a receiver that answers as it is told.
struct Post {
    bench: Bench,
    url: String,
    status: Arc<AtomicU16>,
    got: mpsc::UnboundedReceiver<Got>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Receiver {
    status: Arc<AtomicU16>,
    got: mpsc::UnboundedSender<Got>,
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> StatusCode {
    let secret = headers.get("x-secret").map(|value| value.to_str().unwrap());
    receiver
        .got
        .send((secret.unwrap_or_default().to_owned(), body))
        .unwrap();
    StatusCode::from_u16(receiver.status.load(Ordering::SeqCst)).unwrap()
}

impl Post {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sent, got) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let receiver = Receiver {
            status: Arc::clone(&status),
            got: sent,
        };
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(receiver);
        let bench = Bench::new();
        let parts = Arc::clone(&bench.simulator.0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        tasks.spawn(async move {
            parts
                .sender
                .run(&parts.clock, CancellationToken::new())
                .await;
        });
        Self {
            bench,
            url,
            status,
            got,
            _tasks: tasks,
        }
    }

    async fn subscribe(&self, vendor: &str) {
        let one = json!({ "vendor": vendor, "url": self.url, "headers": { "x-secret": "hush" } });
        self.bench.steer("POST", "/subscriptions", one).await;
    }

    async fn fire(&self, vendor: &str, body: Value) {
        let fire = json!({ "resource": "r", "body": body });
        self.bench
            .steer("POST", &format!("/{vendor}/fire"), fire)
            .await;
    }

    /// The first delivery, once it was attempted so often.
    async fn after(&self, attempts: usize) -> Value {
        loop {
            let log = self.bench.steer("GET", "/deliveries", json!({})).await;
            let delivery = &log["deliveries"][0];
            if delivery["attempts"].as_array().map(Vec::len) == Some(attempts) {
                return delivery.clone();
            }
            tokio::task::yield_now().await;
        }
    }

    async fn advance(&self, seconds: i64) {
        let by = json!({ "advanceSeconds": seconds });
        self.bench.steer("POST", "/clock", by).await;
    }
}

#[tokio::test]
async fn a_subscriber_gets_the_body_and_its_headers_once() {
    let mut post = Post::new().await;
    post.subscribe("pluggy").await;
    let ran = post
        .bench
        .steer("POST", "/pluggy/scenarios/outdated", json!({}))
        .await;
    let (secret, body) = post.got.recv().await.unwrap();
    assert_eq!(
        (secret.as_str(), &body),
        ("hush", &ran["notices"][0]["body"])
    );
    let delivery = post.after(1).await;
    assert_eq!(
        (&delivery["outcome"], &delivery["attempts"][0]["status"]),
        (&json!("delivered"), &json!(200))
    );
    assert!(post.got.try_recv().is_err());
}

#[tokio::test]
async fn a_webhook_registered_at_pluggy_is_told_as_well() {
    let mut post = Post::new().await;
    post.bench.log_in().await;
    let hook = json!({ "url": post.url, "event": "item/error", "headers": { "X-Secret": "own" } });
    let made = post.bench.call("POST", "/webhooks", hook).await;
    assert_eq!(made.status, StatusCode::CREATED);
    post.bench
        .steer("POST", "/pluggy/scenarios/login-error", json!({}))
        .await;
    let (secret, body) = post.got.recv().await.unwrap();
    assert_eq!(
        (secret.as_str(), &body["event"]),
        ("own", &json!("item/error"))
    );
}

#[tokio::test]
async fn pluggy_tries_three_times_three_and_gives_up() {
    let mut post = Post::new().await;
    post.status.store(500, Ordering::SeqCst);
    post.subscribe("pluggy").await;
    post.fire("pluggy", json!({ "event": "item/updated", "eventId": "e" }))
        .await;
    let mut bodies = Vec::new();
    for (attempts, wait) in [(3, 15 * 60), (6, 2 * 60 * 60), (9, 0)] {
        let delivery = post.after(attempts).await;
        let outcome = if attempts == 9 { "lost" } else { "waiting" };
        assert_eq!(delivery["outcome"], outcome);
        post.advance(wait).await;
    }
    while let Ok((_, body)) = post.got.try_recv() {
        bodies.push(body);
    }
    assert_eq!(
        bodies,
        vec![json!({ "event": "item/updated", "eventId": "e" }); 9]
    );
}

#[tokio::test]
async fn belvo_tries_four_times_a_minute_apart_and_faster_if_told() {
    let post = Post::new().await;
    post.status.store(404, Ordering::SeqCst);
    post.bench
        .steer("PUT", "/sender", json!({ "speed": 60 }))
        .await;
    post.subscribe("belvo").await;
    post.fire("belvo", json!({ "webhook_type": "TRANSACTIONS" }))
        .await;
    for attempts in 1..4 {
        assert_eq!(post.after(attempts).await["outcome"], "waiting");
        post.advance(1).await;
    }
    let delivery = post.after(4).await;
    assert_eq!(delivery["outcome"], "lost");
    assert_eq!(delivery["attempts"][3]["at"], "2026-09-02T12:00:03Z");
}

#[tokio::test]
async fn a_receiver_that_recovers_is_told_late() {
    let mut post = Post::new().await;
    post.status.store(503, Ordering::SeqCst);
    post.subscribe("pluggy").await;
    post.fire("pluggy", json!({ "event": "item/updated" }))
        .await;
    post.after(3).await;
    post.status.store(204, Ordering::SeqCst);
    post.advance(15 * 60).await;
    assert_eq!(post.after(4).await["outcome"], "delivered");
    for _ in 0..4 {
        post.got.recv().await.unwrap();
    }
}

#[tokio::test]
async fn deliveries_are_held_doubled_and_reordered_as_told() {
    let mut post = Post::new().await;
    post.subscribe("pluggy").await;
    post.bench
        .steer("PUT", "/sender", json!({ "hold": true }))
        .await;
    post.fire("pluggy", json!(0)).await;
    let log = post.bench.steer("GET", "/deliveries", json!({})).await;
    assert_eq!(log["deliveries"][0]["outcome"], "held");
    post.bench
        .steer("PUT", "/sender", json!({ "duplicate": true }))
        .await;
    post.fire("pluggy", json!(1)).await;
    post.bench
        .steer("PUT", "/sender", json!({ "reorder": 3 }))
        .await;
    for number in 2..5 {
        post.fire("pluggy", json!(number)).await;
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(post.got.recv().await.unwrap().1);
    }
    assert_eq!(order, [1, 1, 4, 3, 2].map(Value::from));
}

#[tokio::test]
async fn a_late_delivery_waits_for_the_clock_and_one_for_another_resource_is_not_sent() {
    let mut post = Post::new().await;
    let other = json!({ "vendor": "pluggy", "url": post.url, "resource": "another" });
    post.bench.steer("POST", "/subscriptions", other).await;
    post.subscribe("pluggy").await;
    post.bench
        .steer("PUT", "/sender", json!({ "delaySeconds": 30 }))
        .await;
    post.fire("pluggy", json!("late")).await;
    post.advance(30).await;
    let delivery = post.after(1).await;
    assert_eq!(delivery["attempts"][0]["at"], "2026-09-02T12:00:30Z");
    assert_eq!(
        post.got.recv().await.unwrap(),
        ("hush".to_owned(), json!("late"))
    );
    assert!(post.got.try_recv().is_err());
}
