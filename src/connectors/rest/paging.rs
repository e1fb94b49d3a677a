//! From page to page: where a list goes on, and when it ends.
//!
//! The server is not trusted to let a list end: whatever comes round again is an error, and so is a list of too many
//! pages.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use url::Url;

use super::{json, link};
use crate::{
    connectors::ConnectorError,
    domain::rest::{Paging, Resource, RestPlace},
    net::{HeaderMap, header::LINK},
};

/// How many pages a list may have.
const MAX_PAGES: usize = 100_000;

/// The longest cursor, in bytes; it has to fit into a URL.
const MAX_CURSOR_LENGTH: usize = 4096;

/// A way through the pages of a list.
#[derive(Debug)]
pub(super) struct Walk {
    paging: Paging,
    /// Where the list is, whatever the page.
    list: Url,
    next: Option<Url>,
    /// Digests of where it went on so far, or of the last page where pages are numbered.
    seen: BTreeSet<u64>,
    pages: usize,
}

/// What a page was, as far as it matters for where to go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) document: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) records: u64,
}

impl Walk {
    /// Begins at the first page.
    pub(super) fn of(place: &RestPlace, resource: &Resource) -> Result<Self, ConnectorError> {
        let mut list = below(&place.base_url, &resource.path)?;
        if let Paging::Page {
            size: Some((parameter, records)),
            ..
        } = &resource.paging
        {
            list = with(&list, parameter, &records.to_string());
        }
        let mut walk = Self {
            paging: resource.paging.clone(),
            list,
            next: None,
            seen: BTreeSet::new(),
            pages: 0,
        };
        walk.next = Some(walk.first());
        Ok(walk)
    }

    /// The page to ask for now; `None` at the end.
    pub(super) fn next(&self) -> Option<&Url> {
        self.next.as_ref()
    }

    /// Whether a page that is not there may be one past the end: there are servers that say so in
    /// this way.
    pub(super) fn may_have_ended(&self) -> bool {
        self.pages > 0 && matches!(self.paging, Paging::Page { .. })
    }

    /// The first page, to see whether it is still there.
    pub(super) fn first(&self) -> Url {
        match &self.paging {
            Paging::Page {
                parameter, first, ..
            } => with(&self.list, parameter, &first.to_string()),
            Paging::None | Paging::Cursor { .. } | Paging::Link => self.list.clone(),
        }
    }

    /// There is nothing more.
    pub(super) fn end(&mut self) {
        self.next = None;
    }

    /// Goes on from a page.
    pub(super) fn advance(&mut self, page: Seen<'_>) -> Result<(), ConnectorError> {
        let current = self.next.take();
        self.pages += 1;
        let next = match &self.paging {
            Paging::None => None,
            Paging::Page { .. } if page.records == 0 => None,
            Paging::Page {
                parameter, first, ..
            } => {
                // A server that does not know the parameter answers the same for ever.
                let digest = digest(page.document);
                if self.seen.contains(&digest) {
                    return Err(ConnectorError::Malformed);
                }
                self.seen = BTreeSet::from([digest]);
                let number = u64::from(*first) + self.pages as u64;
                Some(with(&self.list, parameter, &number.to_string()))
            }
            Paging::Cursor {
                parameter,
                next_path,
            } => match cursor(page.document, next_path)? {
                Some(cursor) if !self.seen.insert(digest(&cursor)) => {
                    return Err(ConnectorError::Malformed);
                }
                Some(cursor) => Some(with(&self.list, parameter, &cursor)),
                None => None,
            },
            Paging::Link => {
                let current = current.unwrap_or_else(|| self.list.clone());
                self.seen.insert(digest(current.as_str()));
                match linked(&current, page.headers)? {
                    Some(next) if self.seen.contains(&digest(next.as_str())) => {
                        return Err(ConnectorError::Malformed);
                    }
                    next => next,
                }
            }
        };
        if next.is_some() && self.pages >= MAX_PAGES {
            return Err(ConnectorError::TooLarge);
        }
        self.next = next;
        Ok(())
    }
}

/// A path below the base, and never beside it.
fn below(base: &Url, path: &str) -> Result<Url, ConnectorError> {
    let text = format!("{}{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&text)
        .ok()
        .filter(|url| path.starts_with('/') && url.origin() == base.origin())
        .filter(|url| {
            let inside = url.path().strip_prefix(base.path().trim_end_matches('/'));
            inside.is_some_and(|rest| rest.starts_with('/'))
        })
        .ok_or(ConnectorError::Refused)
}

fn with(url: &Url, parameter: &str, value: &str) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair(parameter, value);
    url
}

fn cursor(document: &str, pointer: &str) -> Result<Option<String>, ConnectorError> {
    let Some(value) = json::find(document, pointer)? else {
        return Ok(None);
    };
    if matches!(value, "null" | "\"\"" | "false") {
        return Ok(None);
    }
    json::scalar(value)
        .filter(|text| value != "true" && text.len() <= MAX_CURSOR_LENGTH)
        .map(|text| Some(text.into_owned()))
        .ok_or(ConnectorError::Malformed)
}

/// Where the `Link` headers lead. Elsewhere than to the same server they do not: the proof would
/// go there, too.
fn linked(current: &Url, headers: &HeaderMap) -> Result<Option<Url>, ConnectorError> {
    for header in headers.get_all(LINK) {
        let header = header.to_str().map_err(|_| ConnectorError::Malformed)?;
        let Some(target) = link::next(header)? else {
            continue;
        };
        let mut next = current
            .join(target)
            .map_err(|_| ConnectorError::Malformed)?;
        next.set_fragment(None);
        let same = next.origin() == current.origin()
            && next.username().is_empty()
            && next.password().is_none();
        return if same {
            Ok(Some(next))
        } else {
            Err(ConnectorError::Refused)
        };
    }
    Ok(None)
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::HeaderValue;

    fn walk(base: &str, path: &str, paging: Paging) -> Walk {
        let resource = Resource {
            name: "r".to_owned(),
            path: path.to_owned(),
            record_path: String::new(),
            paging,
        };
        let place = RestPlace {
            base_url: base.parse().unwrap(),
            resources: vec![resource.clone()],
        };
        Walk::of(&place, &resource).unwrap()
    }

    fn step(
        walk: &mut Walk,
        document: &str,
        link: Option<&'static str>,
        records: u64,
    ) -> Result<Option<String>, ConnectorError> {
        let headers = link.map(|link| (LINK, HeaderValue::from_static(link)));
        walk.advance(Seen {
            document,
            headers: &headers.into_iter().collect(),
            records,
        })?;
        Ok(at(walk))
    }

    fn at(walk: &Walk) -> Option<String> {
        walk.next().map(Url::to_string)
    }

    #[test]
    fn a_path_is_below_the_base() {
        for (base, path, url) in [
            ("https://h.example", "/a?b=c", "https://h.example/a?b=c"),
            ("https://h.example/v1/", "/a", "https://h.example/v1/a"),
            ("https://h.example/v1", "/", "https://h.example/v1/"),
            (
                "https://h.example",
                "//evil.example",
                "https://h.example//evil.example",
            ),
        ] {
            assert_eq!(at(&walk(base, path, Paging::None)).as_deref(), Some(url));
        }
        let base = "https://h.example/v1".parse().unwrap();
        for path in [
            "/../x",
            "/../v1x",
            "/a/%2e%2e/%2e%2e/x",
            ":81/",
            "@evil.example/",
            ".evil.example",
        ] {
            assert_eq!(below(&base, path), Err(ConnectorError::Refused), "{path}");
        }
        let root = "https://h.example".parse().unwrap();
        for path in [":81/", "@evil.example/", ".evil.example"] {
            assert_eq!(below(&root, path), Err(ConnectorError::Refused), "{path}");
        }
    }

    #[test]
    fn one_answer_is_all_where_there_are_no_pages() {
        let mut walk = walk("https://h.example", "/a", Paging::None);
        assert_eq!(step(&mut walk, "[1]", Some("</b>; rel=next"), 1), Ok(None));
    }

    #[test]
    fn numbered_pages_are_asked_for_until_one_is_empty() {
        let paging = Paging::Page {
            parameter: "page no".to_owned(),
            first: 0,
            size: Some(("limit".to_owned(), 2)),
        };
        let mut walk = walk("https://h.example", "/a?x=1", paging);
        let url = |number| format!("https://h.example/a?x=1&limit=2&page+no={number}");
        assert_eq!(at(&walk), Some(url(0)));
        assert!(!walk.may_have_ended());
        assert_eq!(step(&mut walk, "[1]", None, 1), Ok(Some(url(1))));
        assert!(walk.may_have_ended());
        assert_eq!(walk.first().as_str(), url(0));
        assert_eq!(step(&mut walk, "[2]", None, 1), Ok(Some(url(2))));
        assert_eq!(step(&mut walk, "[]", None, 0), Ok(None));
    }

    #[test]
    fn a_numbered_page_that_is_the_one_before_it_is_an_endless_list() {
        let paging = Paging::Page {
            parameter: "page".to_owned(),
            first: 1,
            size: None,
        };
        let mut walk = walk("https://h.example", "/a", paging);
        step(&mut walk, "[1]", None, 1).unwrap();
        let refused = step(&mut walk, "[1]", None, 1);
        assert_eq!(refused, Err(ConnectorError::Malformed));
    }

    #[test]
    fn a_cursor_is_followed_until_there_is_none() {
        let paging = || Paging::Cursor {
            parameter: "after".to_owned(),
            next_path: "/next".to_owned(),
        };
        let start = || walk("https://h.example", "/a", paging());
        let mut walk = start();
        assert_eq!(at(&walk).as_deref(), Some("https://h.example/a"));
        for (document, url) in [
            (
                r#"{"next": "a+b=\u00e9 &c"}"#,
                "https://h.example/a?after=a%2Bb%3D%C3%A9+%26c",
            ),
            (
                r#"{"next": 12345678901234567890123}"#,
                "https://h.example/a?after=12345678901234567890123",
            ),
        ] {
            assert_eq!(step(&mut walk, document, None, 0), Ok(Some(url.to_owned())));
        }
        for document in [
            "{}",
            "[]",
            r#"{"next": null}"#,
            r#"{"next": ""}"#,
            r#"{"next": false}"#,
        ] {
            assert_eq!(
                step(&mut start(), document, None, 1),
                Ok(None),
                "{document}"
            );
        }
        for document in [r#"{"next": {}}"#, r#"{"next": ["a"]}"#, r#"{"next": true}"#] {
            let refused = step(&mut start(), document, None, 1);
            assert_eq!(refused, Err(ConnectorError::Malformed), "{document}");
        }
        let long = format!("{{\"next\": \"{}\"}}", "a".repeat(MAX_CURSOR_LENGTH + 1));
        let refused = step(&mut start(), &long, None, 1);
        assert_eq!(refused, Err(ConnectorError::Malformed));
    }

    #[test]
    fn a_cursor_that_comes_again_is_an_endless_list() {
        let paging = Paging::Cursor {
            parameter: "after".to_owned(),
            next_path: "/next".to_owned(),
        };
        let mut walk = walk("https://h.example", "/a", paging);
        for cursor in ["a", "b"] {
            step(&mut walk, &format!("{{\"next\": \"{cursor}\"}}"), None, 1).unwrap();
        }
        let refused = step(&mut walk, r#"{"next": "a"}"#, None, 1);
        assert_eq!(refused, Err(ConnectorError::Malformed));
    }

    #[test]
    fn a_link_is_followed_on_the_same_server_only() {
        let start = || walk("https://h.example/v1", "/a", Paging::Link);
        for (link, url) in [
            (
                "<https://h.example/v1/a?page=2#x>; rel=next",
                "https://h.example/v1/a?page=2",
            ),
            ("<?page=2>; rel=next", "https://h.example/v1/a?page=2"),
            ("<//h.example:443/b>; rel=next", "https://h.example/b"),
        ] {
            let next = step(&mut start(), "[]", Some(link), 0);
            assert_eq!(next, Ok(Some(url.to_owned())), "{link}");
        }
        assert_eq!(
            step(&mut start(), "[]", Some("</b>; rel=prev"), 1),
            Ok(None)
        );
        assert_eq!(step(&mut start(), "[]", None, 1), Ok(None));
        for link in [
            "<https://evil.example/>; rel=next",
            "<//evil.example/>; rel=next",
            "<http://h.example/v1/a?page=2>; rel=next",
            "<https://h.example:8443/>; rel=next",
            "<https://h.example@evil.example/>; rel=next",
            "<https://user@h.example/>; rel=next",
            "<data:,x>; rel=next",
        ] {
            let refused = step(&mut start(), "[]", Some(link), 1);
            assert_eq!(refused, Err(ConnectorError::Refused), "{link}");
        }
    }

    #[test]
    fn a_link_that_leads_back_is_an_endless_list() {
        let mut walk = walk("https://h.example", "/a", Paging::Link);
        step(&mut walk, "[]", Some("</a?page=2>; rel=next"), 1).unwrap();
        let refused = step(&mut walk, "[]", Some("</a#x>; rel=next"), 1);
        assert_eq!(refused, Err(ConnectorError::Malformed));
    }

    #[test]
    fn a_list_has_no_more_pages_than_anybody_needs() {
        let paging = Paging::Page {
            parameter: "page".to_owned(),
            first: u32::MAX,
            size: None,
        };
        let mut walk = walk("https://h.example", "/a", paging);
        for number in 1..MAX_PAGES {
            step(&mut walk, &number.to_string(), None, 1).unwrap();
        }
        let refused = step(&mut walk, "last", None, 1);
        assert_eq!(refused, Err(ConnectorError::TooLarge));
    }
}
