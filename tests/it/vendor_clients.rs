//! The vendors' clients against the simulator: what a pull will stand on.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt as _, future::BoxFuture};
use matcher_discovery::{
    domain::{
        account::AccountType, base_url::BaseUrl, clock::Clock, connection::AccountRef,
        credential::Credential, host_rule::HostOrNet,
    },
    net::{Client, NetConfig},
    vendors::{
        Access, AccountToRead, Aggregator, ErrorKind, PageMark, Read, VendorError,
        belvo::Belvo,
        budget::{Bucket, Budget, BudgetError, Share},
        pluggy::Pluggy,
    },
};
use serde_json::{Value, json};

use crate::support::{ManualClock, Vendors};

/// Room for everything: the limits are not what is tried here.
#[derive(Debug)]
struct Unlimited;

impl Budget for Unlimited {
    fn take(&self, _: Bucket, _: Share, _: Duration) -> BoxFuture<'_, Result<(), BudgetError>> {
        async { Ok(()) }.boxed()
    }
}

struct Bench {
    vendors: Vendors,
    clock: Arc<ManualClock>,
    client: Box<dyn Aggregator>,
    name: &'static str,
    access: Access,
}

impl Bench {
    async fn of(name: &'static str) -> Self {
        let clock = Arc::new(ManualClock::new());
        let vendors = Vendors::start(clock.clone()).await;
        let host = HostOrNet::Host(vendors.host().parse().unwrap());
        let net = Client::new(NetConfig {
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(30),
            body_cap: 8 * 1024 * 1024,
            exemptions: vec![host],
            proxy: None,
        })
        .unwrap();
        let budget = Arc::new(Unlimited);
        let client: Box<dyn Aggregator> = match name {
            "pluggy" => Box::new(Pluggy::new(net, clock.clone(), budget)),
            _ => Box::new(Belvo::new(net, budget)),
        };
        let made = vendors.connection(name, name);
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        let access = Access {
            base_url: BaseUrl::from_stored(vendors.url()),
            credential: Credential::new(text("clientId"), text("secret")),
            account_ref: AccountRef::from_stored(text("accountRef")),
            patience: Duration::ZERO,
            call_timeout: Duration::from_secs(20),
            deadline: None,
            share: Share::Whole,
        };
        // The rate limits of the simulator are tried elsewhere.
        vendors.limits(&json!({"enabled": false})).await;
        Self {
            vendors,
            clock,
            client,
            name,
            access,
        }
    }

    /// The vendor's name of the first account of that kind.
    async fn account(&self, kind: AccountType) -> String {
        let read = self.client.accounts(&self.access).await.unwrap();
        let found = read.accounts.iter().find(|one| one.account_type == kind);
        found.unwrap().vendor_id.clone()
    }

    /// The ids of a whole listing, page by page.
    async fn list(
        &self,
        account: &str,
        kind: AccountType,
        read: &Read,
    ) -> Result<Vec<String>, VendorError> {
        let account = AccountToRead {
            vendor_id: account,
            account_type: kind,
        };
        let (mut ids, mut mark) = (Vec::new(), None::<PageMark>);
        loop {
            let page = self
                .client
                .transactions(&self.access, account, read, mark.as_ref())
                .await?;
            ids.extend(page.converted.rows.into_iter().map(|row| row.vendor_id));
            match page.next {
                Some(next) => mark = Some(next),
                None => return Ok(ids),
            }
        }
    }

    async fn bank(&self, read: &Read) -> Result<Vec<String>, VendorError> {
        let account = self.account(AccountType::Bank).await;
        self.list(&account, AccountType::Bank, read).await
    }

    async fn small_pages(&self) {
        if self.name == "pluggy" {
            let small = json!({"pageSize": 7});
            self.vendors.scenario("pluggy", "configure", &small).await;
        } else {
            // A page of Belvo has a thousand rows whatever is set: the client asks for as many.
            let account = self.account(AccountType::Bank).await;
            let many = json!({"account": account, "count": 2500, "days": 300});
            self.vendors.add_rows("belvo", &many).await;
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

fn distinct(mut ids: Vec<String>) -> usize {
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

#[tokio::test]
async fn a_listing_is_read_to_its_end_and_each_row_comes_once() {
    for vendor in ["pluggy", "belvo"] {
        let bench = Bench::of(vendor).await;
        bench.small_pages().await;
        let ids = bench.bank(&Read::Full).await.unwrap();
        assert_eq!(distinct(ids.clone()), ids.len(), "{vendor}");
        let calls = bench.vendors.calls().await;
        let pages = calls
            .iter()
            .filter(|call| call.contains("/transactions"))
            .count();
        assert!(pages > 2, "{vendor}: {pages} pages");
        assert!(ids.len() > 50, "{vendor}: {}", ids.len());
    }
}

#[tokio::test]
async fn a_window_holds_its_days_and_no_others() {
    for vendor in ["pluggy", "belvo"] {
        let bench = Bench::of(vendor).await;
        let account = bench.account(AccountType::Bank).await;
        let to = bench.now().date_naive();
        let from = to - TimeDelta::days(30);
        let window = Read::Window { from, to };
        let page = bench
            .client
            .transactions(
                &bench.access,
                AccountToRead {
                    vendor_id: &account,
                    account_type: AccountType::Bank,
                },
                &window,
                None,
            )
            .await
            .unwrap();
        assert!(!page.converted.rows.is_empty(), "{vendor}");
        for row in &page.converted.rows {
            // A vendor cuts days by its own clock, so a row at the edge may be of the day beside.
            let near = row.civil_date >= from - TimeDelta::days(1)
                && row.civil_date <= to + TimeDelta::days(1);
            assert!(near, "{vendor}: {}", row.civil_date);
        }
        let all = bench.bank(&Read::Full).await.unwrap();
        assert!(all.len() > page.converted.rows.len(), "{vendor}");
    }
}

#[tokio::test]
async fn rows_are_read_by_name_and_those_that_are_gone_do_not_come() {
    for vendor in ["pluggy", "belvo"] {
        let bench = Bench::of(vendor).await;
        let all = bench.bank(&Read::Full).await.unwrap();
        let mut wanted: Vec<String> = all.iter().take(3).cloned().collect();
        let gone = "00000000-0000-4000-8000-000000000000".to_owned();
        let mut asked = wanted.clone();
        asked.insert(1, gone);
        let mut found = bench.bank(&Read::Ids(asked)).await.unwrap();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{vendor}");
    }
}

#[tokio::test]
async fn many_names_are_asked_for_in_lots() {
    let bench = Bench::of("pluggy").await;
    let account = bench.account(AccountType::Bank).await;
    let many = json!({"account": account, "count": 700, "silent": true});
    bench.vendors.add_rows("pluggy", &many).await;
    let all = bench.bank(&Read::Full).await.unwrap();
    bench.vendors.calls().await;
    let found = bench.bank(&Read::Ids(all.clone())).await.unwrap();
    assert_eq!(distinct(found), all.len());
    let calls = bench.vendors.calls().await;
    let lots = calls
        .iter()
        .filter(|call| call.contains("/v2/transactions"));
    assert_eq!(lots.count(), all.len().div_ceil(200));
}

#[tokio::test]
async fn what_was_taken_in_since_an_instant_is_found_however_old_it_is() {
    for (vendor, scenario) in [("pluggy", "back-dated-row"), ("belvo", "daily-refresh")] {
        let bench = Bench::of(vendor).await;
        let before = bench.bank(&Read::Full).await.unwrap();
        bench.clock.advance(TimeDelta::days(2));
        let since = bench.now();
        bench.vendors.scenario(vendor, scenario, &json!({})).await;
        let new = bench.bank(&Read::CreatedSince(since)).await.unwrap();
        assert!(!new.is_empty(), "{vendor}");
        assert!(new.iter().all(|id| !before.contains(id)), "{vendor}");
    }
}

#[tokio::test]
async fn a_listing_that_leads_in_circles_or_elsewhere_ends() {
    for (vendor, scenario, params, kind) in [
        (
            "pluggy",
            "configure",
            json!({"pageSize": 5, "next": "repeat"}),
            ErrorKind::EndlessListing,
        ),
        (
            "pluggy",
            "configure",
            json!({"pageSize": 5, "next": "http://127.0.0.2:1"}),
            ErrorKind::ForeignLink,
        ),
        (
            "belvo",
            "repeat-page",
            json!({"on": true}),
            ErrorKind::EndlessListing,
        ),
        (
            "belvo",
            "foreign-next",
            json!({"host": "127.0.0.2:1", "on": true}),
            ErrorKind::ForeignLink,
        ),
    ] {
        let bench = Bench::of(vendor).await;
        if vendor == "belvo" {
            bench.small_pages().await;
        }
        let account = bench.account(AccountType::Bank).await;
        bench.vendors.scenario(vendor, scenario, &params).await;
        let error = bench
            .list(&account, AccountType::Bank, &Read::Full)
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{vendor} {params}");
    }
}

#[tokio::test]
async fn an_absolute_link_to_the_same_place_is_followed() {
    let bench = Bench::of("pluggy").await;
    let whole = bench.bank(&Read::Full).await.unwrap();
    let absolute = json!({"pageSize": 9, "next": "absolute"});
    bench
        .vendors
        .scenario("pluggy", "configure", &absolute)
        .await;
    let again = bench.bank(&Read::Full).await.unwrap();
    assert_eq!(again, whole);
}

#[tokio::test]
async fn one_key_serves_all_and_is_fetched_once() {
    let bench = Bench::of("pluggy").await;
    let reads = (0..30).map(|_| bench.client.accounts(&bench.access));
    for read in futures_util::future::join_all(reads).await {
        assert!(!read.unwrap().accounts.is_empty());
    }
    assert_eq!(authentications(&bench).await, 1);

    // Well before it ends, it is renewed.
    bench.clock.advance(TimeDelta::minutes(111));
    bench.client.accounts(&bench.access).await.unwrap();
    assert_eq!(authentications(&bench).await, 0);
    bench.clock.advance(TimeDelta::minutes(2));
    bench.client.accounts(&bench.access).await.unwrap();
    assert_eq!(authentications(&bench).await, 1);
}

#[tokio::test]
async fn a_key_that_ended_early_is_renewed_once_whatever_the_vendor_says() {
    for status in [401, 403] {
        let bench = Bench::of("pluggy").await;
        let as_told = json!({"expiredKeyStatus": status});
        bench
            .vendors
            .scenario("pluggy", "configure", &as_told)
            .await;
        bench.client.accounts(&bench.access).await.unwrap();
        bench
            .vendors
            .scenario("pluggy", "expire-keys", &json!({}))
            .await;
        bench.vendors.calls().await;
        let reads = (0..10).map(|_| bench.client.accounts(&bench.access));
        for read in futures_util::future::join_all(reads).await {
            read.unwrap();
        }
        assert_eq!(authentications(&bench).await, 1, "{status}");
    }
}

#[tokio::test]
async fn a_fresh_key_that_is_refused_is_not_renewed_for_ever() {
    let bench = Bench::of("pluggy").await;
    let refused = json!({"kind": "answer", "status": 401, "body": {"code": 401, "message": "no"}});
    let rule = json!({"vendor": "pluggy", "path": "/accounts", "fault": refused});
    bench.vendors.fault(&rule).await;
    let error = bench.client.accounts(&bench.access).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotAllowed);
    assert_eq!(
        bench.vendors.calls().await,
        ["POST /auth", "GET /accounts", "POST /auth", "GET /accounts"]
    );
}

#[tokio::test]
async fn a_pair_that_was_refused_rests_a_while() {
    let bench = Bench::of("pluggy").await;
    let wrong = Access {
        credential: Credential::new("nobody".to_owned(), "nothing".to_owned()),
        ..bench.access.clone()
    };
    for _ in 0..5 {
        let error = bench.client.accounts(&wrong).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadCredential);
    }
    assert_eq!(authentications(&bench).await, 1);
    // Another secret is another pair.
    bench.client.accounts(&bench.access).await.unwrap();
    bench.clock.advance(TimeDelta::minutes(6));
    bench.client.accounts(&wrong).await.unwrap_err();
    assert_eq!(authentications(&bench).await, 2);
}

#[tokio::test]
async fn a_live_test_that_fails_in_passing_leaves_the_key_alone() {
    let bench = Bench::of("pluggy").await;
    bench.client.accounts(&bench.access).await.unwrap();
    let down = json!({"vendor": "pluggy", "path": "/auth", "fault": {"kind": "unavailable"}});
    bench.vendors.fault(&down).await;
    let found = bench.client.verify(&bench.access).await;
    assert_eq!(found.credential.unwrap_err().kind, ErrorKind::VendorFault);
    bench.vendors.calls().await;
    bench.client.accounts(&bench.access).await.unwrap();
    assert_eq!(authentications(&bench).await, 0);
}

#[tokio::test]
async fn those_who_wait_for_a_key_share_the_failure() {
    let bench = Bench::of("pluggy").await;
    let down = json!({"vendor": "pluggy", "path": "/auth", "fault": {"kind": "unavailable"}});
    bench.vendors.fault(&down).await;
    let reads = (0..20).map(|_| bench.client.accounts(&bench.access));
    for read in futures_util::future::join_all(reads).await {
        assert_eq!(read.unwrap_err().kind, ErrorKind::VendorFault);
    }
    assert_eq!(authentications(&bench).await, 1);
    bench.vendors.no_faults().await;
    bench.clock.advance(TimeDelta::seconds(2));
    bench.client.accounts(&bench.access).await.unwrap();
}

async fn authentications(bench: &Bench) -> usize {
    let calls = bench.vendors.calls().await;
    calls.iter().filter(|call| *call == "POST /auth").count()
}

/// What is scripted, and what it means to each vendor's listing.
#[tokio::test]
async fn every_bad_answer_to_a_listing_is_classified() {
    let cases: Vec<(Value, ErrorKind, ErrorKind)> = vec![
        (
            json!({"kind": "truncate"}),
            ErrorKind::Unreachable,
            ErrorKind::Unreachable,
        ),
        (
            json!({"kind": "cut"}),
            ErrorKind::Malformed,
            ErrorKind::Malformed,
        ),
        (
            json!({"kind": "reset"}),
            ErrorKind::Unreachable,
            ErrorKind::Unreachable,
        ),
        (
            json!({"kind": "html"}),
            ErrorKind::Malformed,
            ErrorKind::Malformed,
        ),
        (
            json!({"kind": "charset"}),
            ErrorKind::Malformed,
            ErrorKind::Malformed,
        ),
        (
            json!({"kind": "error-inside"}),
            ErrorKind::Malformed,
            ErrorKind::Malformed,
        ),
        (
            json!({"kind": "oversize", "megabytes": 100}),
            ErrorKind::TooLarge,
            ErrorKind::TooLarge,
        ),
        (
            json!({"kind": "forbidden"}),
            ErrorKind::VendorFault,
            ErrorKind::Throttled,
        ),
        (
            json!({"kind": "too-many", "reset": 7}),
            ErrorKind::Throttled,
            ErrorKind::Throttled,
        ),
        (
            json!({"kind": "unavailable", "status": 502}),
            ErrorKind::VendorFault,
            ErrorKind::VendorFault,
        ),
        (
            json!({"kind": "redirect", "location": "/elsewhere"}),
            ErrorKind::Redirected,
            ErrorKind::Redirected,
        ),
    ];
    for vendor in ["pluggy", "belvo"] {
        let bench = Bench::of(vendor).await;
        let account = bench.account(AccountType::Bank).await;
        for (fault, pluggy, belvo) in &cases {
            let path = if vendor == "pluggy" {
                "/v2/transactions"
            } else {
                "/api/transactions"
            };
            bench
                .vendors
                .fault(&json!({"vendor": vendor, "path": path, "fault": fault}))
                .await;
            let read = bench.list(&account, AccountType::Bank, &Read::Full).await;
            bench.vendors.no_faults().await;
            let expected = if vendor == "pluggy" { pluggy } else { belvo };
            let error = read.expect_err(&format!("{vendor} {fault}"));
            assert_eq!(error.kind, *expected, "{vendor} {fault}: {error}");
            if fault["kind"] == "too-many" {
                assert!(error.retry_after.is_some(), "{vendor}");
            }
        }
        // And then everything is there as before.
        assert!(!bench.bank(&Read::Full).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn rows_that_can_not_be_read_are_set_aside_and_the_others_are_kept() {
    for vendor in ["pluggy", "belvo"] {
        let bench = Bench::of(vendor).await;
        let before = bench.bank(&Read::Full).await.unwrap().len();
        bench
            .vendors
            .scenario(vendor, "malformed-rows", &json!({}))
            .await;
        bench
            .vendors
            .scenario(vendor, "unknown-enum-and-field", &json!({}))
            .await;
        let accounts = bench.client.accounts(&bench.access).await.unwrap();
        let (mut rows, mut quarantined) = (0, 0);
        for account in &accounts.accounts {
            let page = bench
                .client
                .transactions(
                    &bench.access,
                    AccountToRead {
                        vendor_id: &account.vendor_id,
                        account_type: account.account_type,
                    },
                    &Read::Full,
                    None,
                )
                .await
                .unwrap();
            rows += page.converted.rows.len();
            quarantined += page.converted.quarantined.len();
        }
        assert!(quarantined > 0, "{vendor}");
        assert!(rows >= before, "{vendor}");
    }
}
