//! What the server must survive: being killed and paused, and a database that goes away.
//!
//! The real program runs here, against the simulated vendors and by the machine's own clock. What is
//! waited for is always that something has happened.

mod chance;
mod ended;
mod exhausted;
mod full;
mod killed;
mod restarted;
mod silent;
mod tenants;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use matcher_discovery::{
    cli::wiring::{self, Outside},
    config::{Config, Profile, Source},
    domain::{
        clock::{Clock as _, SystemClock},
        random::OsRandom,
    },
    shutdown::Shutdown,
};
use serde_json::{Value, json};
use sqlx::{Decode, Postgres, Type, postgres::PgConnectOptions};
use tokio::time::MissedTickBehavior;

use self::chance::Chance;
use crate::{
    api::aggregator_connections::PATH,
    support::{
        Client, Vendors, inspect,
        process::Process,
        relay::{CERTIFICATE, Relay},
        tokens,
    },
};

const JWT_SECRET: &str = "the tests' own secret, which is long enough";
const KEYRING: &str = "k1:yN0eXiM1zU7uP4Tq9Wb2fGhJkLmNoPqRsTuVwXyZ0aE=";
const TENANT: &str = "44444444-4444-4444-4444-444444444444";
const VENDORS: [&str; 2] = ["pluggy", "belvo"];
/// A bound on waiting for what is sure to happen; met only when it does not.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(80);

/// Where a vendor's rows go.
struct Endpoint {
    /// The id of the connection.
    id: String,
    /// The path that its webhooks come to.
    receiver: String,
}

/// A database, both vendors, a connection to each, and webhooks that lead to whichever server runs.
struct House {
    vendors: Vendors,
    /// Where the vendors are called: the program insists on TLS.
    door: Relay,
    /// Where the webhooks go.
    relay: Relay,
    /// A server in this process, for what an operator asks for. It works on no pull.
    client: Client,
    environment: BTreeMap<&'static str, String>,
    admin: PgConnectOptions,
    /// Until when whoever works no more did.
    idle_at: Mutex<DateTime<Utc>>,
    endpoints: BTreeMap<&'static str, Endpoint>,
    shutdown: Shutdown,
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl House {
    /// Builds it over a database with the present schema.
    async fn build(database: String, admin: PgConnectOptions) -> Self {
        let vendors = Vendors::start(Arc::new(SystemClock)).await;
        let door = Relay::over_tls(vendors.address()).await;
        let environment = BTreeMap::from([
            ("SSL_CERT_FILE", CERTIFICATE.to_owned()),
            ("DISCOVERY_DATABASE_URL", database),
            ("DISCOVERY_LISTEN", "127.0.0.1:0".to_owned()),
            ("DISCOVERY_PUBLIC_URL", "http://discovery.test".to_owned()),
            ("DISCOVERY_KEYRING", KEYRING.to_owned()),
            ("DISCOVERY_JWT_HMAC_SECRET", JWT_SECRET.to_owned()),
            ("DISCOVERY_LOG_FORMAT", "text".to_owned()),
            ("DISCOVERY_PLUGGY_HOSTS", door.address().to_string()),
            ("DISCOVERY_BELVO_HOSTS", door.address().to_string()),
            ("DISCOVERY_PLUGGY_RATE_LIMIT", "1000000".to_owned()),
            ("DISCOVERY_BELVO_RATE_LIMIT", "1000000".to_owned()),
            ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1".to_owned()),
            ("DISCOVERY_BELVO_WEBHOOK_IPS", "127.0.0.1".to_owned()),
        ]);
        let shutdown = Shutdown::new();
        let source = Source::new(environment.clone());
        let config = Config::read(&source, Profile::Serve, wiring::CHECKS).unwrap();
        let service = wiring::assemble(
            &config,
            Outside {
                clock: Arc::new(SystemClock),
                random: Arc::new(OsRandom),
                connectors: Vec::new(),
                allow_http: false,
                shutdown: shutdown.clone(),
            },
        )
        .unwrap();
        let claims = json!({"tenant_id": TENANT, "sub": "tester", "exp": 4_000_000_000_u64});
        let token = tokens::sign(JWT_SECRET.as_bytes(), &claims);
        let mut house = Self {
            vendors,
            door,
            relay: Relay::start().await,
            client: Client::new(service.router, Some(&token)),
            environment,
            admin,
            idle_at: Mutex::new(SystemClock.now()),
            endpoints: BTreeMap::new(),
            shutdown,
        };
        for vendor in VENDORS {
            let endpoint = house.connect(vendor).await;
            house.endpoints.insert(vendor, endpoint);
        }
        // Small pages, so that there is more to be interrupted; and a vendor's patience in a hurry.
        let pages = json!({"pageSize": 60});
        house.vendors.scenario("pluggy", "configure", &pages).await;
        house.vendors.limits(&json!({"enabled": false})).await;
        let hurry = json!({"speed": 10_000, "parallel": 8});
        house.vendors.sender(&hurry).await;
        house
    }

    async fn connect(&self, vendor: &str) -> Endpoint {
        let mut new = self.vendors.connection(vendor, vendor);
        new["baseUrl"] = json!(format!("https://{}", self.door.address()));
        let created = self.client.post(PATH, &new).await;
        created.expect(201);
        let path = created.header("location");
        let mint = json!({"vendor": vendor, "connection_config_name": vendor});
        let minted = self
            .client
            .post("/v1/discovery/webhooks/tokens", &mint)
            .await
            .expect(201);
        let url = minted["webhookUrl"].as_str().unwrap();
        let receiver = url.trim_start_matches("http://discovery.test").to_owned();
        let here = format!("http://{}", self.relay.address());
        let url = url.replacen("http://discovery.test", &here, 1);
        self.vendors.subscribe(vendor, &url).await;
        let id = path.rsplit('/').next().unwrap().to_owned();
        Endpoint { id, receiver }
    }

    /// Starts the program; webhooks go there from now on.
    async fn serve(&self) -> Process {
        let mut server = Process::spawn(&["serve", "--role", "all"], &self.environment);
        self.relay.lead_to(server.listening().await);
        server
    }

    /// Starts the program where it only works on pulls.
    async fn work(&self) -> Process {
        let mut worker = Process::spawn(&["serve", "--role", "worker"], &self.environment);
        worker.listening().await;
        worker
    }

    /// Asks for a pull, as an operator does.
    async fn ask_for_pull(&self, vendor: &str) {
        let pulls = format!("{PATH}/{}/pulls", self.endpoints[vendor].id);
        self.client.post(&pulls, &json!({})).await.expect(202);
    }

    /// Lets something happen at a vendor, who tells of it.
    async fn something_happens(&self, chance: &mut Chance) {
        const PLUGGY: [&str; 8] = [
            "daily-sync",
            "pending-row",
            "back-dated-row",
            "edit-description",
            "edit-amount",
            "delete-row",
            "refund",
            "instalment-plan",
        ];
        const BELVO: [&str; 4] = [
            "daily-refresh",
            "edit-amount",
            "edit-description",
            "delete-row",
        ];
        let (vendor, scenario) = if chance.below(2) == 0 {
            ("pluggy", *chance.of(&PLUGGY))
        } else {
            ("belvo", *chance.of(&BELVO))
        };
        self.vendors.scenario(vendor, scenario, &json!({})).await;
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let looking = async {
            // Whoever looks must leave room for what is looked for.
            let mut looks = tokio::time::interval(GLANCE);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !is_so().await {
                looks.tick().await;
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            let looks = self.looks().await;
            panic!("it never came to be that {what}; {looks}");
        }
    }

    /// What somebody wants to know when it does not go on.
    async fn looks(&self) -> String {
        let deliveries = self.vendors.deliveries().await;
        let open = deliveries
            .iter()
            .filter(|one| one["outcome"] == "waiting")
            .map(ToString::to_string);
        let pulls =
            "SELECT to_jsonb(p)::text FROM pulls p WHERE state NOT IN ('succeeded', 'cancelled')";
        let sessions = "SELECT to_jsonb(s)::text FROM pg_stat_activity s
                        WHERE datname = current_database() AND state <> 'idle'";
        let mut all: Vec<String> = open.collect();
        all.push(self.vendors.state().await.to_string());
        all.extend(self.column::<String>(pulls).await);
        all.extend(self.column::<String>(sessions).await);
        all.join("\n")
    }

    async fn column<T>(&self, query: &str) -> Vec<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        inspect::column(&self.admin, query).await
    }

    async fn count(&self, of: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {of}");
        self.column(&query).await[0]
    }

    /// Notes that whoever was at work until now is so no more.
    async fn nobody_works(&self) {
        *self.idle_at.lock().unwrap() = SystemClock.now();
        self.let_leases_lapse().await;
    }

    /// Lets the leases run out that were taken or kept before that, as they would by themselves within
    /// a minute: it only makes the wait shorter. Not once and for all, since what a killed program
    /// said last may still be on its way to the database.
    async fn let_leases_lapse(&self) {
        let idle_at = self.idle_at.lock().unwrap().to_rfc3339();
        let lapse = format!(
            "UPDATE pulls SET lease_until = now() - interval '1 second'
             WHERE state = 'running' AND lease_until > now()
               AND lease_until < '{idle_at}'::timestamptz + interval '60 seconds'"
        );
        inspect::execute(&self.admin, &lapse).await;
    }

    /// Lets the pulls that wait before they try again do so at once: it only makes the wait shorter.
    async fn let_backoffs_pass(&self) {
        let pass = "UPDATE pulls SET due_at = now() WHERE state = 'retrying';
                    SELECT pg_notify('discovery_pulls', '')";
        inspect::execute(&self.admin, pass).await;
    }

    /// Sees to it that every webhook arrives in the end: what the vendor gave up sending is sent
    /// again, as an operator of the vendor would.
    async fn everything_arrives(&self) {
        self.until("every webhook arrived", async || {
            let mut open: BTreeMap<String, (Value, Value)> = BTreeMap::new();
            let mut over = BTreeSet::new();
            let mut waits = false;
            for one in self.vendors.deliveries().await {
                let body = one["body"].to_string();
                match one["outcome"].as_str().unwrap() {
                    "delivered" => drop(over.insert(body)),
                    "lost" => drop(open.insert(body, (one["vendor"].clone(), one["body"].clone()))),
                    _ => waits = true,
                }
            }
            open.retain(|body, _| !over.contains(body));
            if waits {
                return false;
            }
            for (vendor, body) in open.values() {
                self.vendors.fire(vendor.as_str().unwrap(), body).await;
            }
            open.is_empty()
        })
        .await;
    }

    /// Whether there is nothing left to do.
    async fn is_dry(&self) -> bool {
        self.let_leases_lapse().await;
        self.count("pulls WHERE state NOT IN ('succeeded', 'failed', 'cancelled')")
            .await
            == 0
    }

    /// The number of the last call that a vendor received.
    async fn last_call(&self) -> u64 {
        let calls = self.vendors.calls_after(0).await;
        calls.last().map_or(0, |call| call["seq"].as_u64().unwrap())
    }

    /// Where one connection's webhooks go.
    fn receiver(&self, vendor: &str) -> &str {
        &self.endpoints[vendor].receiver
    }

    /// Waits until there is nothing left to do.
    async fn runs_dry(&self) {
        self.until("the queue ran dry", async || self.is_dry().await)
            .await;
    }

    /// The bodies of the webhooks that were answered 202, by the vendor's own log.
    async fn acknowledged(&self) -> BTreeSet<String> {
        let deliveries = self.vendors.deliveries().await;
        let taken = deliveries.iter().filter(|one| {
            let attempts = one["attempts"].as_array().unwrap();
            attempts.iter().any(|attempt| attempt["status"] == 202)
        });
        taken.map(|one| one["body"].to_string()).collect()
    }

    /// Expects that all that was acknowledged is written down, and once.
    async fn expect_every_acknowledged_webhook(&self) {
        let kept: Vec<Vec<u8>> = self.column("SELECT body FROM deliveries").await;
        let kept: Vec<String> = kept
            .iter()
            .map(|body| serde_json::from_slice::<Value>(body).unwrap().to_string())
            .collect();
        let distinct: BTreeSet<String> = kept.iter().cloned().collect();
        assert_eq!(kept.len(), distinct.len(), "an event is written down once");
        let acknowledged = self.acknowledged().await;
        assert!(!acknowledged.is_empty());
        let lost: Vec<&String> = acknowledged.difference(&distinct).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:#?}");
    }

    /// Expects that both connections have what their vendor has, row by row, and that no pull went
    /// wrong for good.
    async fn expect_truth(&self) {
        for vendor in VENDORS {
            let mut truth = self.vendors.read_all(vendor, Arc::new(SystemClock)).await;
            truth.sort_unstable();
            let id = &self.endpoints[vendor].id;
            // Every row that lives, so that one that is there twice is found.
            let mut ours: Vec<String> = self
                .column(&format!(
                    "SELECT vendor_id || ' ' || civil_date || ' ' || trim_scale(amount) || ' '
                            || status || ' ' || description
                     FROM transactions WHERE connection_id = '{id}' AND deleted_at IS NULL"
                ))
                .await;
            ours.sort_unstable();
            let missing: Vec<_> = truth.iter().filter(|row| !ours.contains(row)).collect();
            let extra: Vec<_> = ours.iter().filter(|row| !truth.contains(row)).collect();
            assert!(
                missing.is_empty() && extra.is_empty(),
                "{vendor}: missing {missing:#?}, extra {extra:#?}"
            );
            assert_eq!(ours.len(), truth.len(), "{vendor}: no row twice");
        }
        let failed: Vec<String> = self
            .column("SELECT to_jsonb(p)::text FROM pulls p WHERE state = 'failed'")
            .await;
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
