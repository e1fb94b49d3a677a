//! Two tenants at once, each of whom must see nothing of the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{body::Body, http::Method};
use chrono::TimeDelta;
use matcher_discovery::worker::work_off;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    api::aggregator_connections::PATH,
    support::{Client, TestApp, Vendors},
};

/// How many times something happens to each connection.
const ROUNDS: usize = 5;

/// A connection of one of them, and the item or link that it reads.
struct Held {
    vendor: &'static str,
    resource: String,
    path: String,
    receiver: String,
}

async fn connect(client: &Client, vendors: &Vendors, vendor: &'static str, item: &str) -> Held {
    // The names are the same on both sides.
    let mut new = vendors.connection(vendor, vendor);
    new["accountRef"] = json!(item);
    let created = client.post(PATH, &new).await;
    created.expect(201);
    let mint = json!({"vendor": vendor, "connection_config_name": vendor});
    let tokens = "/v1/discovery/webhooks/tokens";
    let url = client.post(tokens, &mint).await.expect(201)["webhookUrl"].clone();
    let receiver = url
        .as_str()
        .unwrap()
        .trim_start_matches("http://discovery.test");
    Held {
        vendor,
        resource: item.to_owned(),
        path: created.header("location").to_owned(),
        receiver: receiver.to_owned(),
    }
}

/// Everything in a text that is written like an identifier.
fn identifiers(text: &str) -> impl Iterator<Item = Uuid> {
    let word = |c: char| !c.is_ascii_hexdigit() && c != '-';
    let words = text.split(word).filter(|word| word.len() == 36);
    words.filter_map(|word| word.parse().ok())
}

/// Everything that a caller is told of his own connections, in every form there is.
async fn read_everything(client: &Client, paths: &[String]) -> BTreeSet<Uuid> {
    let mut seen = BTreeSet::new();
    let mut look = async |path: &str, accept: &str| {
        let request = client
            .request(Method::GET, path)
            .header("accept", accept)
            .body(Body::empty());
        let answer = client.send(request.unwrap()).await;
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{path}: {text}");
        seen.extend(identifiers(&text));
        text
    };
    let json = "application/json";
    let transactions = "/v1/discovery/transactions";
    for path in [PATH, "/v1/discovery/webhooks/tokens"] {
        look(path, json).await;
    }
    let mut lists = vec![transactions.to_owned()];
    for path in paths {
        look(path, json).await;
        look(&format!("{path}/status"), json).await;
        for list in ["pulls", "deliveries", "accounts"] {
            look(&format!("{path}/{list}?limit=200"), json).await;
        }
        lists.push(format!("{path}/transactions"));
    }
    for list in lists {
        let page = look(&format!("{list}?limit=200"), json).await;
        look(&list, "application/x-ndjson").await;
        look(&list, "text/csv").await;
        let page: Value = serde_json::from_str(&page).unwrap();
        // Those that have been changed before.
        let rows = page["items"].as_array().unwrap().iter();
        for row in rows.filter(|row| row["version"] != 1).take(5) {
            let id = row["id"].as_str().unwrap();
            look(&format!("{transactions}/{id}/versions"), json).await;
        }
    }
    let mut feed = format!("{transactions}/changes?limit=200");
    loop {
        let page: Value = serde_json::from_str(&look(&feed, json).await).unwrap();
        if page["hasMore"] != true {
            return seen;
        }
        let cursor = page["nextCursor"].as_str().unwrap();
        feed = format!("{transactions}/changes?limit=200&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_sees_anything_of_another_tenant_while_both_are_busy() {
    let variables = [
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1"),
        ("DISCOVERY_BELVO_WEBHOOK_IPS", "127.0.0.1"),
    ];
    let (app, vendors) = TestApp::with_vendors_and(&variables).await;
    let reference = |vendor: &str| {
        let known = vendors.connection(vendor, vendor)["accountRef"].clone();
        known.as_str().unwrap().to_owned()
    };
    let second = Uuid::from_u128(0x0bad_cafe_0000_4000_8000_0000_0000_0002).to_string();
    let added = json!({"itemId": second, "rows": 30});
    vendors.scenario("pluggy", "add-item", &added).await;
    let clients = [app.client(), app.other_tenant()];
    let held = [
        vec![connect(&clients[0], &vendors, "pluggy", &reference("pluggy")).await],
        vec![
            connect(&clients[1], &vendors, "pluggy", &second).await,
            connect(&clients[1], &vendors, "belvo", &reference("belvo")).await,
        ],
    ];

    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        let paths: Vec<String> = held[number].iter().map(|one| one.path.clone()).collect();
        {
            let (client, done, paths) = (client.clone(), Arc::clone(&done), paths.clone());
            readers.spawn(async move {
                let mut seen = BTreeSet::new();
                loop {
                    // Once more after the last write.
                    let last = done.load(Ordering::SeqCst);
                    seen.extend(read_everything(&client, &paths).await);
                    if last {
                        return (number, seen);
                    }
                }
            });
        }
    }
    for _ in 0..ROUNDS {
        app.clock.advance(TimeDelta::minutes(7));
        for one in held.iter().flatten() {
            happen(&app, &vendors, one).await;
        }
        let (one, other) = tokio::join!(work_off(app.app()), work_off(app.app()));
        assert!(one.unwrap() + other.unwrap() > 0);
    }
    done.store(true, Ordering::SeqCst);
    let seen = readers.join_all().await;

    // Whose everything is, by the tables and by the vendors' own names.
    let whose = owners(&app).await;
    let tenants = [
        app.tenant.to_string(),
        "22222222-2222-2222-2222-222222222222".to_owned(),
    ];
    for (number, ids) in seen {
        let other = &tenants[1 - number];
        let theirs: Vec<&Uuid> = ids
            .iter()
            .filter(|id| whose.get(id) == Some(other))
            .collect();
        assert!(theirs.is_empty(), "tenant {number} sees {theirs:?}");
        let own = ids
            .iter()
            .filter(|id| whose.get(id) == Some(&tenants[number]));
        assert!(own.count() > 200, "tenant {number} sees what is its own");
        for one in &held[1 - number] {
            for path in [one.path.clone(), format!("{}/transactions", one.path)] {
                let answer = clients[number].get(&path).await;
                assert_eq!(answer.status, 404, "{path}");
            }
        }
    }
}

/// Lets something happen to what a connection reads, and tells the server of it.
async fn happen(app: &TestApp, vendors: &Vendors, held: &Held) {
    let (refresh, edit) = match held.vendor {
        "pluggy" => {
            let account = vendors.pluggy_account_of(&held.resource).await;
            let refresh = ("daily-sync", json!({"itemId": held.resource}));
            (refresh, ("edit-description", json!({"accountId": account})))
        }
        _ => (
            ("daily-refresh", json!({"link": held.resource})),
            ("edit-description", json!({"link": held.resource})),
        ),
    };
    for (scenario, params) in [refresh, edit] {
        let fired = vendors.scenario(held.vendor, scenario, &params).await;
        for notice in fired["notices"].as_array().unwrap() {
            let answer = app.anonymous().post(&held.receiver, &notice["body"]).await;
            answer.expect(202);
        }
    }
}

/// The tenant of every identifier there is.
async fn owners(app: &TestApp) -> BTreeMap<Uuid, String> {
    let mut all = BTreeMap::new();
    for (table, column) in [
        ("connections", "id"),
        ("webhook_tokens", "id"),
        ("pulls", "id"),
        ("deliveries", "id"),
        ("accounts", "id"),
        ("accounts", "vendor_id"),
        ("transactions", "id"),
        ("transactions", "vendor_id"),
    ] {
        let query = format!("SELECT {column}::text || ' ' || tenant_id FROM {table}");
        for line in app.column::<String>(&query).await {
            let (id, tenant) = line.split_once(' ').unwrap();
            let before = all.insert(id.parse().unwrap(), tenant.to_owned());
            // Of the vendors' names, too, each is one tenant's.
            assert!(
                before.is_none_or(|before| before == tenant),
                "{table} {line}"
            );
        }
    }
    all
}
