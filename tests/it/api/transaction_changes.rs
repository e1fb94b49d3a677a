//! The change feed.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::transactions::PATH;
use crate::{
    rows::{Ledger, noon, rows},
    support::{Client, TestApp},
};

/// Waits until the feed tells all that was committed by now. It ends before the oldest transaction of
/// the whole cluster, which other tests write to as well.
pub(crate) async fn settled(app: &TestApp) {
    let now: Vec<String> = app.column("SELECT pg_current_xact_id()::text").await;
    let passed = format!(
        "SELECT pg_snapshot_xmin(pg_current_snapshot()) > '{}'::xid8",
        now[0]
    );
    while app.column::<bool>(&passed).await != [true] {}
}

/// How many rows a consumer holds that reads the feed from its beginning to its end.
pub(crate) async fn held_by_feed(app: &TestApp) -> i64 {
    let mut reader = Reader::new(app, 200);
    while reader.step().await.1 {}
    i64::try_from(reader.held.len()).unwrap()
}

/// A consumer that stores what it reads, and where it is.
struct Reader {
    client: Client,
    limit: u16,
    cursor: Option<String>,
    held: BTreeMap<String, String>,
}

impl Reader {
    fn new(app: &TestApp, limit: u16) -> Self {
        Self {
            client: app.client(),
            limit,
            cursor: None,
            held: BTreeMap::new(),
        }
    }

    /// One answer of the feed: each change as its kind and name, and whether there is more.
    async fn step(&mut self) -> (Vec<String>, bool) {
        let limit = self.limit;
        let path = match &self.cursor {
            None => format!("{PATH}/changes?limit={limit}"),
            Some(cursor) => format!("{PATH}/changes?limit={limit}&cursor={cursor}"),
        };
        let answer = self.client.get(&path).await.expect(200);
        self.cursor = Some(answer["nextCursor"].as_str().unwrap().to_owned());
        let told =
            |one: &Value, member: &str| one["transaction"][member].as_str().unwrap().to_owned();
        let mut changes = Vec::new();
        for one in answer["items"].as_array().unwrap() {
            let op = one["op"].as_str().unwrap();
            let name = told(one, "vendorId");
            if op == "removed" {
                assert!(one["transaction"]["deletedAt"].is_string(), "{one:#}");
                self.held.remove(&name);
            } else {
                assert_eq!(one["transaction"].get("deletedAt"), None);
                self.held.insert(name.clone(), told(one, "description"));
            }
            changes.push(format!("{op} {name}"));
        }
        (changes, answer["hasMore"].as_bool().unwrap())
    }

    /// Everything that was committed by now.
    async fn read(&mut self, app: &TestApp) -> Vec<String> {
        settled(app).await;
        self.read_on().await
    }

    /// Everything up to the present end of the feed.
    async fn read_on(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (changes, more) = self.step().await;
            all.extend(changes);
            if !more {
                all.sort();
                return all;
            }
        }
    }
}

#[tokio::test]
async fn a_reader_hears_of_every_change_once() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut reader = Reader::new(&app, 200);
    assert_eq!(reader.read(&app).await, [""; 0]);
    let mut page = rows(&["1", "2", "3"]);
    ledger.apply(1, &page).await;
    assert_eq!(reader.read(&app).await, ["added 1", "added 2", "added 3"]);
    assert_eq!(reader.read(&app).await, [""; 0]);
    ledger.apply(2, &page).await;
    assert_eq!(reader.read(&app).await, [""; 0], "nothing changed");
    page[1].description = "Loja".to_owned();
    ledger.apply(3, &page).await;
    ledger.delete(3, &["1"]).await;
    ledger.apply(3, &rows(&["4"])).await;
    assert_eq!(
        reader.read(&app).await,
        ["added 4", "modified 2", "removed 1"]
    );
    // What comes again after it was gone is new to whoever removed it.
    ledger.apply(4, &page).await;
    assert_eq!(reader.read(&app).await, ["added 1"]);
    assert_eq!(reader.held["2"], "Loja");

    // Somebody who comes later hears only of what is.
    let mut late = Reader::new(&app, 200);
    assert_eq!(
        late.read(&app).await,
        ["added 1", "added 2", "added 3", "added 4"]
    );
    assert_eq!(late.held, reader.held);
}

#[tokio::test]
async fn small_answers_lead_through_one_large_change() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let names: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut page = rows(&names);
    ledger.apply(1, &page).await;
    let mut reader = Reader::new(&app, 10);
    settled(&app).await;
    let (first, more) = reader.step().await;
    assert_eq!((first.len(), more), (10, true));
    // What changes meanwhile moves to the end; what was not read before is still new.
    for row in &mut page {
        row.description = "Loja".to_owned();
    }
    ledger.apply(2, &page).await;
    let rest = reader.read(&app).await;
    assert_eq!(rest.len(), 25);
    assert!(rest.iter().all(|change| change.starts_with("added")));
    assert_eq!(reader.held.len(), 25);
    assert!(reader.held.values().all(|text| text == "Loja"));
}

#[tokio::test]
async fn nothing_appears_behind_a_place_that_was_read() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut reader = Reader::new(&app, 200);
    // The older transaction wrote first and ends last.
    let slow_rows = rows(&["slow"]);
    let mut slow = ledger.tx().await;
    slow.apply_page(&ledger.page(1, &slow_rows, noon()))
        .await
        .unwrap();
    ledger.apply(2, &rows(&["quick"])).await;
    assert_eq!(
        reader.read_on().await,
        [""; 0],
        "nothing behind an open transaction is told yet"
    );
    slow.commit().await.unwrap();
    settled(&app).await;
    let (changes, _) = reader.step().await;
    assert_eq!(changes, ["added slow", "added quick"]);
    // One that is given up leaves no gap either.
    let lost_rows = rows(&["lost"]);
    let mut lost = ledger.tx().await;
    lost.apply_page(&ledger.page(3, &lost_rows, noon()))
        .await
        .unwrap();
    ledger.apply(4, &rows(&["kept"])).await;
    drop(lost);
    assert_eq!(reader.read(&app).await, ["added kept"]);
    assert!(reader.held.contains_key("kept") && !reader.held.contains_key("lost"));
}

/// Four writers at once, each in transactions of its own length, and a reader that never stops: what
/// the reader holds at the end is what the tables hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_beside_many_writers_ends_with_what_there_is() {
    let app = TestApp::start().await;
    let ledger = std::sync::Arc::new(Ledger::open(&app).await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u32 {
        let ledger = ledger.clone();
        writers.spawn(async move {
            for round in 0..15_u32 {
                let names: Vec<String> = (0..5).map(|row| format!("{writer}-{row}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let mut page = rows(&names);
                for (at, row) in page.iter_mut().enumerate() {
                    row.description = format!("{}", round * (u32::try_from(at).unwrap() + writer));
                }
                let now = noon() + TimeDelta::minutes(round.into());
                let mut tx = ledger.tx().await;
                for one in page.chunks(1 + writer as usize) {
                    tx.apply_page(&ledger.page(round.into(), one, now))
                        .await
                        .unwrap();
                    tokio::task::yield_now().await;
                }
                if round % 5 == 4 {
                    drop(tx);
                } else {
                    tx.commit().await.unwrap();
                }
                if round % 4 == 3 {
                    ledger.delete(round.into(), &names[..2]).await;
                }
            }
        });
    }
    let mut reader = Reader::new(&app, 7);
    while writers.try_join_next().is_none_or(|done| {
        done.unwrap();
        !writers.is_empty()
    }) {
        reader.read_on().await;
    }
    let page = app.client().get(&format!("{PATH}?limit=200")).await;
    let truth: BTreeMap<String, String> = page.expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |member: &str| one[member].as_str().unwrap().to_owned();
            (text("vendorId"), text("description"))
        })
        .collect();
    assert!(truth.len() >= 12, "{truth:?}");
    reader.read(&app).await;
    assert_eq!(reader.held, truth);
    assert_eq!(reader.read(&app).await, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let app = TestApp::start().await;
    let client = app.client();
    let feed = format!("{PATH}/changes");
    let answer = client.get(&feed).await.expect(200);
    assert_eq!(answer["items"], json!([]));
    assert_eq!(answer["hasMore"], false);
    let cursor = answer["nextCursor"].as_str().unwrap();
    client
        .get(&format!("{feed}?limit=201&cursor=x"))
        .await
        .expect_faults("MTCH-0214", &["query.limit", "query.cursor"]);
    let tampered = format!("{}A", &cursor[..cursor.len() - 1]);
    client
        .get(&format!("{feed}?cursor={tampered}B"))
        .await
        .expect_faults("MTCH-0214", &["query.cursor"]);
    client
        .get(&format!("{feed}?status=posted"))
        .await
        .expect_faults("MTCH-0001", &["query.status"]);
    app.other_tenant()
        .get(&format!("{feed}?cursor={cursor}"))
        .await
        .expect_faults("MTCH-0214", &["query.cursor"]);
    client
        .get(&format!("{feed}?cursor={cursor}"))
        .await
        .expect(200);
}
