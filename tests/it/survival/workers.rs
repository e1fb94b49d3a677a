//! Several workers, each a process of its own, on one database.

use std::collections::BTreeSet;

use nix::{
    sys::{
        signal::Signal,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use serde_json::json;

use super::{House, VENDORS};
use crate::support::{migrated, process::Process};

/// How often a line was written.
fn said(worker: &Process, line: &str) -> usize {
    worker.output().matches(line).count()
}

const OVER: &str = "an attempt at a pull is over";
const TAKEN_OVER: &str = "a pull was taken over or called off";
/// What it says whose session was ended while it was at the very last step.
const NOT_WRITTEN: &str = "the end of a pull could not be written";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_workers_that_race_for_a_pull_one_runs_it() {
    let database = migrated().await;
    let house = House::build(database.url(), database.admin_options()).await;
    let workers = [house.work().await, house.work().await];
    house.runs_dry().await;
    let over = || workers.iter().map(|one| said(one, OVER)).sum::<usize>();
    house
        .until("both first pulls are told of", async || over() == 2)
        .await;
    for round in 1..=6 {
        let last = house.last_call().await;
        let mut new = Vec::new();
        for vendor in VENDORS {
            let before = house.vendors.rows(vendor).await;
            let refresh = if vendor == "pluggy" {
                "daily-sync"
            } else {
                "daily-refresh"
            };
            house.vendors.scenario(vendor, refresh, &json!({})).await;
            new.push(house.vendors.rows(vendor).await - before);
        }
        // Both are woken by the same call.
        for vendor in VENDORS {
            house.ask_for_pull(vendor).await;
        }
        house.runs_dry().await;
        house
            .until("each end is told of", async || over() >= 2 + 2 * round)
            .await;
        assert_eq!(over(), 2 + 2 * round, "one attempt each, by whomever");

        let calls = house.vendors.calls_after(last).await;
        let count = |path: &str| {
            let asked = calls.iter().filter(|call| {
                let asked = call["path"].as_str().unwrap();
                call["method"] == "GET" && asked.trim_end_matches('/') == path
            });
            i64::try_from(asked.count()).unwrap()
        };
        for (vendor, new) in VENDORS.into_iter().zip(new) {
            let (accounts, rows) = match vendor {
                "pluggy" => ("/accounts", "/v2/transactions"),
                _ => ("/api/accounts", "/api/transactions"),
            };
            assert_eq!(count(accounts), 1, "{vendor}: one listing of accounts");
            let id = &house.endpoints[vendor].id;
            let told: Vec<Vec<i64>> = house
                .column(&format!(
                    "SELECT ARRAY[attempts, pages, inserted, seen - inserted - updated - unchanged]
                     FROM pulls WHERE connection_id = '{id}' ORDER BY id DESC LIMIT 1"
                ))
                .await;
            assert_eq!(
                told,
                [[1, count(rows), new, 0]],
                "{vendor} in round {round}"
            );
        }
    }
    house.expect_truth().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_paused_past_its_lease_comes_back_and_writes_nothing() {
    let database = migrated().await;
    let house = House::build(database.url(), database.admin_options()).await;
    // Whether it is paused with an account, with a page, or further on.
    for moment in 1..=3 {
        let (paused, running) = pause_at_work(&house, moment).await;
        // What the paused one has read is no longer what the vendor has.
        for vendor in VENDORS {
            house
                .vendors
                .scenario(vendor, "edit-description", &json!({}))
                .await;
        }
        house.vendors.no_faults().await;
        house.nobody_works().await;
        let _other = house.work().await;
        house.runs_dry().await;
        // It went on from where the paused one was; what has changed on the pages before is found by the next.
        for vendor in VENDORS {
            house.ask_for_pull(vendor).await;
        }
        house.runs_dry().await;
        house.expect_truth().await;
        let before = traces(&house).await;

        paused.signal(Signal::SIGCONT);
        house
            .until("it notices", async || {
                said(&paused, TAKEN_OVER) + said(&paused, NOT_WRITTEN) == running
            })
            .await;
        let after = traces(&house).await;
        let touched: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(touched.is_empty(), "{touched:#?}\n{}", paused.output());
        assert_eq!(said(&paused, OVER), 0, "{}", paused.output());
    }
}

/// A worker that is paused in the middle of a pull, and how many it was at.
async fn pause_at_work(house: &House, moment: usize) -> (Process, usize) {
    loop {
        // There is time to be paused in; whenever it is, it has to hold.
        for vendor in VENDORS {
            let slow = json!({"vendor": vendor, "fault": {"kind": "delay", "millis": 150}});
            house.vendors.fault(&slow).await;
            house.ask_for_pull(vendor).await;
        }
        let last = house.last_call().await;
        let worker = house.work().await;
        house
            .until("it is at work", async || {
                house.vendors.calls_after(last).await.len() >= 3 * moment
            })
            .await;
        worker.signal(Signal::SIGSTOP);
        let pid = Pid::from_raw(worker.child.id().unwrap().try_into().unwrap());
        let glance = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        house
            .until("it stands still", async || {
                matches!(waitid(Id::Pid(pid), glance), Ok(WaitStatus::Stopped(..)))
            })
            .await;
        house
            .until("what it said last is done", async || {
                let busy = "pg_stat_activity WHERE datname = current_database()
                                AND state = 'active' AND pid <> pg_backend_pid()";
                house.count(busy).await == 0
            })
            .await;
        let running = house.count("pulls WHERE state = 'running'").await;
        let waiting = house.count("pulls WHERE state = 'queued'").await;
        if running > 0 && running + waiting == 2 {
            return (worker, running.try_into().unwrap());
        }
        // It was done with one already: another time.
        worker.signal(Signal::SIGCONT);
        house.vendors.no_faults().await;
        house.runs_dry().await;
    }
}

/// Where every row lies, and which transaction wrote it: what is written changes this, and what was
/// only begun does not.
async fn traces(house: &House) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for table in [
        "pulls",
        "transactions",
        "transaction_versions",
        "accounts",
        "cursors",
        "source_states",
        "sweeps",
    ] {
        let query =
            format!("SELECT concat_ws(' ', '{table}', ctid, xmin) FROM {table} ORDER BY ctid");
        all.extend(house.column::<String>(&query).await);
    }
    let pulls = "SELECT to_jsonb(p)::text FROM pulls p ORDER BY id";
    all.extend(house.column::<String>(pulls).await);
    all
}
