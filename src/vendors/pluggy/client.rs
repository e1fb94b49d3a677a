//! Pluggy over HTTP.

use std::sync::Arc;

use chrono::SecondsFormat;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::json;
use url::Url;

use super::{
    answers::{self, Endpoint},
    convert::{self, ApiKey},
    keys::Keys,
    webhook,
};
use crate::{
    domain::{
        clock::Clock,
        event::{NotAnEvent, VendorEvent},
        source::SourceReport,
        vendor::Vendor,
    },
    net::{Call, Client, HeaderName, Request},
    vendors::{
        Access, AccountToRead, Accounts, Aggregator, ErrorKind, MAX_ACCOUNT_PAGES, MAX_PAGES,
        PageMark, Read, SMALL_BODY, TransactionPage, VendorError, Verification,
        budget::{Bucket, Budget},
    },
};

/// Pluggy takes 500; fewer keep the URL of a length that every proxy takes.
const IDS_PER_CALL: usize = 200;

/// Pluggy's client.
#[derive(Debug)]
pub struct Pluggy {
    net: Client,
    clock: Arc<dyn Clock>,
    budget: Arc<dyn Budget>,
    keys: Keys,
}

fn error(kind: ErrorKind) -> VendorError {
    VendorError::new(Vendor::Pluggy, kind)
}

impl Endpoint {
    fn bucket(self) -> Bucket {
        match self {
            Self::Auth => Bucket::PluggyAuth,
            Self::Item => Bucket::PluggyOther,
            Self::Accounts => Bucket::PluggyAccounts,
            Self::Transactions => Bucket::PluggyTransactions,
        }
    }

    fn body_cap(self) -> usize {
        match self {
            Self::Auth => 64 * 1024,
            Self::Item => SMALL_BODY,
            Self::Accounts => 8 * SMALL_BODY,
            Self::Transactions => usize::MAX,
        }
    }

    fn call(self) -> Call {
        Call {
            peer: "pluggy",
            name: match self {
                Self::Auth => "authenticate",
                Self::Item => "get_item",
                Self::Accounts => "list_accounts",
                Self::Transactions => "list_transactions",
            },
        }
    }
}

impl Pluggy {
    /// A client that takes room from `budget` before every call.
    #[must_use]
    pub fn new(net: Client, clock: Arc<dyn Clock>, budget: Arc<dyn Budget>) -> Self {
        Self {
            net,
            keys: Keys::new(Arc::clone(&clock)),
            clock,
            budget,
        }
    }

    /// Makes one call and answers the body of a success.
    async fn send(
        &self,
        access: &Access,
        endpoint: Endpoint,
        request: Request,
    ) -> Result<Vec<u8>, VendorError> {
        self.budget
            .take(endpoint.bucket(), access.share, access.patience())
            .await
            .map_err(|error| VendorError::of_budget(Vendor::Pluggy, &error))?;
        let response = self
            .net
            .send(
                request
                    .timeout(access.call_timeout())
                    .body_cap(endpoint.body_cap()),
            )
            .await
            .map_err(|error| VendorError::of_net(Vendor::Pluggy, &error))?;
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

    /// Proves the pair by a fresh session.
    async fn authenticate(&self, access: &Access) -> Result<ApiKey, VendorError> {
        let credential = &access.credential;
        let body = json!({
            "clientId": credential.client_id(),
            "clientSecret": credential.secret(),
        });
        let url = url_of(access, &["auth"])?;
        let request = Request::post_json(Endpoint::Auth.call(), url, &body);
        let answer = self.send(access, Endpoint::Auth, request).await?;
        convert::key(&answer)
    }

    /// Reads with the key that is known, and once more with a fresh one if it is over.
    async fn read(
        &self,
        access: &Access,
        endpoint: Endpoint,
        url: &Url,
    ) -> Result<Vec<u8>, VendorError> {
        let Access {
            base_url,
            credential,
            ..
        } = access;
        let key = Box::pin(
            self.keys
                .get(base_url, credential, self.authenticate(access)),
        )
        .await?;
        let first = self.read_with(access, endpoint, url, &key).await;
        if !first
            .as_ref()
            .is_err_and(|error| error.kind == ErrorKind::KeyExpired)
        {
            return first;
        }
        self.keys.forget(base_url, credential, &key).await;
        let key = Box::pin(
            self.keys
                .get(base_url, credential, self.authenticate(access)),
        )
        .await?;
        self.read_with(access, endpoint, url, &key)
            .await
            .map_err(not_an_expiry)
    }

    async fn read_with(
        &self,
        access: &Access,
        endpoint: Endpoint,
        url: &Url,
        key: &ApiKey,
    ) -> Result<Vec<u8>, VendorError> {
        let request = Request::get(endpoint.call(), url.clone())
            .secret_header(HeaderName::from_static("x-api-key"), key.secret.expose())
            .map_err(|error| VendorError::of_net(Vendor::Pluggy, &error))?;
        self.send(access, endpoint, request).await
    }

    /// The item that the account reference names, by itself or by one of its accounts.
    async fn item(
        &self,
        access: &Access,
        key: Option<&ApiKey>,
    ) -> Result<SourceReport, VendorError> {
        let get = |endpoint, url: Url| async move {
            match key {
                Some(key) => self
                    .read_with(access, endpoint, &url, key)
                    .await
                    .map_err(not_an_expiry),
                None => self.read(access, endpoint, &url).await,
            }
        };
        let reference: &str = &access.account_ref;
        let item = match get(Endpoint::Item, url_of(access, &["items", reference])?).await {
            Err(unknown) if is_unknown(&unknown) => {
                let url = url_of(access, &["accounts", reference])?;
                let account = get(Endpoint::Accounts, url).await?;
                let (_, item) = convert::account(&account)?;
                let item = item.ok_or_else(|| error(ErrorKind::Malformed))?;
                get(Endpoint::Item, url_of(access, &["items", &item])?).await?
            }
            other => other?,
        };
        convert::item(&item, self.clock.now())
    }

    async fn list_accounts(&self, access: &Access) -> Result<Accounts, VendorError> {
        let mut listed = Accounts::default();
        let mut page = 1;
        loop {
            let (accounts, pages) = match self.page_of_accounts(access, page).await {
                Err(unknown) if page == 1 && is_unknown(&unknown) => break,
                // Some of the accounts are not all of them.
                Err(lost) if is_unknown(&lost) => return Err(error(ErrorKind::Malformed)),
                other => other?,
            };
            listed.accounts.extend(accounts.accounts);
            listed.quarantined.extend(accounts.quarantined);
            if page >= pages {
                break;
            }
            if page >= MAX_ACCOUNT_PAGES {
                return Err(error(ErrorKind::EndlessListing));
            }
            page += 1;
        }
        if !listed.accounts.is_empty() || !listed.quarantined.is_empty() {
            return Ok(listed);
        }
        // No account: an item without any, or the reference names an account itself.
        let url = url_of(access, &["accounts", &access.account_ref])?;
        match self.read(access, Endpoint::Accounts, &url).await {
            Ok(body) => Ok(Accounts {
                accounts: vec![convert::account(&body)?.0],
                ..listed
            }),
            // An item that is known and has no accounts is an answer; whether it is known, the
            // source tells.
            Err(unknown) if is_unknown(&unknown) => Ok(listed),
            Err(error) => Err(error),
        }
    }

    /// A page of the item's accounts, and how many pages there are.
    async fn page_of_accounts(
        &self,
        access: &Access,
        page: u32,
    ) -> Result<(Accounts, u32), VendorError> {
        let mut url = url_of(access, &["accounts"])?;
        url.query_pairs_mut()
            .append_pair("itemId", &access.account_ref);
        // In practice there is one page, and nobody has to be asked for the first.
        if page > 1 {
            url.query_pairs_mut().append_pair("page", &page.to_string());
        }
        let body = self.read(access, Endpoint::Accounts, &url).await?;
        convert::accounts(&body)
    }

    async fn list_transactions(
        &self,
        access: &Access,
        account: AccountToRead<'_>,
        read: &Read,
        mark: Option<&PageMark>,
    ) -> Result<TransactionPage, VendorError> {
        let place = mark.map_or(Ok(Place::FIRST), Place::read)?;
        let mut url = url_of(access, &["v2", "transactions"])?;
        let more_ids = {
            let mut query = url.query_pairs_mut();
            query.append_pair("accountId", account.vendor_id);
            let more = match read {
                Read::CreatedSince(since) => {
                    let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
                    query.append_pair("createdAtFrom", &since);
                    false
                }
                Read::Window { from, to } => {
                    query.append_pair("dateFrom", &from.to_string());
                    query.append_pair("dateTo", &to.to_string());
                    false
                }
                Read::Ids(ids) => {
                    let mut chunks = ids.chunks(IDS_PER_CALL).skip(place.chunk);
                    let Some(chunk) = chunks.next() else {
                        return Ok(TransactionPage::default());
                    };
                    query.append_pair("ids", &chunk.join(","));
                    chunks.next().is_some()
                }
                Read::Full => false,
            };
            if let Some(after) = &place.after {
                query.append_pair("after", after);
            }
            more
        };
        let body = self.read(access, Endpoint::Transactions, &url).await?;
        let page = convert::transactions(&body, account, &url)?;
        let next = match page.next {
            Some(PageMark(after)) => Some(place.after(after)?),
            None if more_ids => Some(place.next_chunk()),
            None => None,
        };
        Ok(TransactionPage {
            next: next.map(Place::mark),
            ..page
        })
    }
}

impl Aggregator for Pluggy {
    fn vendor(&self) -> Vendor {
        Vendor::Pluggy
    }

    fn verify<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Verification> {
        async move {
            let fresh = self.authenticate(access).await;
            let key = self
                .keys
                .put(&access.base_url, &access.credential, fresh)
                .await;
            match key {
                Err(error) => Verification {
                    credential: Err(error),
                    source: None,
                },
                Ok(key) => Verification {
                    credential: Ok(()),
                    source: Some(self.item(access, Some(&key)).await),
                },
            }
        }
        .boxed()
    }

    fn source<'a>(
        &'a self,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<SourceReport, VendorError>> {
        self.item(access, None).boxed()
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

/// A fresh key that is refused is not over; the client may not read that.
fn not_an_expiry(error: VendorError) -> VendorError {
    if error.kind == ErrorKind::KeyExpired {
        VendorError {
            kind: ErrorKind::NotAllowed,
            ..error
        }
    } else {
        error
    }
}

fn is_unknown(error: &VendorError) -> bool {
    error.kind == ErrorKind::Gone
}

fn url_of(access: &Access, segments: &[&str]) -> Result<Url, VendorError> {
    super::super::url_of(&access.base_url, segments).ok_or_else(|| error(ErrorKind::Gone))
}

/// Where a listing goes on: which lot of ids, how many pages so far, behind which cursor.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    chunk: usize,
    page: u32,
    after: Option<String>,
}

impl Place {
    const FIRST: Self = Self {
        chunk: 0,
        page: 0,
        after: None,
    };

    fn after(&self, after: String) -> Result<Self, VendorError> {
        if self.after.as_deref() == Some(&*after) || self.page >= MAX_PAGES {
            return Err(error(ErrorKind::EndlessListing));
        }
        Ok(Self {
            chunk: self.chunk,
            page: self.page + 1,
            after: Some(after),
        })
    }

    fn next_chunk(&self) -> Self {
        Self {
            chunk: self.chunk + 1,
            ..Self::FIRST
        }
    }

    fn mark(self) -> PageMark {
        let after = self.after.unwrap_or_default();
        PageMark(format!("{}:{}:{after}", self.chunk, self.page))
    }

    fn read(mark: &PageMark) -> Result<Self, VendorError> {
        let place = || {
            let mut parts = mark.0.splitn(3, ':');
            let chunk = parts.next()?.parse().ok()?;
            let page = parts.next()?.parse().ok()?;
            let after = parts.next()?;
            Some(Self {
                chunk,
                page,
                after: (!after.is_empty()).then(|| after.to_owned()),
            })
        };
        place().ok_or_else(|| error(ErrorKind::BadCursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_being_written_down() {
        let first = Place::FIRST;
        let second = first.after("MjAyNi|a:b=".to_owned()).unwrap();
        for place in [first.clone(), second.clone(), second.next_chunk()] {
            assert_eq!(Place::read(&place.clone().mark()).unwrap(), place);
        }
        for text in ["", "1", "1:2", "x:1:", "1:x:", "-1:0:"] {
            assert_eq!(
                Place::read(&PageMark(text.to_owned())).unwrap_err().kind,
                ErrorKind::BadCursor,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_cursor_that_repeats_ends_the_listing() {
        let place = Place::FIRST.after("a".to_owned()).unwrap();
        let again = place.after("a".to_owned()).unwrap_err();
        assert_eq!(again.kind, ErrorKind::EndlessListing);
        let last = Place {
            page: MAX_PAGES,
            ..place
        };
        let beyond = last.after("b".to_owned()).unwrap_err();
        assert_eq!(beyond.kind, ErrorKind::EndlessListing);
    }
}
