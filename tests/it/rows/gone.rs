//! Rows that are gone, come back, or are told anew under another name.

use chrono::TimeDelta;
use matcher_discovery::{
    domain::ids::AccountId,
    storage::{Absent, ChangeOp, FeedPosition},
};
use uuid::Uuid;

use super::{Ledger, applied, by_name, noon, rows, traces, versions};
use crate::{api::transaction_changes::settled, support::TestApp};

#[tokio::test]
async fn a_deleted_row_stays_as_a_tombstone_until_it_is_read_again() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let page = rows(&["1", "2"]);
    ledger.apply(1, &page).await;
    assert_eq!(ledger.delete(2, &["1", "unknown"]).await, 1);
    assert_eq!(ledger.delete(3, &["1"]).await, 0, "once");
    let living = "deleted_at IS NULL";
    assert_eq!(by_name(&app, living).await, ["1 false", "2 true"]);
    assert_eq!(ledger.apply(4, &page).await, applied(0, 0, 1, 1));
    assert_eq!(by_name(&app, living).await, ["1 true", "2 true"]);
    assert_eq!(by_name(&app, "version").await, ["1 3", "2 1"]);
    let kept = versions(&app).await;
    assert_eq!(kept[0]["was"].get("deletedAt"), None);
    assert!(kept[1]["was"]["deletedAt"].is_string());
}

#[tokio::test]
async fn a_row_of_another_account_is_not_deleted() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    ledger.apply(1, &rows(&["1"])).await;
    let elsewhere = Ledger {
        account: AccountId(Uuid::from_u128(9)),
        store: app.store(),
        ..ledger
    };
    assert_eq!(elsewhere.delete(2, &["1"]).await, 0);
    assert_eq!(elsewhere.listed(3, &[], None).await, Absent::default());
}

#[tokio::test]
async fn absence_deletes_only_when_two_pulls_agree() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let page = rows(&["1", "2", "3"]);
    ledger.apply(1, &page).await;
    let absent = |newly_missing, deleted| Absent {
        newly_missing,
        deleted,
    };
    assert_eq!(ledger.listed(2, &["1"], None).await, absent(2, 0));
    let before = traces(&app, "transactions").await;
    assert_eq!(
        ledger.listed(2, &["1"], None).await,
        absent(0, 0),
        "a pull can't agree with itself"
    );
    assert_eq!(traces(&app, "transactions").await, before);
    // One of them is seen again: it begins anew.
    assert_eq!(ledger.apply(3, &page[1..2]).await, applied(0, 0, 1, 0));
    assert_eq!(
        by_name(&app, "right(missing_pull_id::text, 2)").await,
        ["1 -", "2 -", "3 02"]
    );
    assert_eq!(ledger.listed(4, &["1"], None).await, absent(1, 1));
    assert_eq!(
        by_name(&app, "deleted_at IS NULL").await,
        ["1 true", "2 true", "3 false"]
    );
    // Being missed is nobody's business; being deleted is.
    assert_eq!(by_name(&app, "version").await, ["1 1", "2 1", "3 2"]);
    assert_eq!(ledger.listed(5, &["1", "2"], None).await, absent(0, 0));
}

#[tokio::test]
async fn two_listings_of_one_moment_do_not_agree_on_what_is_gone() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    ledger.apply(1, &rows(&["1", "2"])).await;
    let absent = |newly_missing, deleted| Absent {
        newly_missing,
        deleted,
    };
    for (minutes, number, expected) in [
        (20, 2, absent(1, 0)),
        (21, 3, absent(0, 0)),
        (29, 4, absent(0, 0)),
        (30, 5, absent(0, 1)),
    ] {
        let found = ledger.listed_after(minutes, number, &["1"], None).await;
        assert_eq!(found, expected, "after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_window_says_nothing_of_the_days_outside_it() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut page = rows(&["1", "2", "3", "4"]);
    for (row, day) in page.iter_mut().zip(["02-27", "02-28", "03-01", "03-02"]) {
        row.civil_date = format!("2026-{day}").parse().unwrap();
    }
    ledger.apply(1, &page).await;
    let days = Some(("2026-02-28", "2026-03-01"));
    assert_eq!(ledger.listed(2, &[], days).await.newly_missing, 2);
    assert_eq!(
        by_name(&app, "missing_since IS NOT NULL").await,
        ["1 false", "2 true", "3 true", "4 false"]
    );
}

#[tokio::test]
async fn a_row_told_anew_under_another_name_replaces_the_deleted_one() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut page = rows(&["1", "2", "3", "4"]);
    page[0].references.bank_id = Some("b1".to_owned());
    // Two that nothing tells apart.
    page[3].description = page[2].description.clone();
    ledger.apply(1, &page).await;
    let mut anew = rows(&["5", "6", "7", "8"]);
    anew[0].references.bank_id = Some("b1".to_owned());
    anew[0].description = "Titular".to_owned();
    anew[1].description = "PADARIA  2".to_owned();
    anew[2].description = page[2].description.clone();
    anew[3].description = "Loja".to_owned();
    ledger.apply(2, &anew).await;
    assert_eq!(ledger.link(2).await, 0, "nothing was deleted yet");
    ledger.delete(2, &["1", "2", "3", "4"]).await;
    assert_eq!(ledger.link(2).await, 2);
    assert_eq!(ledger.link(3).await, 0, "once");
    let replaced = "SELECT o.vendor_id FROM transactions o WHERE o.id = transactions.replaces_id";
    assert_eq!(
        by_name(&app, replaced).await[4..],
        ["5 1", "6 2", "7 -", "8 -"]
    );
    assert_eq!(
        by_name(&app, "version").await[4..],
        ["5 2", "6 2", "7 1", "8 1"]
    );
    // A row that comes later does not take over what was replaced already.
    let mut later = rows(&["9"]);
    later[0].description = "Padaria 2".to_owned();
    ledger.apply(4, &later).await;
    assert_eq!(ledger.link(4).await, 0);
}

#[tokio::test]
async fn what_went_when_a_place_was_left_is_replaced_however_long_ago_that_was() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let old = rows(&["1", "2"]);
    ledger.apply(1, &old).await;
    ledger.delete(2, &["1", "2"]).await;
    let mut new = rows(&["3", "4"]);
    for (new, old) in new.iter_mut().zip(&old) {
        new.description.clone_from(&old.description);
    }
    ledger.apply(3, &new).await;
    let mut tx = ledger.tx().await;
    for (left_at, expected) in [(None, 0), (Some(noon()), 2)] {
        let now = noon() + TimeDelta::days(30);
        let (connection, account) = (ledger.connection, ledger.account);
        let pairs = tx
            .replacements(connection, account, account, left_at, now)
            .await;
        assert_eq!(pairs.unwrap().len(), expected, "{left_at:?}");
    }
}

#[tokio::test]
async fn a_row_that_lives_again_was_not_replaced() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let old = rows(&["1", "2"]);
    ledger.apply(1, &old).await;
    let mut new = rows(&["3", "4"]);
    for (new, old) in new.iter_mut().zip(&old) {
        new.description.clone_from(&old.description);
    }
    ledger.delete(2, &["1", "2"]).await;
    ledger.apply(3, &new).await;
    assert_eq!(ledger.link(3).await, 2);
    settled(&app).await;
    let mut tx = ledger.tx().await;
    let read = tx.transaction_changes(&FeedPosition::default(), 100).await;
    let read = read.unwrap().next;
    drop(tx);

    // One of the deleted rows comes back.
    assert_eq!(ledger.apply(4, &old[..1]).await, applied(0, 0, 0, 1));
    let living = "CASE WHEN deleted_at IS NULL THEN 'lives' ELSE 'gone' END";
    assert_eq!(
        by_name(&app, living).await,
        ["1 lives", "2 gone", "3 lives", "4 lives"]
    );
    let replaced = "SELECT o.vendor_id FROM transactions o WHERE o.id = transactions.replaces_id";
    assert_eq!(by_name(&app, replaced).await, ["1 -", "2 -", "3 -", "4 2"]);
    settled(&app).await;
    let mut tx = ledger.tx().await;
    let changes = tx.transaction_changes(&read, 100).await.unwrap();
    let mut told: Vec<_> = changes
        .items
        .iter()
        .map(|(op, one)| (one.vendor_id.as_str(), *op, one.replaces_id))
        .collect();
    told.sort_unstable_by_key(|(name, ..)| *name);
    assert_eq!(
        told,
        [
            ("1", ChangeOp::Added, None),
            ("3", ChangeOp::Modified, None)
        ]
    );
    drop(tx);
    // What it was said to be is in its versions.
    assert_eq!(by_name(&app, "version").await[2..], ["3 3", "4 2"]);
    assert_eq!(
        ledger.link(5).await,
        0,
        "nothing is left that 3 could replace"
    );
}
