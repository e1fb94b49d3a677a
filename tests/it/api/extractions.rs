//! Extractions: asked for, worked on, retried, called off, taken, cleared away.

mod trouble;

use chrono::TimeDelta;
use matcher_discovery::{connectors::ConnectorError, domain::table::Days, worker::work_off};
use serde_json::{Value, json};

use super::{
    aggregator_connections,
    discovery_connections::{self, PATH},
};
use crate::support::{Client, Sources, TestApp, sources::table};

const HOST: &str = "db.internal";
const EXTRACTIONS: &str = "/v1/discovery/extractions";

/// A server with one connection to a source of two tables.
struct House {
    app: TestApp,
    sources: Sources,
    client: Client,
    connection: String,
}

impl House {
    async fn build() -> Self {
        let (app, sources) = TestApp::with_sources().await;
        sources.offers(
            HOST,
            vec![
                table("sales", &[("id", "int", false), ("day", "date", true)]),
                table("shops", &[("id", "int", false)]),
            ],
        );
        let client = app.client();
        let connection = discovery_connections::create(&client, "ledger").await;
        Self {
            app,
            sources,
            client,
            connection,
        }
    }

    /// Asks for an extraction; answers its path.
    async fn start(&self, body: &Value) -> String {
        let path = format!("{}/extractions", self.connection);
        let answer = self.client.post(&path, body).await;
        answer.expect(201);
        answer.header("location").to_owned()
    }

    async fn work(&self) -> usize {
        work_off(self.app.app()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.client.get(path).await.expect(200)
    }

    async fn rows(&self, path: &str) -> Vec<Value> {
        let answer = self.client.get(path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let text = String::from_utf8(answer.body).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn chunks(&self) -> i64 {
        let count: Vec<i64> = self
            .app
            .column("SELECT count(*) FROM extraction_chunks")
            .await;
        count[0]
    }
}

fn sales() -> Value {
    json!({"tables": {"sales": {}}})
}

#[tokio::test]
async fn an_extraction_is_asked_for_worked_on_and_taken() {
    let house = House::build().await;
    house.sources.yields(
        HOST,
        "sales",
        &[
            Ok(&[json!({"id": 1, "day": "2026-01-05"})]),
            Ok(&[json!({"id": 2, "day": null}), json!({"id": 3, "day": null})]),
        ],
    );
    house
        .sources
        .yields(HOST, "shops", &[Ok(&[json!({"id": 9})])]);
    let body = json!({
        "tables": {"sales": {"columns": ["id", "day"], "dateColumn": "day"}, "shops": {"dateColumn": "id"}},
        "startDate": "2026-01-01", "endDate": "2026-01-31",
        "filters": {"equals": {"id": "1"}},
    });
    let path = house.start(&body).await;
    let waiting = house.get(&path).await;
    assert_eq!(waiting["status"], "PENDING");
    for member in ["tables", "startDate", "endDate", "filters"] {
        assert_eq!(waiting[member], body[member], "{member}");
    }
    assert_eq!(waiting["attempts"], 0);
    let rows = format!("{path}/rows");
    house
        .client
        .get(&rows)
        .await
        .expect_problem(409, "MTCH-0007");

    assert_eq!(house.work().await, 1);
    let done = house.get(&path).await;
    assert_eq!(done["status"], "COMPLETE", "{done:#}");
    assert_eq!(done["progress"]["tables"], 2);
    assert_eq!(done["progress"]["rows"], 4);
    assert!(done["rowsUntil"].is_string());
    assert_eq!(done.get("error"), None);
    assert_eq!(
        house.rows(&rows).await,
        [
            json!({"table": "sales", "row": {"id": 1, "day": "2026-01-05"}}),
            json!({"table": "sales", "row": {"id": 2, "day": null}}),
            json!({"table": "sales", "row": {"id": 3, "day": null}}),
            json!({"table": "shops", "row": {"id": 9}}),
        ]
    );
    assert_eq!(
        house.rows(&format!("{rows}?table=shops")).await,
        [json!({"id": 9})]
    );
    house
        .client
        .get(&format!("{rows}?table=none"))
        .await
        .expect_problem(400, "MTCH-0204");

    let reads = house.sources.reads();
    assert_eq!(reads[0].table, "sales");
    assert_eq!(
        reads[0].columns.as_deref(),
        Some(&["id".to_owned(), "day".to_owned()][..])
    );
    assert_eq!(reads[0].equals, [("id".to_owned(), "1".to_owned())]);
    assert_eq!(
        reads[0].days,
        Some(Days {
            column: "day".to_owned(),
            from: "2026-01-01".parse().ok(),
            to: "2026-01-31".parse().ok(),
        })
    );
    let listed = house
        .get(&format!("{}/extractions", house.connection))
        .await;
    assert_eq!(listed["items"], json!([done]));
}

#[tokio::test]
async fn rows_are_sealed_where_they_are_kept_and_open_in_no_other_place() {
    let house = House::build().await;
    let row = |text: &str| vec![json!({"id": text})];
    let (first, second) = (row("canary-one"), row("canary-two"));
    house
        .sources
        .yields(HOST, "sales", &[Ok(&first), Ok(&second)]);
    let path = house.start(&sales()).await;
    house.work().await;
    let kept: Vec<Vec<u8>> = house
        .app
        .column("SELECT lines FROM extraction_chunks ORDER BY position")
        .await;
    assert_eq!(kept.len(), 2);
    for lines in &kept {
        assert!(!String::from_utf8_lossy(lines).contains("canary"));
    }
    // Somebody with the database in his hands lets two pieces change places.
    house
        .app
        .execute(
            "UPDATE extraction_chunks a SET lines = b.lines FROM extraction_chunks b
             WHERE b.position = 1 - a.position",
        )
        .await;
    let answer = house.client.get(&format!("{path}/rows")).await;
    answer.expect_problem(500, "MTCH-0002");
}

#[tokio::test]
async fn what_the_source_does_not_have_is_told_at_once() {
    let house = House::build().await;
    let path = format!("{}/extractions", house.connection);
    let answer = house
        .client
        .post(
            &path,
            &json!({
                "tables": {"sales": {"columns": ["price"], "dateColumn": "date"}, "none": {}},
                "filters": {"equals": {"till": "1"}},
            }),
        )
        .await;
    answer.expect_faults(
        "MTCH-0204",
        &[
            "body.tables.none",
            "body.tables.sales.columns",
            "body.tables.sales.dateColumn",
            "body.filters.equals.till",
        ],
    );
    let nothing: Vec<i64> = house.app.column("SELECT count(*) FROM extractions").await;
    assert_eq!(nothing, [0]);

    // A table that was made since is found by looking.
    house
        .sources
        .offers(HOST, vec![table("fresh", &[("id", "int", false)])]);
    let fresh = json!({"tables": {"fresh": {}}});
    house.client.post(&path, &fresh).await.expect(201);
}

#[tokio::test]
async fn a_source_that_was_never_seen_and_can_t_be_now_is_not_available() {
    let (app, sources) = TestApp::with_sources().await;
    sources.fails(HOST, ConnectorError::Unreachable);
    let client = app.client();
    let connection = discovery_connections::create(&client, "ledger").await;
    let answer = client
        .post(&format!("{connection}/extractions"), &sales())
        .await;
    answer.expect_problem(503, "MTCH-0203");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn rows_are_kept_for_a_while_and_then_cleared_away() {
    let house = House::build().await;
    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let path = house.start(&sales()).await;
    house.work().await;
    let app = house.app.app();
    house
        .app
        .clock
        .advance(TimeDelta::days(7) - TimeDelta::seconds(1));
    assert_eq!(app.prune_extractions().await.unwrap(), 0);
    assert_eq!(house.rows(&format!("{path}/rows")).await.len(), 1);
    house.app.clock.advance(TimeDelta::seconds(1));
    house
        .client
        .get(&format!("{path}/rows"))
        .await
        .expect_problem(409, "MTCH-0007");
    assert_eq!(app.prune_extractions().await.unwrap(), 1);
    assert_eq!(house.chunks().await, 0);
    assert_eq!(app.prune_extractions().await.unwrap(), 0);
    assert_eq!(house.get(&path).await["status"], "COMPLETE");
}

#[tokio::test]
async fn deleting_a_connection_ends_its_extractions_and_lets_their_rows_go() {
    let house = House::build().await;
    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let done = house.start(&sales()).await;
    house.work().await;
    let waiting = house.start(&sales()).await;
    house.client.delete(&house.connection).await.expect(204);
    assert_eq!(house.get(&waiting).await["status"], "CANCELLED");
    assert_eq!(house.work().await, 0);
    house
        .client
        .get(&format!("{done}/rows"))
        .await
        .expect_problem(409, "MTCH-0007");
    house
        .client
        .post(&format!("{waiting}/retry"), &json!({}))
        .await
        .expect_problem(404, "MTCH-0201");
    assert_eq!(house.app.app().prune_extractions().await.unwrap(), 2);
    assert_eq!(house.chunks().await, 0);
}

#[tokio::test]
async fn other_tenants_and_other_kinds_find_nothing() {
    let house = House::build().await;
    let path = house.start(&sales()).await;
    let other = house.app.other_tenant();
    for stranger in [&path, &format!("{path}/rows")] {
        other.get(stranger).await.expect_problem(404, "MTCH-0202");
    }
    for act in ["retry", "cancel"] {
        other
            .post(&format!("{path}/{act}"), &json!({}))
            .await
            .expect_problem(404, "MTCH-0202");
    }
    let theirs = format!("{}/extractions", house.connection);
    other
        .post(&theirs, &sales())
        .await
        .expect_problem(404, "MTCH-0201");
    other.get(&theirs).await.expect_problem(404, "MTCH-0201");

    let id = house.connection.strip_prefix(PATH).unwrap();
    let as_rest = format!("/v1/discovery/rest-connections{id}/extractions");
    house
        .client
        .post(&as_rest, &sales())
        .await
        .expect_problem(404, "MTCH-0201");
    let aggregator = aggregator_connections::create(&house.client, "bank").await;
    let id = aggregator.rsplit('/').next().unwrap();
    house
        .client
        .post(&format!("{PATH}/{id}/extractions"), &sales())
        .await
        .expect_problem(404, "MTCH-0201");
    house
        .client
        .get(&format!("{EXTRACTIONS}/{id}"))
        .await
        .expect_problem(404, "MTCH-0202");
}

#[tokio::test]
async fn so_many_may_wait_and_one_of_a_connection_runs() {
    let house = House::build().await;
    for _ in 0..20 {
        house.start(&sales()).await;
    }
    let path = format!("{}/extractions", house.connection);
    house
        .client
        .post(&path, &sales())
        .await
        .expect_problem(409, "MTCH-0007");
    let app = house.app.app();
    assert!(app.claim_extraction().await.unwrap().is_some());
    assert!(app.claim_extraction().await.unwrap().is_none());
    let page = house.get(&format!("{path}?limit=15")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 15);
    let next = page["nextCursor"].as_str().unwrap();
    let rest = house.get(&format!("{path}?limit=15&cursor={next}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn rows_whose_data_key_is_destroyed_are_not_available() {
    let house = House::build().await;
    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let path = house.start(&sales()).await;
    house.work().await;
    house.app.execute("DELETE FROM tenant_keys").await;
    let answer = house.client.get(&format!("{path}/rows")).await;
    answer.expect_problem(503, "MTCH-0203");
}

#[tokio::test]
async fn a_tenant_that_keeps_too_much_has_to_wait() {
    let house = House::build().await;
    let done = house.start(&sales()).await;
    house.work().await;
    let ours = "UPDATE extractions SET bytes = ";
    house.app.execute(&format!("{ours} 19999999999")).await;
    house.start(&sales()).await;
    house
        .app
        .execute(&format!("{ours} 20000000000 WHERE status = 'COMPLETE'"))
        .await;
    let path = format!("{}/extractions", house.connection);
    house
        .client
        .post(&path, &sales())
        .await
        .expect_problem(409, "MTCH-0007");
    house
        .client
        .delete(&format!("{done}/rows"))
        .await
        .expect(204);
    house
        .client
        .get(&format!("{done}/rows"))
        .await
        .expect_problem(409, "MTCH-0007");
    assert_eq!(house.app.app().prune_extractions().await.unwrap(), 1);
    assert_eq!(house.chunks().await, 0);
    house
        .client
        .delete(&format!("{done}/rows"))
        .await
        .expect(204);
    let waiting = house.start(&sales()).await;
    house
        .client
        .delete(&format!("{waiting}/rows"))
        .await
        .expect_problem(409, "MTCH-0007");
}

#[tokio::test]
async fn looking_for_what_is_not_known_is_written_down_and_counts_as_a_test() {
    let house = House::build().await;
    let path = format!("{}/extractions", house.connection);
    let fresh = json!({"tables": {"fresh": {}}});
    house.sources.fails(HOST, ConnectorError::Unreachable);
    house
        .client
        .post(&path, &fresh)
        .await
        .expect_problem(503, "MTCH-0203");
    assert_eq!(house.get(&house.connection).await["status"], "UNREACHABLE");
    house
        .sources
        .offers(HOST, vec![table("fresh", &[("id", "int", false)])]);
    house.client.post(&path, &fresh).await.expect(201);
    let schema = house.get(&format!("{}/schema", house.connection)).await;
    assert_eq!(schema["tables"][0]["tableName"], "fresh", "{schema:#}");
    let none = json!({"tables": {"none": {}}});
    for _ in 2..10 {
        let answer = house.client.post(&path, &none).await;
        answer.expect_problem(400, "MTCH-0204");
    }
    let answer = house.client.post(&path, &none).await;
    assert_eq!(answer.status, 429);
    // What is known needs no look.
    house.client.post(&path, &fresh).await.expect(201);
}
