//! Whatever Pluggy answers becomes rows, a row put aside, or one classified error.

#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use matcher_discovery::{
    domain::{account::AccountType, transaction::Direction},
    net::HeaderMap,
    vendors::{
        AccountToRead,
        pluggy::{
            answers::{self, Endpoint},
            convert,
        },
    },
};
use url::Url;

fuzz_target!(|body: &[u8]| {
    let _ = convert::key(body);
    let _ = convert::item(body, DateTime::UNIX_EPOCH);
    let _ = convert::accounts(body);
    let _ = convert::account(body);
    for status in [200, 400, 401, 403, 429] {
        let _ = answers::error_of(status, &HeaderMap::new(), body, Endpoint::Transactions);
    }
    let Ok(listing) = Url::parse("https://api.pluggy.ai/v2/transactions?accountId=a") else {
        return;
    };
    for account_type in AccountType::ALL {
        let account = AccountToRead {
            vendor_id: "a",
            account_type,
        };
        let Ok(page) = convert::transactions(body, account, &listing) else {
            continue;
        };
        let converted = page.converted;
        assert!(converted.contradictions as usize <= converted.rows.len());
        for row in converted.rows {
            assert_eq!(row.account_vendor_id, "a");
            assert!(!row.vendor_id.is_empty() && row.vendor_id.len() <= 200);
            assert!(row.description.chars().count() <= 1000);
            assert!(!row.description.contains('\0'));
            assert_eq!(row.amount, row.direction.sign(row.amount));
            if !row.amount.is_zero() {
                assert_eq!(row.amount.is_negative(), row.direction == Direction::Debit);
            }
        }
    }
});
