//! Whatever Belvo answers becomes rows, quarantined rows or one error, and what becomes a row keeps
//! the promises of a row.

#![no_main]

use libfuzzer_sys::fuzz_target;
use matcher_discovery::{
    domain::{
        account::AccountType,
        transaction::{Converted, Direction},
    },
    net::HeaderMap,
    vendors::{
        AccountToRead,
        belvo::{
            answers::{self, Endpoint},
            convert, wire,
        },
    },
};
use url::Url;

/// The account of the rows in the corpus.
const ACCOUNT: AccountToRead<'static> = AccountToRead {
    vendor_id: "0a1b2c3d-4e5f-4678-9abc-def012345678",
    account_type: AccountType::Bank,
};

fn check(converted: &Converted) {
    for row in &converted.rows {
        assert_eq!(row.account_vendor_id, ACCOUNT.vendor_id);
        assert_eq!(row.direction.sign(row.amount), row.amount);
        if let Some(own) = row.amount_in_account_currency {
            assert_eq!(row.direction.sign(own), own);
        }
        assert!(row.direction == Direction::Credit || !(-row.amount).is_negative());
        assert!(!row.vendor_id.is_empty() && row.vendor_id.is_ascii());
        assert!(row.description.chars().count() <= 1_000);
        assert!(!row.description.contains('\0'));
    }
    assert!(converted.contradictions as usize <= converted.rows.len());
}

fuzz_target!(|body: &[u8]| {
    let base = Url::parse("https://sandbox.belvo.com").unwrap();
    let page = wire::page(body);
    let rows = page.as_ref().map_or(0, |page| page.rows.len());

    if let Ok((converted, next, count)) = convert::transactions(body, ACCOUNT, &base) {
        check(&converted);
        assert_eq!(converted.rows.len() + converted.quarantined.len(), rows);
        assert_eq!(
            Ok(count),
            page.as_ref().map(|page| page.count).map_err(|_| ())
        );
        assert!(next.is_none_or(|next| next.0 > 0));
    }
    if let Ok((accounts, next)) = convert::accounts(body, &base) {
        assert_eq!(accounts.accounts.len() + accounts.quarantined.len(), rows);
        assert!(next.is_none_or(|next| next.0 > 0));
    }
    if let Ok(converted) = convert::transaction(body, ACCOUNT) {
        check(&converted);
        assert_eq!(converted.rows.len() + converted.quarantined.len(), 1);
    }
    if let Ok(report) = convert::link(body) {
        assert!(!report.reason.is_empty() && report.reason.len() <= 64);
    }
    for status in [200, 400, 401, 403, 404, 408, 428, 429, 500] {
        let from = Endpoint::Transactions { page: 2 };
        let error = answers::error_of(status, &HeaderMap::new(), body, from);
        assert!(error.reason().len() <= 64);
    }
});
