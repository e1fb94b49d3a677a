//! Extractions that go wrong.

use chrono::TimeDelta;
use matcher_discovery::connectors::ConnectorError;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{HOST, House, sales};
use crate::support::Log;

#[tokio::test]
async fn what_broke_in_the_middle_begins_anew_and_counts_nothing_twice() {
    let house = House::build().await;
    let (first, second) = ([json!({"id": 1})], [json!({"id": 2})]);
    house.sources.yields(
        HOST,
        "sales",
        &[Ok(&first), Err(ConnectorError::Unreachable)],
    );
    let path = house.start(&sales()).await;
    assert_eq!(house.work().await, 1);
    let waiting = house.get(&path).await;
    assert_eq!(waiting["status"], "PENDING");
    assert_eq!(waiting["attempts"], 1);
    assert_eq!(waiting["error"]["class"], "unreachable");
    assert!(waiting["nextAttemptAt"].is_string());
    assert_eq!(house.work().await, 0, "not before its time");

    house
        .sources
        .yields(HOST, "sales", &[Ok(&first), Ok(&second)]);
    house.app.clock.advance(TimeDelta::minutes(1));
    assert_eq!(house.work().await, 1);
    let done = house.get(&path).await;
    assert_eq!(done["status"], "COMPLETE");
    assert_eq!(done["attempts"], 2);
    assert_eq!(done["progress"]["rows"], 2);
    assert_eq!(done.get("error"), None, "{done:#}");
    assert_eq!(
        house.rows(&format!("{path}/rows?table=sales")).await.len(),
        2
    );
    assert_eq!(
        house.chunks().await,
        2,
        "nothing is left of the first attempt"
    );
}

#[tokio::test]
async fn trouble_that_does_not_pass_rests_visibly_until_somebody_retries_it() {
    let house = House::build().await;
    let gone = ConnectorError::NoSuchTable {
        table: "sales".to_owned(),
    };
    house.sources.yields(HOST, "sales", &[Err(gone)]);
    let path = house.start(&sales()).await;
    house.work().await;
    let failed = house.get(&path).await;
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(failed["error"]["class"], "no_such_table");
    assert_eq!(failed["errorMessage"], failed["error"]["message"]);

    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let retried = house
        .client
        .post(&format!("{path}/retry"), &json!({}))
        .await
        .expect(202);
    assert_eq!(retried["status"], "PENDING");
    house.work().await;
    assert_eq!(house.get(&path).await["status"], "COMPLETE");
    house
        .client
        .post(&format!("{path}/retry"), &json!({}))
        .await
        .expect_problem(409, "MTCH-0007");
}

#[tokio::test]
async fn trouble_that_passes_is_not_waited_for_without_end() {
    let house = House::build().await;
    house
        .sources
        .yields(HOST, "sales", &[Err(ConnectorError::TimedOut)]);
    let path = house.start(&sales()).await;
    let mut attempts = 0;
    while house.get(&path).await["status"] == "PENDING" {
        house.app.clock.advance(TimeDelta::hours(1));
        attempts += house.work().await;
    }
    assert_eq!(attempts, 5);
    assert_eq!(house.get(&path).await["status"], "FAILED");
}

#[tokio::test]
async fn one_that_is_called_off_while_it_runs_keeps_nothing() {
    let house = House::build().await;
    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let path = house.start(&sales()).await;
    let claimed = house.app.app().claim_extraction().await.unwrap().unwrap();
    house.sources.hold(HOST);
    let before = house.sources.asked(HOST).ever;
    let never = CancellationToken::new();
    let running = house.app.app().run_extraction(claimed, &never);
    let cancelling = async {
        house.sources.until(HOST, |asked| asked.ever > before).await;
        assert_eq!(house.get(&path).await["status"], "SUBMITTED");
        let cancelled = house
            .client
            .post(&format!("{path}/cancel"), &json!({}))
            .await
            .expect(200);
        assert_eq!(cancelled["status"], "CANCELLED");
        house.sources.let_go(HOST);
    };
    tokio::join!(running, cancelling);
    assert_eq!(house.get(&path).await["status"], "CANCELLED");
    assert_eq!(house.chunks().await, 0);
    house
        .client
        .post(&format!("{path}/cancel"), &json!({}))
        .await
        .expect_problem(409, "MTCH-0007");
}

#[tokio::test]
async fn a_worker_that_comes_back_too_late_writes_nothing() {
    let house = House::build().await;
    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let path = house.start(&sales()).await;
    let app = house.app.app();
    let lost = app.claim_extraction().await.unwrap().unwrap();
    assert!(app.claim_extraction().await.unwrap().is_none());
    house.app.clock.advance(TimeDelta::minutes(2));
    assert_eq!(app.reclaim_abandoned_extractions().await.unwrap(), 1);
    assert_eq!(house.get(&path).await["error"]["class"], "worker_lost");
    house.app.clock.advance(TimeDelta::minutes(2));
    assert_eq!(house.work().await, 1);
    let done = house.get(&path).await;
    assert_eq!(done["status"], "COMPLETE");
    // It does not know yet that it was given up.
    app.run_extraction(lost, &CancellationToken::new()).await;
    assert_eq!(house.get(&path).await, done);
    assert_eq!(house.chunks().await, 1);
}

#[tokio::test]
async fn that_one_was_lost_is_logged_whatever_its_attempt_came_to() {
    for outcome in [Ok(&[json!({"id": 1})][..]), Err(ConnectorError::TimedOut)] {
        let house = House::build().await;
        house.sources.yields(HOST, "sales", &[outcome]);
        house.start(&sales()).await;
        let app = house.app.app();
        let lost = app.claim_extraction().await.unwrap().unwrap();
        house.app.clock.advance(TimeDelta::minutes(2));
        assert_eq!(app.reclaim_abandoned_extractions().await.unwrap(), 1);

        let log = Log::keep(tracing::Level::INFO);
        app.run_extraction(lost, &CancellationToken::new()).await;
        let log = log.text();
        let lost = "an extraction was taken over or called off";
        assert!(log.contains(lost), "{log}");
        assert!(!log.contains("is over"), "{log}");
    }
}

#[tokio::test]
async fn one_that_does_not_read_back_fails_alone_and_holds_up_nobody() {
    let house = House::build().await;
    let bad = house.start(&sales()).await;
    house
        .app
        .execute("UPDATE extractions SET request = '{}'")
        .await;
    house
        .sources
        .yields(HOST, "sales", &[Ok(&[json!({"id": 1})])]);
    let good = house.start(&sales()).await;
    assert_eq!(house.work().await, 2);
    assert_eq!(house.get(&good).await["status"], "COMPLETE");
    let id = bad.rsplit('/').next().unwrap();
    let class: Vec<String> = house
        .app
        .column(&format!(
            "SELECT status || ' ' || error_class FROM extractions WHERE id = '{id}'"
        ))
        .await;
    assert_eq!(class, ["FAILED internal"]);
    house.app.clock.advance(TimeDelta::days(8));
    assert_eq!(house.app.app().prune_extractions().await.unwrap(), 2);
    assert_eq!(house.chunks().await, 0);
}

#[tokio::test]
async fn an_attempt_has_one_time_for_all_its_tables() {
    let house = House::build().await;
    house
        .start(&json!({"tables": {"sales": {}, "shops": {}}}))
        .await;
    house.work().await;
    let totals = house.sources.totals();
    assert_eq!(totals.len(), 2);
    assert!(totals[1] < totals[0], "{totals:?}");
}

#[tokio::test]
async fn rows_that_are_not_all_there_are_not_answered() {
    for tampering in [
        "DELETE FROM extraction_chunks WHERE position = 1",
        "DELETE FROM extraction_chunks WHERE position = 0",
        "UPDATE extraction_chunks SET table_name = 'shops'",
    ] {
        let house = House::build().await;
        let (first, second) = ([json!({"id": 1})], [json!({"id": 2})]);
        house
            .sources
            .yields(HOST, "sales", &[Ok(&first), Ok(&second)]);
        let path = house
            .start(&json!({"tables": {"sales": {}, "shops": {}}}))
            .await;
        house.work().await;
        assert_eq!(house.rows(&format!("{path}/rows")).await.len(), 2);
        house.app.execute(tampering).await;
        for table in ["", "?table=shops"] {
            let answer = house.client.get(&format!("{path}/rows{table}")).await;
            answer.expect_problem(500, "MTCH-0002");
        }
    }
}
