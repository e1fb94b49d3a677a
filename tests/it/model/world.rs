//! A server, both vendors, and everything that can be done to them.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Days, TimeDelta, Utc};
use matcher_discovery::{
    domain::{clock::Clock as _, random::Random},
    worker::work_off,
};
use serde_json::{Value, json};

use super::{
    check::{self, Stored},
    feed::Replica,
    step::{Amid, Fault, Hold, Kind, Order, Place, Step, Vendor},
    truth::Truth,
};
use crate::{
    api::aggregator_connections::PATH,
    support::{Client, TestApp, Vendors},
};

/// How many rows a vendor puts on a page, so that every listing has several.
const PAGE: u16 = 60;

/// A generator that draws the same in every run.
#[derive(Debug)]
struct Seeded(AtomicU64);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            let step = 0x9e37_79b9_7f4a_7c15;
            let mut word = self.0.fetch_add(step, Ordering::Relaxed);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A connection to one vendor, and what the model knows of it.
pub(super) struct Side {
    pub(super) vendor: Vendor,
    /// The path of the connection.
    path: String,
    /// Where its webhooks go.
    receiver: String,
    pub(super) truth: Truth,
    /// Whether the vendor can't read the bank.
    pub(super) troubled: bool,
    /// Whether the vendor forgot the item or link.
    pub(super) forgotten: bool,
    /// Whether something happened of which no webhook can be expected to tell.
    pub(super) unsure: bool,
}

impl Side {
    pub(super) fn connection(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }
}

pub(super) struct World {
    pub(super) app: TestApp,
    pub(super) vendors: Vendors,
    pub(super) client: Client,
    pub(super) sides: BTreeMap<Vendor, Side>,
    /// The webhooks on their way.
    pub(super) flying: Vec<(Vendor, Value)>,
    /// How many of the vendors' calls were seen.
    called: Cell<Option<u64>>,
    replica: Replica,
    remembered: Replica,
}

impl World {
    /// A server that has just read both vendors for the first time.
    pub(super) async fn begin() -> Self {
        let proofs = [
            ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1"),
            ("DISCOVERY_BELVO_WEBHOOK_IPS", "127.0.0.1"),
        ];
        let random = Arc::new(Seeded(AtomicU64::new(1)));
        let (app, vendors) = TestApp::with_vendors_and_random(&proofs, random).await;
        let client = app.client();
        let control = vendors.control();
        control
            .send_json(
                axum::http::Method::PUT,
                "/_control/sender",
                json!({"hold": true}).to_string(),
            )
            .await
            .expect(200);
        let mut sides = BTreeMap::new();
        for vendor in Vendor::BOTH {
            let name = vendor.name();
            let body = json!({"vendor": name, "url": "http://nobody.invalid/"});
            control
                .post("/_control/subscriptions", &body)
                .await
                .expect(200);
            let created = client.post(PATH, &vendors.connection(name, name)).await;
            created.expect(201);
            let mint = json!({"vendor": name, "connection_config_name": name});
            let minted = client.post("/v1/discovery/webhooks/tokens", &mint).await;
            let url = minted.expect(201)["webhookUrl"]
                .as_str()
                .unwrap()
                .to_owned();
            let side = Side {
                vendor,
                path: created.header("location").to_owned(),
                receiver: url.trim_start_matches("http://discovery.test").to_owned(),
                truth: Truth::new(vendor),
                troubled: false,
                forgotten: false,
                unsure: false,
            };
            sides.insert(vendor, side);
        }
        vendors
            .scenario("pluggy", "configure", &json!({"pageSize": PAGE}))
            .await;
        vendors
            .scenario("belvo", "set", &json!({"most_per_page": PAGE}))
            .await;
        let mut world = Self {
            app,
            vendors,
            client,
            sides,
            flying: Vec::new(),
            called: Cell::new(None),
            replica: Replica::default(),
            remembered: Replica::default(),
        };
        for vendor in Vendor::BOTH {
            world.look(vendor).await;
        }
        world.work().await;
        // Of what happens in the moment of the first pulls nobody could tell whether they have read it.
        world.app.clock.advance(TimeDelta::minutes(1));
        world
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    pub(super) fn side(&mut self, vendor: Vendor) -> &mut Side {
        self.sides.get_mut(&vendor).unwrap()
    }

    /// Lets one thing happen, and looks whether everything is as it has to be.
    pub(super) async fn take(&mut self, step: &Step) {
        match step {
            Step::Edit(vendor, edit) => self.edit(*vendor, edit).await,
            Step::DeliverAll(order) => self.deliver_all(*order).await,
            Step::Deliver(which) => {
                if let Some((vendor, event)) = self.pick_flying(*which, true) {
                    self.deliver(vendor, &event).await;
                }
            }
            Step::Double(which) => {
                if let Some((vendor, event)) = self.pick_flying(*which, false) {
                    self.deliver(vendor, &event).await;
                }
            }
            Step::Lose(which) => {
                if let Some((vendor, _)) = self.pick_flying(*which, true) {
                    self.side(vendor).unsure = true;
                }
            }
            Step::Pass(minutes) => self
                .app
                .clock
                .advance(TimeDelta::minutes((*minutes).into())),
            Step::Work => self.work().await,
            Step::WorkThrough(fault) => self.work_through(*fault).await,
            Step::WorkAmid(hold, amid) => Box::pin(self.work_amid(*hold, amid)).await,
            Step::Trouble(vendor, trouble) => self.trouble(*vendor, *trouble).await,
            Step::Recover(vendor) => self.recover(*vendor).await,
            Step::Ask(vendor, days) => self.ask(*vendor, *days).await,
            Step::Retry(vendor) => self.retry(*vendor).await,
            Step::Read { answers, limit } => {
                for _ in 0..*answers {
                    self.replica.read(&self.client, *limit).await;
                }
            }
            Step::Remember => self.remembered = self.replica.clone(),
            Step::FallBack => self.replica = self.remembered.clone(),
        }
    }

    // ---- webhooks ----

    fn pick_flying(&mut self, which: usize, and_land: bool) -> Option<(Vendor, Value)> {
        let at = which.checked_rem(self.flying.len())?;
        Some(if and_land {
            self.flying.remove(at)
        } else {
            self.flying[at].clone()
        })
    }

    async fn deliver(&self, vendor: Vendor, event: &Value) {
        let receiver = &self.sides[&vendor].receiver;
        let answer = self.app.anonymous().post(receiver, event).await;
        answer.expect(202);
    }

    pub(super) async fn deliver_all(&mut self, order: Order) {
        let mut all = std::mem::take(&mut self.flying);
        if matches!(order, Order::LastFirst) {
            all.reverse();
        }
        for (vendor, event) in all {
            self.deliver(vendor, &event).await;
        }
    }

    // ---- operators ----

    async fn ask(&self, vendor: Vendor, days: Option<u8>) {
        let today = self.now().date_naive();
        let body = days.map_or(
            json!({}),
            |days| json!({"from": today - Days::new(days.into()), "to": today}),
        );
        let path = format!("{}/pulls", self.sides[&vendor].path);
        self.client.post(&path, &body).await.expect(202);
    }

    /// The pulls of a vendor's connection, the newest first.
    pub(super) async fn pulls(&self, vendor: Vendor) -> Vec<Value> {
        let path = format!("{}/pulls?limit=20", self.sides[&vendor].path);
        let page = self.client.get(&path).await.expect(200);
        page["items"].as_array().unwrap().clone()
    }

    async fn retry(&self, vendor: Vendor) {
        let last = self.pulls(vendor).await.remove(0);
        if last["state"] == "failed" || last["state"] == "cancelled" {
            let id = last["id"].as_str().unwrap();
            let path = format!("/v1/discovery/pulls/{id}/retry");
            let answer = self.client.post(&path, &json!({})).await;
            answer.expect(202);
        }
    }

    async fn cancel(&mut self, vendor: Vendor) {
        for pull in self.pulls(vendor).await {
            if pull["state"] == "running" {
                let id = pull["id"].as_str().unwrap();
                let path = format!("/v1/discovery/pulls/{id}/cancel");
                self.client.post(&path, &json!({})).await.expect(200);
                // What it was asked for is called off with it.
                self.side(vendor).unsure = true;
            }
        }
    }

    pub(super) async fn status(&self, vendor: Vendor) -> Value {
        let path = format!("{}/status", self.sides[&vendor].path);
        self.client.get(&path).await.expect(200)
    }

    // ---- workers ----

    async fn upkeep(&self) {
        // Whatever begins now begins after what was over before, as it always does where clocks run.
        self.app.clock.advance(TimeDelta::milliseconds(1));
        self.app.app().reclaim_abandoned_pulls().await.unwrap();
        self.app.app().ask_for_sweeps().await.unwrap();
    }

    pub(super) async fn work(&mut self) {
        self.upkeep().await;
        work_off(self.app.app()).await.unwrap();
        self.settle(false).await;
    }

    async fn work_through(&mut self, fault: Fault) {
        let path = match (fault.vendor, fault.place) {
            (Vendor::Pluggy, Place::Key) => {
                let nothing = json!({});
                self.vendors
                    .scenario("pluggy", "expire-keys", &nothing)
                    .await;
                "/auth"
            }
            (Vendor::Pluggy, Place::Source) => "/items",
            (Vendor::Pluggy, Place::Accounts) => "/accounts",
            (Vendor::Pluggy, Place::Rows) => "/v2/transactions",
            (Vendor::Belvo, Place::Key | Place::Source) => "/api/links",
            (Vendor::Belvo, Place::Accounts) => "/api/accounts",
            (Vendor::Belvo, Place::Rows) => "/api/transactions",
        };
        let kind = match fault.kind {
            Kind::TooMany(reset) => json!({"kind": "too-many", "reset": reset}),
            Kind::Unavailable(status) => json!({"kind": "unavailable", "status": status}),
            Kind::Forbidden => json!({"kind": "forbidden"}),
            Kind::Reset => json!({"kind": "reset"}),
            Kind::Truncate => json!({"kind": "truncate"}),
            Kind::Cut => json!({"kind": "cut"}),
            Kind::Html => json!({"kind": "html"}),
            Kind::Charset => json!({"kind": "charset"}),
            Kind::ErrorInside => json!({"kind": "error-inside"}),
        };
        self.vendors
            .fault(&json!({
                "vendor": fault.vendor.name(), "path": path, "after": fault.after,
                "times": fault.times, "fault": kind,
            }))
            .await;
        self.upkeep().await;
        work_off(self.app.app()).await.unwrap();
        self.vendors.no_faults().await;
        self.settle(false).await;
    }

    async fn work_amid(&mut self, hold: Hold, amid: &[Amid]) {
        let path = match hold.vendor {
            Vendor::Pluggy => "/v2/transactions",
            Vendor::Belvo => "/api/transactions",
        };
        self.vendors
            .fault(&json!({
                "vendor": hold.vendor.name(), "path": path, "after": hold.after, "times": 1,
                "fault": {"kind": "hold"},
            }))
            .await;
        self.upkeep().await;
        let app = self.app.app().clone();
        let done = Cell::new(false);
        let working = async {
            work_off(&app).await.unwrap();
            done.set(true);
        };
        let dies = amid.iter().any(|one| matches!(one, Amid::Die));
        let meddling = async {
            while !done.get() && !self.is_held().await {
                tokio::task::yield_now().await;
            }
            if !done.get() {
                for one in amid {
                    self.meddle(hold.vendor, one).await;
                }
            }
            if !dies || done.get() {
                self.vendors.no_faults().await;
            }
        };
        if dies {
            tokio::select! {
                () = async { tokio::join!(working, std::future::pending::<()>()); } => {}
                () = meddling => {}
            }
        } else {
            tokio::join!(working, meddling);
        }
        self.vendors.no_faults().await;
        for vendor in Vendor::BOTH {
            self.look(vendor).await;
        }
        self.settle(dies).await;
    }

    async fn meddle(&mut self, vendor: Vendor, amid: &Amid) {
        match amid {
            Amid::Edit(edit) => self.edit(vendor, edit).await,
            Amid::DeliverAll => self.deliver_all(Order::FirstFirst).await,
            Amid::Ask => self.ask(vendor, None).await,
            Amid::Cancel => self.cancel(vendor).await,
            Amid::TakeOver => {
                self.app.clock.advance(TimeDelta::minutes(2));
                self.upkeep().await;
                work_off(self.app.app()).await.unwrap();
            }
            Amid::Die => {}
            Amid::Trouble(trouble) => self.trouble(vendor, *trouble).await,
            Amid::Forget => self.forget(vendor).await,
        }
    }

    /// Whether a call is held at a vendor.
    async fn is_held(&self) -> bool {
        let after = self.called.get();
        let after = after.map_or(String::new(), |after| format!("?after={after}"));
        let path = format!("/_control/calls{after}");
        let calls = self.vendors.control().get(&path).await.expect(200);
        let calls = calls["calls"].as_array().unwrap();
        if let Some(open) = calls.iter().find(|call| call["status"].is_null()) {
            return self.called.get() != open["seq"].as_u64();
        }
        if let Some(last) = calls.last() {
            self.called.set(last["seq"].as_u64());
        }
        false
    }

    // ---- what has to hold ----

    /// Looks at the tables after the workers had their turn.
    async fn settle(&mut self, died: bool) {
        for vendor in Vendor::BOTH {
            let stored = Stored::read(&self.app, &self.sides[&vendor]).await;
            check::possible(&self.sides[&vendor], &stored);
            let pulls = self.pulls(vendor).await;
            // The one that was over last: of two that were asked for in one instant, either may be the
            // first of the list.
            let ended = pulls
                .iter()
                .filter(|one| one["state"] == "succeeded" || one["state"] == "failed")
                .max_by_key(|one| (one["finishedAt"].as_str().unwrap(), one["id"].as_str()));
            let failed = ended.filter(|ended| ended["state"] == "failed");
            if let Some(failed) = failed {
                let status = self.status(vendor).await;
                assert_eq!(status["data"]["verdict"], "failing", "{status:#}");
                assert_eq!(status["data"]["reason"], failed["error"]["class"]);
            }
            let live = ["queued", "running", "retrying"];
            let quiet = !died
                && failed.is_none()
                && !self.flying.iter().any(|(of, _)| *of == vendor)
                && pulls
                    .iter()
                    .all(|one| !live.contains(&one["state"].as_str().unwrap()));
            let side = &self.sides[&vendor];
            if side.truth.living == stored.living() {
                if quiet && !side.troubled {
                    self.side(vendor).unsure = false;
                }
            } else if quiet && !side.unsure {
                check::same(
                    side,
                    &stored,
                    "every webhook came in and every pull is over",
                );
            }
        }
    }

    /// We have what the vendor has.
    pub(super) async fn expect_truth(&self, vendor: Vendor) {
        let side = &self.sides[&vendor];
        let stored = Stored::read(&self.app, side).await;
        check::same(side, &stored, "all of it");
    }

    /// Lets everything go well for long enough, and expects that all are of one mind.
    pub(super) async fn end(mut self) {
        // What is still on its way is lost, so that only looking finds it.
        for vendor in Vendor::BOTH {
            self.recover(vendor).await;
            self.side(vendor).unsure = true;
        }
        self.flying.clear();
        // Two listings of everything have to agree on what is gone.
        for _ in 0..3 {
            self.app.clock.advance(TimeDelta::days(8));
            self.work().await;
        }
        crate::api::transaction_changes::settled(&self.app).await;
        self.replica.read_on(&self.client).await;
        let mut late = Replica::default();
        late.read_on(&self.client).await;
        let mut living = BTreeSet::new();
        for (vendor, side) in &self.sides {
            let stored = Stored::read(&self.app, side).await;
            check::same(side, &stored, "three weeks without trouble");
            living.extend(stored.ids());
            let status = self.status(*vendor).await;
            assert_eq!(status["data"]["verdict"], "fresh", "{status:#}");
            assert_eq!(status["source"]["verdict"], "ok", "{status:#}");
            for replica in [&self.replica, &late] {
                check::replayed(&stored, replica);
            }
        }
        for replica in [&self.replica, &late] {
            let held: BTreeSet<String> = replica.held.keys().cloned().collect();
            assert_eq!(held, living, "what the feed told is what there is");
        }
    }
}
