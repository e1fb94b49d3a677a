//! Whose turn it is: who gets a pull, loses it, waits for it.

use chrono::TimeDelta;
use matcher_discovery::worker::work_off;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{House, PATH, create, last_pull, living};
use crate::support::{Log, TestApp};

#[tokio::test]
async fn two_workers_that_race_for_a_pull_get_it_once() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    create(&client, &vendors, "pluggy").await;
    let claims = (0..6).map(|_| app.app().claim_pull());
    let claimed = futures_util::future::join_all(claims).await;
    let got = claimed.into_iter().filter_map(|claim| claim.unwrap());
    assert_eq!(got.count(), 1);
}

#[tokio::test]
async fn a_worker_that_lost_its_pull_writes_nothing_more() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors, "pluggy").await;
    let lost = app.app().claim_pull().await.unwrap().unwrap();
    assert_eq!(app.app().reclaim_abandoned_pulls().await.unwrap(), 0);
    app.clock.advance(TimeDelta::minutes(2));
    assert_eq!(app.app().reclaim_abandoned_pulls().await.unwrap(), 1);
    let pull = last_pull(&client, &path).await;
    assert_eq!(pull["state"], "retrying");
    assert_eq!(pull["error"]["class"], "worker_lost");

    // It comes back from wherever it was, and goes on as if nothing had happened.
    app.app().run_pull(lost, &CancellationToken::new()).await;
    assert_eq!(living(&app).await, 0);
    assert_eq!(last_pull(&client, &path).await["state"], "retrying");
    assert_eq!(work_off(app.app()).await.unwrap(), 1);
    assert_eq!(last_pull(&client, &path).await["state"], "succeeded");
    assert!(living(&app).await > 100);
}

#[tokio::test]
async fn that_a_pull_was_lost_is_logged_whatever_its_attempt_came_to() {
    for vendor_answers in [true, false] {
        let (app, vendors) = TestApp::with_vendors().await;
        let path = create(&app.client(), &vendors, "pluggy").await;
        let lost = app.app().claim_pull().await.unwrap().unwrap();
        app.clock.advance(TimeDelta::minutes(2));
        assert_eq!(app.app().reclaim_abandoned_pulls().await.unwrap(), 1);
        if !vendor_answers {
            let rule = json!({"vendor": "pluggy", "fault": {"kind": "unavailable"}});
            vendors.fault(&rule).await;
        }

        let log = Log::keep(tracing::Level::INFO);
        app.app().run_pull(lost, &CancellationToken::new()).await;
        let log = log.text();
        let lost = "a pull was taken over or called off";
        assert!(log.contains(lost), "{log}");
        assert!(!log.contains("is over"), "{log}");
        assert_eq!(last_pull(&app.client(), &path).await["state"], "retrying");
    }
}

#[tokio::test]
async fn a_pull_that_was_called_off_is_not_run_and_writes_nothing() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors, "belvo").await;
    let running = app.app().claim_pull().await.unwrap().unwrap();
    let id = last_pull(&client, &path).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cancel = format!("/v1/discovery/pulls/{id}/cancel");
    let cancelled = client.post(&cancel, &json!({})).await.expect(200);
    assert_eq!(cancelled["state"], "cancelled");
    app.app().run_pull(running, &CancellationToken::new()).await;
    assert_eq!(living(&app).await, 0);
    client
        .post(&cancel, &json!({}))
        .await
        .expect_problem(409, "MTCH-0007");
    assert_eq!(work_off(app.app()).await.unwrap(), 0);

    let retry = format!("/v1/discovery/pulls/{id}/retry");
    client.post(&retry, &json!({})).await.expect(202);
    assert_eq!(work_off(app.app()).await.unwrap(), 1);
    assert_eq!(last_pull(&client, &path).await["state"], "succeeded");
    client
        .post(&retry, &json!({}))
        .await
        .expect_problem(409, "MTCH-0007");
}

#[tokio::test]
async fn what_comes_in_while_a_pull_runs_waits_for_the_next_one() {
    let house = House::build().await;
    let pulls = format!("{}/pulls", house.path("pluggy"));
    house.app.clock.advance(TimeDelta::minutes(7));
    house.client.post(&pulls, &json!({})).await.expect(202);
    let running = house.app.app().claim_pull().await.unwrap().unwrap();

    house.app.clock.advance(TimeDelta::minutes(1));
    for event in house.happens("pluggy", "edit-amount", &json!({})).await {
        house.deliver("pluggy", &event).await;
    }
    assert!(house.app.app().claim_pull().await.unwrap().is_none());
    // It fails, and hands what it had to do to the one that waits.
    let rule = json!({"vendor": "pluggy", "path": "/accounts", "fault": {"kind": "unavailable"}});
    house.vendors.fault(&rule).await;
    house
        .app
        .app()
        .run_pull(running, &CancellationToken::new())
        .await;
    let waiting = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(waiting["state"], "retrying", "{waiting:#}");
    for event in house.happens("pluggy", "edit-amount", &json!({})).await {
        house.deliver("pluggy", &event).await;
    }
    assert_eq!(house.work().await, 0, "what was told to wait waits");
    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::hours(2));
    assert_eq!(house.work().await, 1);
    house.expect_truth("pluggy", "edit-amount").await;
    let page = house.client.get(&pulls).await.expect(200);
    let joined = &page["items"][1]["error"];
    assert_eq!(joined["class"], "joined");
    let does_it = waiting["id"].as_str().unwrap();
    assert!(joined["message"].as_str().unwrap().contains(does_it));
    let states: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pull| pull["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["succeeded", "cancelled", "succeeded"]);
}

#[tokio::test]
async fn a_tenant_with_many_pulls_does_not_hold_up_another() {
    let (app, vendors) = TestApp::with_vendors().await;
    for number in 0..4 {
        let mut body = vendors.connection("pluggy", "x");
        body["configName"] = json!(format!("mine-{number}"));
        app.client().post(PATH, &body).await.expect(201);
    }
    let first = app.app().claim_pull().await.unwrap().unwrap();
    app.clock.advance(TimeDelta::minutes(1));
    let theirs = vendors.connection("pluggy", "theirs");
    app.other_tenant().post(PATH, &theirs).await.expect(201);
    let second = app.app().claim_pull().await.unwrap().unwrap();
    assert_ne!(first.tenant, second.tenant);
}
