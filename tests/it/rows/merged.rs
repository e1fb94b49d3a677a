//! Lists of several accounts, merged out of the rows of each.

use std::str::FromStr as _;

use chrono::NaiveDate;
use matcher_discovery::{
    domain::{
        ids::AccountId,
        random::OsRandom,
        transaction::{Direction, TransactionRecord, TransactionStatus},
    },
    storage::{AccountMerge, PageStart, TransactionFilter},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::{Ledger, account, noon, rows};
use crate::support::TestApp;

type Place = (NaiveDate, Uuid);

fn place(record: &TransactionRecord) -> Place {
    (record.civil_date, record.id.0)
}

/// What a list goes by, of a row that is there.
#[derive(Clone, Debug)]
struct Told {
    place: Place,
    account: AccountId,
    status: TransactionStatus,
    direction: Direction,
}

impl Told {
    fn passes(&self, filter: &TransactionFilter) -> bool {
        let accounts = filter.accounts.as_ref();
        accounts.is_none_or(|accounts| accounts.contains(&self.account))
            && filter.status.is_none_or(|status| status == self.status)
            && filter.direction.is_none_or(|one| one == self.direction)
            && filter.date_from.is_none_or(|day| day <= self.place.0)
            && filter.date_to.is_none_or(|day| self.place.0 <= day)
    }
}

/// Gives the ledger's connection that many accounts.
async fn open_accounts(ledger: &Ledger, many: usize) -> Vec<AccountId> {
    let accounts: Vec<_> = (0..many).map(|n| account(&format!("a-{n}"))).collect();
    let mut tx = ledger.tx().await;
    let stored = tx
        .upsert_accounts(ledger.connection, &accounts, noon(), &OsRandom)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    stored.iter().map(|account| account.id).collect()
}

/// Adds rows of the accounts `a-0` and so on. `n` counts them, `h` is a number that looks random.
async fn add(app: &TestApp, ledger: &Ledger, many: usize, number: &str, day: &str) {
    app.execute(&format!(
        "INSERT INTO transactions
             (tenant_id, connection_id, account_id, id, pull_id, date, first_seen_at, updated_at,
              civil_date, vendor_id, direction, status, amount, currency, description, details,
              content_hash, deleted_at)
         SELECT '{}', '{}', a.id, gen_random_uuid(), gen_random_uuid(), now(), now(), now(), {day},
                gen_random_uuid(), CASE h % 3 WHEN 0 THEN 'credit' ELSE 'debit' END,
                CASE h / 3 % 5 WHEN 0 THEN 'pending' ELSE 'posted' END, -1, 'BRL', 'Loja', '{{}}',
                decode(repeat('00', 16), 'hex'), CASE h / 15 % 8 WHEN 0 THEN now() END
         FROM (SELECT n, abs(hashint4(n)) AS h FROM generate_series(1, {many}) AS n) AS made
         JOIN accounts a ON a.vendor_id = 'a-' || {number}",
        app.tenant, ledger.connection,
    ))
    .await;
}

/// All living rows, the first of the list first.
async fn told(app: &TestApp) -> Vec<Told> {
    let lines: Vec<String> = app
        .column(
            "SELECT concat_ws(' ', civil_date, id, account_id, status, direction)
             FROM transactions WHERE deleted_at IS NULL",
        )
        .await;
    let read = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        Told {
            place: (words[0].parse().unwrap(), words[1].parse().unwrap()),
            account: AccountId(words[2].parse().unwrap()),
            status: TransactionStatus::from_str(words[3]).unwrap(),
            direction: Direction::from_str(words[4]).unwrap(),
        }
    };
    let mut rows: Vec<Told> = lines.iter().map(read).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.place));
    rows
}

/// From any row on, in both directions, with many rows of a day, and whatever the filter leaves.
#[tokio::test]
async fn lists_of_several_accounts_hold_what_sorting_all_rows_gives() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let accounts = open_accounts(&ledger, 12).await;
    // Of some accounts many rows, of one hardly any, of two none; half of them on three days.
    let number = "(h % 10 * (h / 10 % 10) / 9)";
    let day = "'2026-02-01'::date + CASE h % 2 WHEN 0 THEN h % 3 ELSE h / 7 % 40 END";
    add(&app, &ledger, 700, number, day).await;
    let all = told(&app).await;
    assert!(all.len() > 500);

    let day = |text: &str| Some(text.parse().unwrap());
    let every = TransactionFilter {
        accounts: Some(accounts.clone()),
        ..TransactionFilter::default()
    };
    let filters = [
        every.clone(),
        TransactionFilter {
            accounts: Some(vec![accounts[0], accounts[3], accounts[11]]),
            ..every.clone()
        },
        TransactionFilter {
            accounts: Some(vec![]),
            ..every.clone()
        },
        TransactionFilter {
            status: Some(TransactionStatus::Pending),
            ..every.clone()
        },
        TransactionFilter {
            direction: Some(Direction::Credit),
            date_from: day("2026-02-02"),
            ..every.clone()
        },
        TransactionFilter {
            status: Some(TransactionStatus::Posted),
            date_to: day("2026-02-03"),
            ..every.clone()
        },
        TransactionFilter {
            date_from: day("2026-02-02"),
            date_to: day("2026-02-20"),
            ..every
        },
    ];
    let mut tx = ledger.tx().await;
    for filter in filters {
        let rows = all.iter().filter(|row| row.passes(&filter));
        let rows: Vec<Place> = rows.map(|row| row.place).collect();
        // Of rows that the filter leaves out, too.
        let keys = all
            .iter()
            .step_by(71)
            .chain(all.last())
            .map(|row| row.place);
        let starts = keys.flat_map(|key| [PageStart::After(key), PageStart::Before(key)]);
        for start in [PageStart::First].into_iter().chain(starts) {
            for limit in [1, 7, 200] {
                let most = usize::from(limit);
                let (expected, after, before) = match start {
                    PageStart::First => (&rows[..most.min(rows.len())], rows.len() > most, false),
                    PageStart::After(key) => {
                        let rest = &rows[rows.partition_point(|row| *row >= key)..];
                        (&rest[..most.min(rest.len())], rest.len() > most, true)
                    }
                    PageStart::Before(key) => {
                        let rest = &rows[..rows.partition_point(|row| *row > key)];
                        let from = rest.len().saturating_sub(most);
                        (&rest[from..], true, from > 0)
                    }
                };
                let page = tx.list_transactions(&filter, &start, limit).await.unwrap();
                let listed: Vec<Place> = page.items.iter().map(place).collect();
                assert_eq!(listed, expected, "{start:?}, {limit} of {filter:?}");
                let more = (page.more_after, page.more_before);
                assert_eq!(more, (after, before), "{start:?}, {limit} of {filter:?}");
            }
        }
        let listed = filter.accounts.as_deref().unwrap();
        for limit in [9, 100, 1_000] {
            let mut merge = AccountMerge::new(listed, &filter, &PageStart::First);
            let mut exported = Vec::new();
            loop {
                let next = tx.next_of_accounts(&mut merge, limit).await.unwrap();
                exported.extend(next.iter().map(place));
                if next.len() < usize::from(limit) {
                    break;
                }
            }
            assert_eq!(exported, rows, "{limit} of {filter:?}");
        }
    }
}

/// Five hundred accounts with a row a day, and one of them with thousands on the last day.
async fn open_many(app: &TestApp) -> (Ledger, TransactionFilter, usize) {
    let ledger = Ledger::open(app).await;
    let accounts = open_accounts(&ledger, 500).await;
    add(
        app,
        &ledger,
        30_000,
        "n % 500",
        "'2026-01-01'::date + n / 500",
    )
    .await;
    add(app, &ledger, 3_000, "0", "'2026-03-05'").await;
    let filter = TransactionFilter {
        accounts: Some(accounts),
        ..TransactionFilter::default()
    };
    let living: Vec<i64> = app
        .column("SELECT count(*) FROM transactions WHERE deleted_at IS NULL")
        .await;
    (ledger, filter, usize::try_from(living[0]).unwrap())
}

/// How often an index of the rows was searched, and how many of its entries were read.
async fn searched(app: &TestApp) -> (usize, usize) {
    // A session hands in its counts when it ends.
    app.close_database().await;
    let sessions = "SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'matcher-discovery'";
    while !app.column::<i32>(sessions).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let counts: Vec<i64> = app
        .column(
            "SELECT unnest(ARRAY[sum(idx_scan), sum(idx_tup_read)])::bigint
             FROM pg_stat_user_indexes WHERE relname = 'transactions'",
        )
        .await;
    let count = |number: usize| usize::try_from(counts[number]).unwrap();
    (count(0), count(1))
}

#[tokio::test]
async fn a_page_of_many_accounts_reads_few_rows_of_each() {
    let app = TestApp::start().await;
    let (ledger, filter, _) = open_many(&app).await;
    let mut tx = ledger.tx().await;
    let middle = ("2026-02-01".parse().unwrap(), Uuid::from_u128(1 << 127));
    let early = ("2026-01-02".parse().unwrap(), Uuid::nil());
    let starts = [
        // All of it of one account.
        PageStart::First,
        PageStart::After(middle),
        PageStart::After(early),
        PageStart::Before(middle),
        PageStart::Before(early),
    ];
    for start in &starts {
        let page = tx.list_transactions(&filter, start, 200).await.unwrap();
        assert_eq!(page.items.len(), 200, "{start:?}");
    }
    drop(tx);
    let (searches, entries) = searched(&app).await;
    let (searches, entries) = (searches / starts.len(), entries / starts.len());
    assert!(searches < 600, "{searches} searches a page");
    // Deleted ones among them.
    assert!(entries < 3_500, "{entries} entries a page");
}

/// How many rows all of it are, read as an export is.
async fn export(ledger: &Ledger, filter: &TransactionFilter) -> usize {
    let accounts = filter.accounts.as_deref().unwrap();
    let mut merge = AccountMerge::new(accounts, filter, &PageStart::First);
    let mut exported = 0;
    loop {
        let mut tx = ledger.tx().await;
        let next = tx.next_of_accounts(&mut merge, 1_000).await.unwrap();
        exported += next.len();
        if next.len() < 1_000 {
            return exported;
        }
    }
}

#[tokio::test]
async fn an_export_of_many_accounts_reads_each_entry_once_and_many_at_a_time() {
    let app = TestApp::start().await;
    let (ledger, filter, rows) = open_many(&app).await;
    assert_eq!(export(&ledger, &filter).await, rows);
    let (searches, entries) = searched(&app).await;
    assert!(searches < rows / 8, "{searches} searches");
    // The deleted ones, which are an eighth, and nothing else besides.
    assert!(entries < rows * 6 / 5, "{entries} entries of {rows}");
}

#[tokio::test]
async fn an_export_reads_many_at_a_time_while_as_many_wait_as_may() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let accounts = open_accounts(&ledger, 21).await;
    add(
        &app,
        &ledger,
        30_000,
        "1 + n % 20",
        "'2026-01-01'::date + n / 300",
    )
    .await;
    add(&app, &ledger, 80_000, "0", "'2026-01-01'::date + n / 800").await;
    let filter = TransactionFilter {
        accounts: Some(accounts),
        ..TransactionFilter::default()
    };
    let rows = export(&ledger, &filter).await;
    assert!(rows > 40_000, "{rows} rows");
    let (searches, _) = searched(&app).await;
    assert!(searches < rows / 300, "{searches} searches");
}

/// The accounts of a page may be read one after the other.
#[tokio::test]
async fn a_page_of_a_connection_is_of_one_moment() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    ledger.apply(1, &rows(&["1"])).await;
    let path = format!(
        "/v1/discovery/aggregator-connections/{}/transactions",
        ledger.connection
    );
    let client = app.client();
    // The connection is read, the rows wait, and meanwhile there is another one.
    let mut writer = PgConnection::connect(&app.database_url()).await.unwrap();
    let mut tx = writer.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();
    let writing = async {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
             WHERE c.relname = 'transactions' AND NOT l.granted";
        while app.column::<i64>(waiting).await == [0] {}
        // The owner of the table is bound by its policy, too.
        let update = AssertSqlSafe(format!(
            "SET LOCAL ROLE discovery_app; SET LOCAL app.tenant_id = '{}';
             UPDATE transactions SET description = 'Loja'",
            app.tenant
        ));
        let written = sqlx::raw_sql(update).execute(&mut *tx).await.unwrap();
        assert_eq!(written.rows_affected(), 1);
        tx.commit().await.unwrap();
    };
    let (answer, ()) = futures_util::future::join(client.get(&path), writing).await;
    let told = answer.expect(200);
    assert_eq!(told["items"][0]["description"], "Padaria 1", "{told:#}");
}
