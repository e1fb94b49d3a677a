//! Belvo over HTTP: Basic auth, reads only. What makes Belvo go to the bank is never called, since
//! it spends the month's quota.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use url::Url;

use super::{
    answers::{self, Endpoint},
    convert::{self, Next},
    webhook, wire,
};
use crate::{
    domain::{
        event::{NotAnEvent, VendorEvent},
        source::SourceReport,
        transaction::Converted,
        vendor::Vendor,
    },
    net::{Call, Client, HeaderMap, Request},
    vendors::{
        Access, AccountToRead, Accounts, Aggregator, ErrorKind, MAX_ACCOUNT_PAGES, MAX_PAGES,
        PageMark, Read, SMALL_BODY, TransactionPage, VendorError, Verification,
        budget::{Bucket, Budget},
    },
};

/// The most that Belvo puts on a page.
const PAGE_SIZE: &str = "1000";

/// Belvo's client.
#[derive(Debug)]
pub struct Belvo {
    net: Client,
    budget: Arc<dyn Budget>,
}

fn error(kind: ErrorKind) -> VendorError {
    VendorError::new(Vendor::Belvo, kind)
}

impl Endpoint {
    fn body_cap(self) -> usize {
        match self {
            Self::Institutions | Self::Link | Self::Transaction => SMALL_BODY,
            Self::Accounts { .. } | Self::Transactions { .. } => usize::MAX,
        }
    }

    fn call(self) -> Call {
        Call {
            peer: "belvo",
            name: match self {
                Self::Institutions => "list_institutions",
                Self::Link => "get_link",
                Self::Accounts { .. } => "list_accounts",
                Self::Transactions { .. } => "list_transactions",
                Self::Transaction => "get_transaction",
            },
        }
    }
}

impl Belvo {
    /// A client that takes room from `budget` before every call.
    #[must_use]
    pub fn new(net: Client, budget: Arc<dyn Budget>) -> Self {
        Self { net, budget }
    }

    async fn read(
        &self,
        access: &Access,
        endpoint: Endpoint,
        url: Url,
    ) -> Result<Vec<u8>, VendorError> {
        self.budget
            .take(Bucket::Belvo, access.share, access.patience())
            .await
            .map_err(|error| VendorError::of_budget(Vendor::Belvo, &error))?;
        let credential = &access.credential;
        let request = Request::get(endpoint.call(), url)
            .basic_auth(credential.client_id(), credential.secret())
            .map_err(|error| VendorError::of_net(Vendor::Belvo, &error))?;
        let response = self
            .net
            .send(
                request
                    .timeout(access.call_timeout())
                    .body_cap(endpoint.body_cap()),
            )
            .await
            .map_err(|error| VendorError::of_net(Vendor::Belvo, &error))?;
        if response.status.is_success() {
            return Ok(response.body);
        }
        let status = response.status.as_u16();
        Err(answers::error_of(
            status,
            &response.headers,
            &response.body,
            endpoint,
        ))
    }

    async fn link(&self, access: &Access) -> Result<SourceReport, VendorError> {
        let url = url_of(access, &["links", &access.account_ref])?;
        let body = self.read(access, Endpoint::Link, url).await?;
        convert::link(&body)
    }

    /// The cheapest read there is: it needs no link and reaches no bank.
    async fn probe(&self, access: &Access) -> Result<(), VendorError> {
        let mut url = url_of(access, &["institutions"])?;
        url.query_pairs_mut().append_pair("page_size", "1");
        let body = self.read(access, Endpoint::Institutions, url).await?;
        wire::page(&body)
            .map(drop)
            .map_err(|_| answers::error_of(200, &HeaderMap::new(), &body, Endpoint::Institutions))
    }

    async fn list_accounts(&self, access: &Access) -> Result<Accounts, VendorError> {
        let base = url_of_base(access)?;
        let mut all = Accounts::default();
        let mut page = 1;
        loop {
            let mut url = url_of(access, &["accounts"])?;
            url.query_pairs_mut()
                .append_pair("link", &access.account_ref)
                .append_pair("page_size", PAGE_SIZE)
                .append_pair("page", &page.to_string());
            let body = self.read(access, Endpoint::Accounts { page }, url).await?;
            let (accounts, next) = convert::accounts(&body, &base)?;
            all.accounts.extend(accounts.accounts);
            all.quarantined.extend(accounts.quarantined);
            match next {
                Some(next) => page = follow(page, next, MAX_ACCOUNT_PAGES)?,
                None => return Ok(all),
            }
        }
    }

    async fn list_transactions(
        &self,
        access: &Access,
        account: AccountToRead<'_>,
        read: &Read,
        mark: Option<&PageMark>,
    ) -> Result<TransactionPage, VendorError> {
        let place = match mark {
            Some(mark) => mark.0.parse().map_err(|_| error(ErrorKind::BadCursor))?,
            None => 1,
        };
        if let Read::Ids(ids) = read {
            return self.one_of(access, account, ids, place).await;
        }
        let mut url = url_of(access, &["transactions"])?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("link", &access.account_ref)
                .append_pair("account", account.vendor_id)
                .append_pair("page_size", PAGE_SIZE)
                .append_pair("page", &place.to_string());
            match read {
                // Whether this filter also finds what was changed is Belvo's secret, so nothing
                // relies on it alone; it takes days only.
                Read::CreatedSince(since) => {
                    query.append_pair("created_at__gte", &since.date_naive().to_string());
                }
                Read::Window { from, to } => {
                    query.append_pair("value_date__range", &format!("{from},{to}"));
                }
                Read::Ids(_) | Read::Full => {}
            }
        }
        let body = self
            .read(access, Endpoint::Transactions { page: place }, url)
            .await?;
        let base = url_of_base(access)?;
        let (converted, next, total) = convert::transactions(&body, account, &base)?;
        let next = next
            .map(|next| follow(place, next, MAX_PAGES))
            .transpose()?;
        Ok(TransactionPage {
            converted,
            next: next.map(|page| PageMark(page.to_string())),
            total: Some(total),
        })
    }

    /// Belvo has no filter by ids, so each one is a page of its own.
    async fn one_of(
        &self,
        access: &Access,
        account: AccountToRead<'_>,
        ids: &[String],
        place: u32,
    ) -> Result<TransactionPage, VendorError> {
        let index = usize::try_from(place.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(id) = ids.get(index) else {
            return Ok(TransactionPage::default());
        };
        let url = url_of(access, &["transactions", id])?;
        let converted = match self.read(access, Endpoint::Transaction, url).await {
            Ok(body) => convert::transaction(&body, account)?,
            // A row that is gone is not on the page.
            Err(error) if error.kind == ErrorKind::Gone => Converted::default(),
            Err(error) => return Err(error),
        };
        Ok(TransactionPage {
            converted,
            next: (index + 1 < ids.len()).then(|| PageMark((place + 1).to_string())),
            total: None,
        })
    }
}

impl Aggregator for Belvo {
    fn vendor(&self) -> Vendor {
        Vendor::Belvo
    }

    fn verify<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Verification> {
        async move {
            match self.probe(access).await {
                Err(error) => Verification {
                    credential: Err(error),
                    source: None,
                },
                Ok(()) => Verification {
                    credential: Ok(()),
                    source: Some(self.link(access).await),
                },
            }
        }
        .boxed()
    }

    fn source<'a>(
        &'a self,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<SourceReport, VendorError>> {
        self.link(access).boxed()
    }

    fn accounts<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Result<Accounts, VendorError>> {
        self.list_accounts(access).boxed()
    }

    fn transactions<'a>(
        &'a self,
        access: &'a Access,
        account: AccountToRead<'a>,
        read: &'a Read,
        mark: Option<&'a PageMark>,
    ) -> BoxFuture<'a, Result<TransactionPage, VendorError>> {
        self.list_transactions(access, account, read, mark).boxed()
    }

    fn parse_event(&self, body: &[u8]) -> Result<VendorEvent, NotAnEvent> {
        webhook::parse(body)
    }
}

/// The next page is the one behind this one. One that was there already leads in circles; one that
/// leaves pages out would leave rows out.
fn follow(page: u32, Next(next): Next, most: u32) -> Result<u32, VendorError> {
    if next <= page || next > most {
        Err(error(ErrorKind::EndlessListing))
    } else if next > page + 1 {
        Err(error(ErrorKind::Malformed))
    } else {
        Ok(next)
    }
}

fn url_of_base(access: &Access) -> Result<Url, VendorError> {
    Url::parse(access.base_url.as_str()).map_err(|_| error(ErrorKind::WrongRequest))
}

/// Every path of Belvo ends in a slash; without it, it redirects.
fn url_of(access: &Access, segments: &[&str]) -> Result<Url, VendorError> {
    let path: Vec<&str> = ["api"]
        .iter()
        .chain(segments)
        .chain([&""])
        .copied()
        .collect();
    super::super::url_of(&access.base_url, &path).ok_or_else(|| error(ErrorKind::Gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_goes_forward_page_by_page() {
        assert_eq!(follow(1, Next(2), 5), Ok(2));
        assert_eq!(follow(4, Next(5), 5), Ok(5));
        for (page, next, kind) in [
            (2, 2, ErrorKind::EndlessListing),
            (2, 1, ErrorKind::EndlessListing),
            (5, 6, ErrorKind::EndlessListing),
            (1, 3, ErrorKind::Malformed),
        ] {
            assert_eq!(follow(page, Next(next), 5).unwrap_err().kind, kind);
        }
    }
}
