//! What pulls write, tried without a vendor: through the store itself.

mod cost;
mod gone;
mod merged;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use matcher_discovery::{
    domain::{
        account::{Account, AccountType, Currency},
        ids::{AccountId, ConnectionId, PullId, TenantId},
        pull::Cursor,
        random::OsRandom,
        transaction::{Direction, References, Transaction, TransactionStatus},
    },
    storage::{Absence, Absent, Applied, Gone, PageWrite, Store, TenantTx},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{api::aggregator_connections::create, support::TestApp};

pub(crate) use self::cost::{fill, plan, plan_as, sent_query};

/// An account with rows, and who writes them.
pub(crate) struct Ledger {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) connection: ConnectionId,
    pub(crate) account: AccountId,
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(crate) fn noon() -> DateTime<Utc> {
    at("2026-03-01T12:00:00Z")
}

/// The pull with that number.
pub(crate) fn pull(number: u128) -> PullId {
    PullId(Uuid::from_u128(number))
}

pub(crate) fn account(vendor_id: &str) -> Account {
    Account {
        vendor_id: vendor_id.to_owned(),
        account_type: AccountType::Bank,
        subtype: None,
        name: Some("Conta".to_owned()),
        masked_number: Some("****5678".to_owned()),
        currency: Some(Currency::BRL),
        balance: Some("10.50".parse().unwrap()),
        bank_id: None,
    }
}

/// A plain row of the first of March.
pub(crate) fn row(vendor_id: &str) -> Transaction {
    Transaction {
        vendor_id: vendor_id.to_owned(),
        account_vendor_id: "a".to_owned(),
        date: noon(),
        civil_date: "2026-03-01".parse().unwrap(),
        description: format!("Padaria {vendor_id}"),
        direction: Direction::Debit,
        amount: "-12.50".parse().unwrap(),
        currency: Currency::BRL,
        amount_in_account_currency: None,
        status: TransactionStatus::Posted,
        category: None,
        payment_method: None,
        counterparty: None,
        references: References::default(),
        card: None,
        vendor_created_at: None,
    }
}

pub(crate) fn rows(names: &[&str]) -> Vec<Transaction> {
    names.iter().map(|name| row(name)).collect()
}

impl Ledger {
    /// A connection of the app's tenant with one account, named `a`.
    pub(crate) async fn open(app: &TestApp) -> Self {
        Self::open_as(app, app.tenant, &app.client(), "main").await
    }

    pub(crate) async fn open_as(
        app: &TestApp,
        tenant: TenantId,
        client: &crate::support::Client,
        name: &str,
    ) -> Self {
        let path = create(client, name).await;
        let connection = path.rsplit('/').next().unwrap().parse().unwrap();
        let store = app.store();
        let mut tx = store.begin(tenant).await.unwrap();
        let stored = tx
            .upsert_accounts(connection, &[account("a")], noon(), &OsRandom)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Self {
            store,
            tenant,
            connection,
            account: stored[0].id,
        }
    }

    pub(crate) async fn tx(&self) -> TenantTx {
        self.store.begin(self.tenant).await.unwrap()
    }

    pub(crate) fn page<'a>(
        &self,
        number: u128,
        rows: &'a [Transaction],
        now: DateTime<Utc>,
    ) -> PageWrite<'a> {
        PageWrite {
            connection: self.connection,
            account: self.account,
            pull: pull(number),
            rows,
            now,
            random: &OsRandom,
        }
    }

    /// Stores a page, read by the pull with that number at that many minutes past noon.
    pub(crate) async fn apply(&self, number: u128, rows: &[Transaction]) -> Applied {
        let now = noon() + TimeDelta::minutes(i64::try_from(number).unwrap());
        let mut tx = self.tx().await;
        let applied = tx.apply_page(&self.page(number, rows, now)).await.unwrap();
        tx.commit().await.unwrap();
        applied
    }

    pub(crate) async fn delete(&self, number: u128, names: &[&str]) -> u64 {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut tx = self.tx().await;
        let gone = Gone {
            connection: self.connection,
            account: self.account,
            vendor_ids: &names,
            pull: pull(number),
            now: noon() + TimeDelta::minutes(i64::try_from(number).unwrap()),
        };
        let count = tx.tombstone(&gone).await.unwrap();
        tx.commit().await.unwrap();
        count
    }

    /// Tells that the pull with that number listed these rows and no others on those days.
    async fn listed(&self, number: u128, names: &[&str], days: Option<(&str, &str)>) -> Absent {
        let minutes = 10 * i64::try_from(number).unwrap();
        self.listed_after(minutes, number, names, days).await
    }

    async fn listed_after(
        &self,
        minutes: i64,
        number: u128,
        names: &[&str],
        days: Option<(&str, &str)>,
    ) -> Absent {
        let seen: HashSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut tx = self.tx().await;
        let absence = Absence {
            connection: self.connection,
            account: self.account,
            window: days.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())),
            seen: &seen,
            pull: pull(number),
            now: noon() + TimeDelta::minutes(minutes),
        };
        let absent = tx.note_absent(&absence).await.unwrap();
        tx.commit().await.unwrap();
        absent
    }

    async fn link(&self, number: u128) -> u64 {
        let now = noon() + TimeDelta::minutes(i64::try_from(number).unwrap());
        let mut tx = self.tx().await;
        let linked = tx
            .link_replacements(self.connection, self.account, pull(number), now, now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        linked
    }
}

/// Where every row lies and which transactions touched it: a write of any kind changes this.
async fn traces(app: &TestApp, table: &str) -> Vec<String> {
    app.column(&format!(
        "SELECT concat_ws(' ', ctid, xmin, xmax) FROM {table} ORDER BY ctid"
    ))
    .await
}

/// A column of the rows, by the vendor's names.
async fn by_name(app: &TestApp, expression: &str) -> Vec<String> {
    app.column(&format!(
        "SELECT vendor_id || ' ' || coalesce(({expression})::text, '-')
         FROM transactions ORDER BY vendor_id"
    ))
    .await
}

async fn versions(app: &TestApp) -> Vec<Value> {
    let texts: Vec<String> = app
        .column(
            "SELECT json_build_object('row', t.vendor_id, 'version', v.version,
                        'pull', right(v.pull_id::text, 2), 'was', v.snapshot)::text
             FROM transaction_versions v JOIN transactions t ON t.id = v.transaction_id
             ORDER BY t.vendor_id, v.version",
        )
        .await;
    texts
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

fn applied(inserted: u64, updated: u64, unchanged: u64, revived: u64) -> Applied {
    Applied {
        inserted,
        updated,
        unchanged,
        revived,
    }
}

#[tokio::test]
async fn rows_are_stored_once_and_left_alone_when_nothing_changed() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let page = rows(&["1", "2", "3"]);
    assert_eq!(ledger.apply(1, &page).await, applied(3, 0, 0, 0));
    let before = traces(&app, "transactions").await;
    assert_eq!(ledger.apply(2, &page).await, applied(0, 0, 3, 0));
    assert_eq!(traces(&app, "transactions").await, before);
    assert_eq!(versions(&app).await, [Value::Null; 0]);

    // The same, where the rows of the account were read before.
    let mut tx = ledger.tx().await;
    let mut known = tx.known_of_account(ledger.account).await.unwrap();
    assert_eq!(known.len(), 3);
    let done = tx
        .apply_page_knowing(&ledger.page(3, &page, noon()), &mut known)
        .await;
    assert_eq!(done.unwrap(), applied(0, 0, 3, 0));
    tx.commit().await.unwrap();
    assert_eq!(traces(&app, "transactions").await, before);
}

#[tokio::test]
async fn a_changed_row_keeps_what_it_was() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut page = rows(&["1", "2"]);
    page[0].amount = "-123456789012345.678901".parse().unwrap();
    page[0].references.bank_id = Some("b1".to_owned());
    ledger.apply(1, &page).await;
    page[0].description = "Loja".to_owned();
    page.push(row("3"));
    assert_eq!(ledger.apply(2, &page).await, applied(1, 1, 1, 0));
    page[0].status = TransactionStatus::Pending;
    assert_eq!(ledger.apply(3, &page).await, applied(0, 1, 2, 0));

    assert_eq!(by_name(&app, "version").await, ["1 3", "2 1", "3 1"]);
    assert_eq!(
        by_name(&app, "right(pull_id::text, 2)").await,
        ["1 03", "2 01", "3 02"]
    );
    let kept = versions(&app).await;
    assert_eq!(kept.len(), 2, "{kept:#?}");
    let told = |number: usize| {
        let one = &kept[number];
        (&one["row"], &one["version"], &one["pull"])
    };
    assert_eq!(told(0), (&json!("1"), &json!(1), &json!("01")));
    assert_eq!(told(1), (&json!("1"), &json!(2), &json!("02")));
    let was = &kept[0]["was"];
    assert_eq!(was["description"], "Padaria 1");
    assert_eq!(was["amount"], "-123456789012345.678901");
    assert_eq!(was["details"], json!({"references": {"bankId": "b1"}}));
    assert_eq!(kept[1]["was"]["description"], "Loja");
    assert_eq!(kept[1]["was"]["status"], "posted");
}

#[tokio::test]
async fn what_was_read_before_is_kept_up_to_date_from_page_to_page() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let old = rows(&["1"]);
    ledger.apply(1, &old).await;
    let mut new = old.clone();
    new[0].description = "Loja".to_owned();
    let mut tx = ledger.tx().await;
    let mut known = tx.known_of_account(ledger.account).await.unwrap();
    // The row changes while it is paged, and changes back.
    for page in [&new, &old] {
        let done = tx
            .apply_page_knowing(&ledger.page(2, page, noon()), &mut known)
            .await;
        assert_eq!(done.unwrap(), applied(0, 1, 0, 0));
    }
    tx.commit().await.unwrap();
    assert_eq!(by_name(&app, "description").await, ["1 Padaria 1"]);
}

#[tokio::test]
async fn of_a_name_that_a_page_repeats_the_last_row_counts() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut page = rows(&["1", "2", "1"]);
    page[2].description = "Loja".to_owned();
    assert_eq!(ledger.apply(1, &page).await, applied(2, 0, 0, 0));
    assert_eq!(
        by_name(&app, "description").await,
        ["1 Loja", "2 Padaria 2"]
    );
}

#[tokio::test]
async fn the_same_names_of_two_connections_are_two_rows() {
    let app = TestApp::start().await;
    let one = Ledger::open(&app).await;
    let other = Ledger::open_as(&app, app.tenant, &app.client(), "second").await;
    one.apply(1, &rows(&["1"])).await;
    assert_eq!(other.apply(1, &rows(&["1"])).await, applied(1, 0, 0, 0));
    assert_eq!(other.delete(2, &["1"]).await, 1);
    assert_eq!(by_name(&app, "deleted_at IS NULL").await.len(), 2);
    assert_eq!(one.apply(3, &rows(&["1"])).await, applied(0, 0, 1, 0));
}

#[tokio::test]
async fn accounts_are_written_only_when_they_changed() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let before = traces(&app, "accounts").await;
    let upsert = async |accounts: Vec<Account>, minutes| {
        let now = noon() + TimeDelta::minutes(minutes);
        let mut tx = ledger.tx().await;
        let stored = tx
            .upsert_accounts(ledger.connection, &accounts, now, &OsRandom)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        stored
    };
    let mut same = account("a");
    same.balance = Some("10.5000".parse().unwrap());
    let stored = upsert(vec![same], 1).await;
    assert_eq!(stored[0].id, ledger.account);
    assert_eq!(traces(&app, "accounts").await, before);

    let mut poorer = account("a");
    poorer.balance = Some("-0.01".parse().unwrap());
    let stored = upsert(vec![account("b"), poorer.clone(), account("b")], 2).await;
    let names: Vec<&str> = stored.iter().map(|one| one.vendor_id.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(stored[1].id, ledger.account);

    let mut tx = ledger.tx().await;
    let read = tx.accounts_of(ledger.connection).await.unwrap();
    assert_eq!(read[0].account, poorer);
    assert_eq!(read[0].first_seen_at, noon());
    assert_eq!(read[0].updated_at, noon() + TimeDelta::minutes(2));
    assert_eq!(read[1].account, account("b"));
    // What was not read stays.
    assert_eq!(upsert(vec![], 3).await, []);
    assert_eq!(tx.accounts_of(ledger.connection).await.unwrap(), read);
}

#[tokio::test]
async fn a_cursor_stands_where_it_was_moved_to_last() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut tx = ledger.tx().await;
    let (connection, account) = (ledger.connection, ledger.account);
    assert_eq!(
        tx.cursor(connection, account).await.unwrap(),
        (Cursor::default(), None, None)
    );
    let later = noon() + TimeDelta::hours(1);
    let to = |watermark, window_at| Cursor {
        watermark,
        window_at,
        ..Cursor::default()
    };
    for moved in [
        to(Some(noon()), None),
        to(Some(noon()), Some(later)),
        to(Some(later), Some(noon())),
    ] {
        tx.move_cursor(connection, account, &moved).await.unwrap();
        let found = tx.cursor(connection, account).await.unwrap();
        assert_eq!(found, (moved, None, None));
    }
}

#[tokio::test]
async fn another_tenants_rows_can_neither_be_seen_nor_written() {
    let app = TestApp::start().await;
    let mine = Ledger::open(&app).await;
    let other = TenantId(Uuid::from_u128(0x2222_2222_2222_2222_2222_2222_2222_2222));
    let theirs = Ledger::open_as(&app, other, &app.other_tenant(), "main").await;
    mine.apply(1, &rows(&["1"])).await;
    let page = rows(&["1"]);
    let mut tx = theirs.tx().await;
    let known = tx.known_of_account(mine.account).await.unwrap();
    assert!(known.is_empty());
    assert_eq!(tx.accounts_of(mine.connection).await.unwrap(), []);
    // The same names, the same connection even: rows of another tenant are other rows.
    let reach = PageWrite {
        connection: mine.connection,
        account: mine.account,
        ..theirs.page(1, &page, noon())
    };
    assert_eq!(tx.apply_page(&reach).await.unwrap(), applied(1, 0, 0, 0));
    tx.commit().await.unwrap();
    assert_eq!(mine.apply(2, &page).await, applied(0, 0, 1, 0));
}

#[tokio::test]
async fn an_account_without_rows_takes_over_those_of_another_one() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    ledger.apply(1, &rows(&["1", "2"])).await;
    let mut page = rows(&["2", "3"]);
    page[0].description = "Loja".to_owned();

    let mut tx = ledger.tx().await;
    let accounts = [account("a"), account("b")];
    let stored = tx
        .upsert_accounts(ledger.connection, &accounts, noon(), &OsRandom)
        .await
        .unwrap();
    let other = stored[1].id;
    let mut known = tx.known_of_account(other).await.unwrap();
    assert!(known.is_empty());
    let write = PageWrite {
        account: other,
        ..ledger.page(2, &page, noon())
    };
    let taken = tx.apply_page_knowing(&write, &mut known).await.unwrap();
    assert_eq!(taken, applied(1, 1, 0, 0));
    assert!(known.holds(&page));
    // What failed on the way there has spoiled nothing of the transaction.
    tx.commit().await.unwrap();
    let held: Vec<String> = app
        .column(&format!(
            "SELECT vendor_id FROM transactions WHERE account_id = '{other}' ORDER BY vendor_id"
        ))
        .await;
    assert_eq!(held, ["2", "3"]);
}
