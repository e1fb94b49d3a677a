//! The simulated vendors, on a port of this machine.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::http::Method;
use futures_util::{FutureExt as _, future::BoxFuture};
use matcher_discovery::{
    domain::{
        base_url::BaseUrl, clock::Clock, connection::AccountRef, credential::Credential,
        host_rule::HostOrNet,
    },
    local::simulator::{
        BELVO_LINK, BELVO_PASSWORD, BELVO_SECRET_ID, Options, PLUGGY_CLIENT_ID, PLUGGY_ITEM,
        PLUGGY_SECRET, Simulator,
    },
    net::{Client as NetClient, NetConfig},
    shutdown::Shutdown,
    vendors::{
        Access, AccountToRead, Aggregator, Read,
        belvo::Belvo,
        budget::{Bucket, Budget, BudgetError, Share},
        pluggy::Pluggy,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Client;

/// Room for everything.
#[derive(Debug)]
pub(crate) struct Unlimited;

impl Budget for Unlimited {
    fn take(&self, _: Bucket, _: Share, _: Duration) -> BoxFuture<'_, Result<(), BudgetError>> {
        async { Ok(()) }.boxed()
    }
}

/// Both vendors, and the strings they hang by.
pub(crate) struct Vendors {
    address: SocketAddr,
    control: Client,
    shutdown: Shutdown,
}

impl Drop for Vendors {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Vendors {
    /// Starts both with the demo's world.
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let simulator = Simulator::new(Options {
            seed: 1,
            clock,
            demo: true,
        })
        .unwrap();
        let control = Client::new(simulator.router(), None);
        let shutdown = Shutdown::new();
        let serving = shutdown.clone();
        shutdown.spawn("simulator", async move {
            simulator.serve(listener, &serving).await;
        });
        Self {
            address,
            control,
            shutdown,
        }
    }

    /// `host:port`, for an allow list.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What creates a connection to the demo's data.
    pub(crate) fn connection(&self, vendor: &str, name: &str) -> Value {
        let (account_ref, client_id, secret) = match vendor {
            "pluggy" => (PLUGGY_ITEM, PLUGGY_CLIENT_ID, PLUGGY_SECRET),
            _ => (BELVO_LINK, BELVO_SECRET_ID, BELVO_PASSWORD),
        };
        json!({
            "vendor": vendor,
            "configName": name,
            "baseUrl": self.url(),
            "accountRef": account_ref,
            "clientId": client_id,
            "secret": secret,
        })
    }

    /// Whoever steers both from outside.
    pub(crate) fn control(&self) -> &Client {
        &self.control
    }

    /// Lets something happen; answers the events that were sent of it.
    pub(crate) async fn scenario(&self, vendor: &str, name: &str, params: &Value) -> Value {
        let path = format!("/_control/{vendor}/scenarios/{name}");
        self.control.post(&path, params).await.expect(200)
    }

    /// The id of one of Pluggy's accounts.
    pub(crate) async fn pluggy_account(&self) -> String {
        let state = self.control.get("/_control/state").await.expect(200);
        let accounts = state["pluggy"]["items"][0]["accounts"].as_array().unwrap();
        accounts[0]["id"].as_str().unwrap().to_owned()
    }

    /// The id of an account of one of Pluggy's items.
    pub(crate) async fn pluggy_account_of(&self, item: &str) -> String {
        let state = self.state().await;
        let items = state["pluggy"]["items"].as_array().unwrap();
        let item = items.iter().find(|one| one["id"] == item).unwrap();
        item["accounts"][0]["id"].as_str().unwrap().to_owned()
    }

    /// How many rows the vendor has.
    pub(crate) async fn rows(&self, vendor: &str) -> i64 {
        let state = self.control.get("/_control/state").await.expect(200);
        count_rows(&state[vendor])
    }

    /// Every row that the vendor has, read by a client of its own: name, day, amount, status and
    /// description.
    pub(crate) async fn read_all(&self, vendor: &str, clock: Arc<dyn Clock>) -> Vec<String> {
        let made = self.connection(vendor, vendor);
        let reference = made["accountRef"].as_str().unwrap();
        self.read_all_of(vendor, reference, clock).await
    }

    /// The same of another item or link.
    pub(crate) async fn read_all_of(
        &self,
        vendor: &str,
        reference: &str,
        clock: Arc<dyn Clock>,
    ) -> Vec<String> {
        let net = NetClient::new(NetConfig {
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(30),
            body_cap: 32 * 1024 * 1024,
            exemptions: vec![HostOrNet::Host(self.host().parse().unwrap())],
            proxy: None,
        })
        .unwrap();
        let budget = Arc::new(Unlimited);
        let client: Box<dyn Aggregator> = match vendor {
            "pluggy" => Box::new(Pluggy::new(net, clock, budget)),
            _ => Box::new(Belvo::new(net, budget)),
        };
        let made = self.connection(vendor, vendor);
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        let access = Access {
            base_url: BaseUrl::from_stored(self.url()),
            credential: Credential::new(text("clientId"), text("secret")),
            account_ref: AccountRef::from_stored(reference.to_owned()),
            patience: Duration::ZERO,
            call_timeout: Duration::from_secs(20),
            deadline: None,
            share: Share::Whole,
        };
        let mut all = Vec::new();
        for account in client.accounts(&access).await.unwrap().accounts {
            let asked = AccountToRead {
                vendor_id: &account.vendor_id,
                account_type: account.account_type,
            };
            let mut mark = None;
            loop {
                let page = client
                    .transactions(&access, asked, &Read::Full, mark.as_ref())
                    .await
                    .unwrap();
                all.extend(page.converted.rows.into_iter().map(|row| {
                    format!(
                        "{} {} {} {} {}",
                        row.vendor_id,
                        row.civil_date,
                        row.amount.decimal(),
                        row.status.as_str(),
                        row.description
                    )
                }));
                mark = page.next;
                if mark.is_none() {
                    break;
                }
            }
        }
        all
    }

    /// Adds rows to an account.
    pub(crate) async fn add_rows(&self, vendor: &str, params: &Value) {
        let path = format!("/_control/{vendor}/rows");
        self.control.post(&path, params).await.expect(200);
    }

    /// Scripts a fault.
    pub(crate) async fn fault(&self, rule: &Value) {
        self.control
            .post("/_control/faults", rule)
            .await
            .expect(200);
    }

    /// Lets everything go well again.
    pub(crate) async fn no_faults(&self) {
        self.control.delete("/_control/faults").await.expect(204);
    }

    /// The figures of the rate limits.
    pub(crate) async fn limits(&self, figures: &Value) {
        let path = "/_control/limits";
        self.control
            .send_json(Method::PUT, path, figures.to_string())
            .await
            .expect(200);
    }

    /// Both worlds in short, and the sender.
    pub(crate) async fn state(&self) -> Value {
        self.control.get("/_control/state").await.expect(200)
    }

    /// Tells `url` of whatever happens at a vendor.
    pub(crate) async fn subscribe(&self, vendor: &str, url: &str) {
        let one = json!({"vendor": vendor, "url": url});
        self.control
            .post("/_control/subscriptions", &one)
            .await
            .expect(200);
    }

    /// How webhooks are sent.
    pub(crate) async fn sender(&self, mode: &Value) {
        self.control.put("/_control/sender", mode).await.expect(200);
    }

    /// Sends a webhook.
    pub(crate) async fn fire(&self, vendor: &str, body: &Value) {
        let path = format!("/_control/{vendor}/fire");
        let fired = json!({"resource": "", "body": body});
        self.control.post(&path, &fired).await.expect(200);
    }

    /// The webhooks that were sent, each with its attempts.
    pub(crate) async fn deliveries(&self) -> Vec<Value> {
        let log = self.control.get("/_control/deliveries").await.expect(200);
        log["deliveries"].as_array().unwrap().clone()
    }

    /// The calls that came after the one of that number.
    pub(crate) async fn calls_after(&self, number: u64) -> Vec<Value> {
        let path = format!("/_control/calls?after={number}");
        let log = self.control.get(&path).await.expect(200);
        log["calls"].as_array().unwrap().clone()
    }

    /// What was called since the last time, as `METHOD /path`.
    pub(crate) async fn calls(&self) -> Vec<String> {
        let log = self.control.get("/_control/calls").await.expect(200);
        self.control.delete("/_control/calls").await.expect(204);
        let calls = log["calls"].as_array().unwrap();
        calls
            .iter()
            .map(|call| {
                let part = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
                format!("{} {}", part("method"), part("path"))
            })
            .collect()
    }
}

/// Adds up the members `rows` of whatever has no accounts of its own.
fn count_rows(state: &Value) -> i64 {
    match state {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match value.as_i64() {
                Some(rows) if name == "rows" && !members.contains_key("accounts") => rows,
                Some(_) => 0,
                _ => count_rows(value),
            })
            .sum(),
        Value::Array(items) => items.iter().map(count_rows).sum(),
        _ => 0,
    }
}
