//! Pages of lists: how many, from where, and the cursors that lead on.
//!
//! A cursor holds the key at an edge of a page. It is authenticated, and bound to the tenant, the
//! list and its filters, so it can be neither made up nor used elsewhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{fields::Fields, problem::Code};
use crate::{
    domain::ids::TenantId,
    storage::{self, PageStart},
    vault::Signer,
};

/// Keeps a cursor's tag apart from whatever else is signed.
const PURPOSE: &str = "cursor";
const TAG_BYTES: usize = 32;
/// No cursor of ours is longer; a longer one need not be looked at.
const MAX_CURSOR: usize = 4096;
const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 200;

/// A page of a list, before it is written down as the answer of one operation.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) limit: u16,
    pub(super) next_cursor: Option<String>,
    pub(super) prev_cursor: Option<String>,
}

/// Declares the answer of a list: the same members for each, with a schema of its own name.
macro_rules! list_response {
    ($(#[doc = $doc:literal])+ $name:ident of $item:ident) => {
        $(#[doc = $doc])+
        #[derive(Debug, serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(in crate::http) struct $name {
            /// The rows of this page
            #[schema(max_items = 200)]
            items: Vec<$item>,
            /// How many rows a page has at most
            #[schema(minimum = 1, maximum = 200)]
            limit: u16,
            /// Whether there are rows behind this page
            has_more: bool,
            /// Leads to the next page; absent on the last one
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            next_cursor: Option<String>,
            /// Leads to the page before; absent on the first one
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            prev_cursor: Option<String>,
        }

        impl From<$crate::http::page::Page<$item>> for $name {
            fn from(page: $crate::http::page::Page<$item>) -> Self {
                Self {
                    items: page.items,
                    limit: page.limit,
                    has_more: page.next_cursor.is_some(),
                    next_cursor: page.next_cursor,
                    prev_cursor: page.prev_cursor,
                }
            }
        }
    };
}

pub(super) use list_response;

/// What a cursor is good for.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    /// Whose rows.
    pub(super) tenant: TenantId,
    /// Which list.
    pub(super) list: &'static str,
    /// Which filters, as given.
    pub(super) filter: &'a str,
}

impl Scope<'_> {
    fn message(&self, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        for part in [
            self.tenant.0.as_bytes().as_slice(),
            self.list.as_bytes(),
            self.filter.as_bytes(),
            payload,
        ] {
            message.extend((part.len() as u64).to_be_bytes());
            message.extend(part);
        }
        message
    }
}

/// What a page is asked for.
#[derive(Debug)]
pub(super) struct Paging<K> {
    pub(super) limit: u16,
    pub(super) start: PageStart<K>,
}

#[derive(Deserialize, Serialize)]
enum Payload<K> {
    #[serde(rename = "a")]
    After(K),
    #[serde(rename = "b")]
    Before(K),
}

impl<K: Clone + DeserializeOwned + Serialize> Paging<K> {
    /// Reads `limit` and `cursor`.
    pub(super) fn read(fields: &mut Fields, signer: &Signer, scope: &Scope<'_>) -> Option<Self> {
        let limit = read_limit(fields);
        let start = read_cursor(fields, signer, scope);
        Some(Self {
            limit: limit?,
            start: start?,
        })
    }

    /// The page of these rows, with cursors made of the keys at its edges.
    pub(super) fn page<R, T>(
        &self,
        signer: &Signer,
        scope: &Scope<'_>,
        read: storage::Page<R>,
        key: impl Fn(&R) -> K,
        item: impl Fn(R) -> T,
    ) -> Page<T> {
        let rows = read.items;
        let first = rows.first().map(&key).filter(|_| read.more_before);
        let last = rows.last().map(&key).filter(|_| read.more_after);
        let cursor = |payload: Payload<K>| write_cursor(signer, scope, &payload);
        Page {
            limit: self.limit,
            next_cursor: last.and_then(|key| cursor(Payload::After(key))),
            prev_cursor: first.and_then(|key| cursor(Payload::Before(key))),
            items: rows.into_iter().map(item).collect(),
        }
    }
}

/// Reads `limit`.
pub(super) fn read_limit(fields: &mut Fields) -> Option<u16> {
    if !fields.has("limit") {
        return Some(DEFAULT_LIMIT);
    }
    let parse = |text: &str| {
        text.parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or("must be a whole number from 1 to 200")
    };
    fields.optional_of(Code::InvalidPage, "limit", parse)
}

fn read_cursor<K: DeserializeOwned>(
    fields: &mut Fields,
    signer: &Signer,
    scope: &Scope<'_>,
) -> Option<PageStart<K>> {
    if !fields.has("cursor") {
        return Some(PageStart::First);
    }
    let parse = |text: &str| {
        open_cursor(text, signer, scope)
            .ok_or("is not a cursor of this list with these filters; leave it out to begin anew")
    };
    let payload = fields.optional_of(Code::InvalidPage, "cursor", parse)?;
    Some(match payload {
        Payload::After(key) => PageStart::After(key),
        Payload::Before(key) => PageStart::Before(key),
    })
}

/// What a cursor holds, if it is one of ours for this scope.
pub(super) fn open_cursor<P: DeserializeOwned>(
    text: &str,
    signer: &Signer,
    scope: &Scope<'_>,
) -> Option<P> {
    if text.len() > MAX_CURSOR {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (tag, payload) = bytes.split_at_checked(TAG_BYTES)?;
    if !signer.verify(PURPOSE, &scope.message(payload), tag) {
        return None;
    }
    serde_json::from_slice(payload).ok()
}

/// `None` only if the payload can't be written as JSON, which no payload of ours is capable of.
pub(super) fn write_cursor<P: Serialize>(
    signer: &Signer,
    scope: &Scope<'_>,
    payload: &P,
) -> Option<String> {
    let payload = serde_json::to_vec(payload).ok()?;
    let mut bytes = signer.sign(PURPOSE, &scope.message(&payload)).to_vec();
    bytes.extend(payload);
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
