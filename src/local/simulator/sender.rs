//! The sender of webhooks, with the vendors' patience.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{lock, notice::Notice, pluggy::Subscriber};
use crate::{
    domain::{clock::Clock, host_rule::HostOrNet, vendor::Vendor},
    net::{Call, Client, HeaderName, NetConfig, NetError, Request},
};

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to look away when nothing is due, at most.
const GLANCE: Duration = Duration::from_mins(1);
/// The oldest deliveries are forgotten beyond this many.
const KEPT: usize = 10_000;

/// How long to wait before each further attempt.
fn waits(vendor: Vendor, event: &str) -> &'static [TimeDelta] {
    const NONE: TimeDelta = TimeDelta::zero();
    const MINUTE: TimeDelta = TimeDelta::minutes(1);
    const QUARTER: TimeDelta = TimeDelta::minutes(15);
    const LONG: TimeDelta = TimeDelta::hours(2);
    const PLUGGY: [TimeDelta; 8] = [NONE, NONE, QUARTER, NONE, NONE, LONG, NONE, NONE];
    match vendor {
        Vendor::Pluggy if event == "item/login_succeeded" => &PLUGGY[..2],
        Vendor::Pluggy => &PLUGGY,
        Vendor::Belvo => &[MINUTE; 3],
    }
}

/// Somebody who is told of a vendor's events.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Subscription {
    vendor: Vendor,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The only item or link it is about, if it is about one.
    resource: Option<String>,
}

impl Subscription {
    pub(super) fn of(vendor: Vendor, url: &str, resource: &str) -> Self {
        Self {
            vendor,
            url: url.to_owned(),
            headers: BTreeMap::new(),
            resource: Some(resource.to_owned()),
        }
    }
}

/// How deliveries are treated.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Mode {
    /// Nothing is sent; it is only noted.
    hold: bool,
    /// Everything is sent twice.
    duplicate: bool,
    /// So many are gathered and then sent last first. 0 and 1: sent as they come.
    reorder: usize,
    /// By how much the first attempt is late.
    delay_seconds: u32,
    /// By how much the waits between attempts are shorter.
    speed: u16,
    /// How many are sent at a time. One at a time, they arrive in order.
    parallel: usize,
}

impl Default for Mode {
    fn default() -> Self {
        Self {
            hold: false,
            duplicate: false,
            reorder: 0,
            delay_seconds: 0,
            speed: 1,
            parallel: 1,
        }
    }
}

/// One notice on its way to one receiver.
#[derive(Clone, Debug)]
struct Job {
    number: u64,
    vendor: Vendor,
    url: String,
    headers: BTreeMap<String, String>,
    body: Value,
    attempts: usize,
}

impl Job {
    fn event(&self) -> &str {
        let named = self.body["event"].as_str();
        named
            .or_else(|| self.body["webhook_type"].as_str())
            .unwrap_or_default()
    }
}

#[derive(Debug)]
struct Delivery {
    job: Job,
    resource: String,
    at: DateTime<Utc>,
    outcome: &'static str,
    attempts: Vec<Value>,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    subscriptions: BTreeMap<u64, Subscription>,
    next: u64,
    /// By when they are due, and then in their order.
    queue: BTreeMap<(DateTime<Utc>, u64), Job>,
    gathered: Vec<Job>,
    log: VecDeque<Delivery>,
}

#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    state: Mutex<State>,
    wake: Notify,
}

impl Sender {
    pub(super) fn new() -> Result<Self, NetError> {
        let laptop = ["localhost", "127.0.0.0/8", "::1"];
        let exemptions = laptop
            .iter()
            .filter_map(|text| text.parse::<HostOrNet>().ok());
        let client = Client::new(NetConfig {
            connect_timeout: PATIENCE,
            total_timeout: PATIENCE,
            body_cap: 1024 * 1024,
            exemptions: exemptions.collect(),
            proxy: None,
        })?;
        Ok(Self {
            client,
            state: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Looks at the time again, since it was moved.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn subscribe(&self, subscription: Subscription) -> Result<u64, String> {
        if let Err(wrong) = Url::parse(&subscription.url) {
            return Err(format!("{} is no URL: {wrong}", subscription.url));
        }
        let mut state = lock(&self.state);
        state.next += 1;
        let number = state.next;
        state.subscriptions.insert(number, subscription);
        Ok(number)
    }

    /// Ends one subscription, or all of them.
    pub(super) fn unsubscribe(&self, number: Option<u64>) -> bool {
        let subscriptions = &mut lock(&self.state).subscriptions;
        if let Some(number) = number {
            return subscriptions.remove(&number).is_some();
        }
        subscriptions.clear();
        true
    }

    pub(super) fn subscriptions(&self) -> Value {
        let shown = |(number, one): (&u64, &Subscription)| {
            json!({
                "id": number, "vendor": one.vendor, "url": one.url,
                "resource": one.resource,
            })
        };
        lock(&self.state).subscriptions.iter().map(shown).collect()
    }

    pub(super) fn set_mode(&self, mode: Mode, now: DateTime<Utc>) -> Result<(), String> {
        if mode.speed == 0 || mode.parallel == 0 {
            return Err("speed and parallel must be at least 1".to_owned());
        }
        let mut state = lock(&self.state);
        state.mode = mode;
        state.release(now);
        drop(state);
        self.wake();
        Ok(())
    }

    pub(super) fn mode(&self) -> Value {
        let state = lock(&self.state);
        let mode = &state.mode;
        json!({
            "hold": mode.hold, "duplicate": mode.duplicate, "reorder": mode.reorder,
            "delaySeconds": mode.delay_seconds, "speed": mode.speed, "parallel": mode.parallel,
            "waiting": state.queue.len() + state.gathered.len(),
        })
    }

    /// Tells of a notice: those who subscribed here, and those who are `registered` at the vendor.
    pub(super) fn tell(
        &self,
        vendor: Vendor,
        notice: &Notice,
        registered: &[Subscriber],
        now: DateTime<Utc>,
    ) {
        let mut state = lock(&self.state);
        let about = |one: &&Subscription| {
            one.vendor == vendor
                && one
                    .resource
                    .as_ref()
                    .is_none_or(|only| *only == notice.resource)
        };
        let here: Vec<_> = state
            .subscriptions
            .values()
            .filter(about)
            .map(|one| Subscriber {
                url: one.url.clone(),
                headers: one.headers.clone(),
            })
            .collect();
        for receiver in here.iter().chain(registered) {
            state.send(vendor, notice, receiver, now);
        }
        drop(state);
        self.wake();
    }

    /// The deliveries, the oldest first.
    pub(super) fn deliveries(&self) -> Vec<Value> {
        lock(&self.state)
            .log
            .iter()
            .map(|one| {
                json!({
                    "seq": one.job.number, "at": one.at, "vendor": one.job.vendor,
                    "url": one.job.url, "resource": one.resource, "event": one.job.event(),
                    "body": one.job.body, "outcome": one.outcome, "attempts": one.attempts,
                })
            })
            .collect()
    }

    /// Sends what is due, until told to end.
    pub(super) async fn run(&self, clock: &dyn Clock, closing: CancellationToken) {
        let mut flying = JoinSet::new();
        loop {
            let (job, pause) = lock(&self.state).due(clock.now(), flying.len());
            if let Some(job) = job {
                flying.spawn(attempt(self.client.clone(), job));
                continue;
            }
            tokio::select! {
                () = closing.cancelled() => return,
                Some(landed) = flying.join_next() => {
                    if let Ok((job, outcome)) = landed {
                        lock(&self.state).settle(job, outcome, clock.now());
                    }
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl State {
    fn send(&mut self, vendor: Vendor, notice: &Notice, receiver: &Subscriber, now: DateTime<Utc>) {
        for _ in 0..=u8::from(self.mode.duplicate) {
            self.next += 1;
            let job = Job {
                number: self.next,
                vendor,
                url: receiver.url.clone(),
                headers: receiver.headers.clone(),
                body: notice.body.clone(),
                attempts: 0,
            };
            let hold = self.mode.hold;
            if self.log.len() == KEPT {
                self.log.pop_front();
            }
            self.log.push_back(Delivery {
                job: job.clone(),
                resource: notice.resource.clone(),
                at: now,
                outcome: if hold { "held" } else { "waiting" },
                attempts: Vec::new(),
            });
            if !hold {
                self.gathered.push(job);
            }
        }
        if self.gathered.len() >= self.mode.reorder {
            self.release(now);
        }
    }

    /// Lets go of what was gathered; the last first, if it was gathered for that.
    fn release(&mut self, now: DateTime<Utc>) {
        let due = now + TimeDelta::seconds(self.mode.delay_seconds.into());
        let mut gathered = std::mem::take(&mut self.gathered);
        if self.mode.reorder > 1 {
            gathered.reverse();
        }
        for job in gathered {
            self.enqueue(due, job);
        }
    }

    fn enqueue(&mut self, due: DateTime<Utc>, job: Job) {
        self.next += 1;
        self.queue.insert((due, self.next), job);
    }

    /// The next that is due if one more may be on its way, else how long to look away.
    fn due(&mut self, now: DateTime<Utc>, flying: usize) -> (Option<Job>, Duration) {
        if flying >= self.mode.parallel {
            return (None, GLANCE);
        }
        match self.queue.first_entry() {
            Some(first) if first.key().0 <= now => (Some(first.remove()), GLANCE),
            Some(first) => {
                let until = (first.key().0 - now).to_std().unwrap_or(GLANCE);
                (None, until.min(GLANCE))
            }
            None => (None, GLANCE),
        }
    }

    fn settle(&mut self, mut job: Job, outcome: Result<u16, &'static str>, now: DateTime<Utc>) {
        let wait = waits(job.vendor, job.event()).get(job.attempts).copied();
        job.attempts += 1;
        let number = job.number;
        let state = match (&outcome, wait) {
            (Ok(200..=299), _) => "delivered",
            (_, None) => "lost",
            (_, Some(wait)) => {
                let wait = wait / i32::from(self.mode.speed.min(10_000).cast_signed());
                self.enqueue(now + wait, job);
                "waiting"
            }
        };
        // Numbers only grow along the log.
        if let Ok(at) = self.log.binary_search_by_key(&number, |one| one.job.number) {
            let logged = &mut self.log[at];
            logged.outcome = state;
            logged.attempts.push(match outcome {
                Ok(status) => json!({ "at": now, "status": status }),
                Err(error) => json!({ "at": now, "error": error }),
            });
        }
    }
}

/// One attempt, and the status that it met or why it met none.
async fn attempt(client: Client, job: Job) -> (Job, Result<u16, &'static str>) {
    let outcome = match request(&job) {
        Ok(request) => match client.send(request).await {
            Ok(answer) => Ok(answer.status.as_u16()),
            Err(error) => Err(error.kind()),
        },
        Err(wrong) => Err(wrong),
    };
    (job, outcome)
}

fn request(job: &Job) -> Result<Request, &'static str> {
    const CALL: Call = Call {
        peer: "webhook receiver",
        name: "deliver",
    };
    let url = Url::parse(&job.url).map_err(|_| "invalid_url")?;
    let request = Request::post_json(CALL, url, &job.body);
    job.headers
        .iter()
        .try_fold(request, |request, (name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "invalid_header")?;
            let with = request.secret_header(name, value);
            with.map_err(|error| error.kind())
        })
}
