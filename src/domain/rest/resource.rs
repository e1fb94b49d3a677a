//! What a resource may be declared as.

use std::{collections::BTreeSet, ops::RangeInclusive};

use url::form_urlencoded;

use super::{Paging, Resource};

/// How many resources an endpoint may have.
pub const MAX_RESOURCES: usize = 100;

/// How many records a page may be asked for.
pub const PAGE_SIZES: RangeInclusive<u32> = 1..=100_000;

/// The longest name of a resource or parameter, in characters.
const MAX_NAME_CHARS: usize = 100;

/// The longest path or pointer, in bytes.
const MAX_PATH_LENGTH: usize = 1024;

/// Why a resource was not accepted, in words for the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResourceFault {
    /// Nothing, or too long a name.
    #[error("must be 1 to {MAX_NAME_CHARS} characters long")]
    NameLength,
    /// A character that no name holds.
    #[error("must not hold control characters")]
    Control,
    /// Nothing, or too long a path.
    #[error("must be 1 to {MAX_PATH_LENGTH} bytes long")]
    PathLength,
    /// A character that has no place in a path.
    #[error(
        "must hold only plain ASCII without spaces or backslashes; escape anything else with %"
    )]
    PathCharacter,
    /// A URL of its own, or no path at all.
    #[error(
        "must be a path relative to baseUrl that begins with a single `/`, without scheme and host"
    )]
    PathStart,
    /// A fragment.
    #[error("must not have a fragment (`#`)")]
    Fragment,
    /// A way up.
    #[error("must not have `.` or `..` as a segment, however it is escaped")]
    DotSegment,
    /// A pointer that is none.
    #[error(
        "must be a JSON pointer: empty for the whole answer, else segments that each begin with `/`, \
         with `~1` for `/` and `~0` for `~`"
    )]
    Pointer,
    /// Too long a pointer.
    #[error("must be at most {MAX_PATH_LENGTH} bytes long")]
    PointerLength,
    /// A cursor that would be the whole answer.
    #[error("must say where in an answer the cursor is, as in `/meta/next`")]
    WholeAnswer,
    /// Too small or too large a page.
    #[error("must be from {} to {}", PAGE_SIZES.start(), PAGE_SIZES.end())]
    PageSize,
    /// Two resources of one name.
    #[error("must be a name that no other resource has")]
    DuplicateName,
    /// A parameter with two meanings.
    #[error("must not be a parameter that the path or another setting has already")]
    DuplicateParameter,
    /// Too many resources.
    #[error("must be at most {MAX_RESOURCES}")]
    TooMany,
}

/// Reads the name of a resource.
pub fn resource_name(text: &str) -> Result<String, ResourceFault> {
    name(text)
}

/// Reads the name of a parameter of a query.
pub fn parameter(text: &str) -> Result<String, ResourceFault> {
    name(text)
}

fn name(text: &str) -> Result<String, ResourceFault> {
    if !(1..=MAX_NAME_CHARS).contains(&text.chars().count()) {
        return Err(ResourceFault::NameLength);
    }
    if text.contains(char::is_control) {
        return Err(ResourceFault::Control);
    }
    Ok(text.to_owned())
}

/// Reads a path below the base URL; it may have a query.
pub fn path(text: &str) -> Result<String, ResourceFault> {
    if !(1..=MAX_PATH_LENGTH).contains(&text.len()) {
        return Err(ResourceFault::PathLength);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('\\') {
        return Err(ResourceFault::PathCharacter);
    }
    if !text.starts_with('/') || text.starts_with("//") {
        return Err(ResourceFault::PathStart);
    }
    if text.contains('#') {
        return Err(ResourceFault::Fragment);
    }
    let way = text.split('?').next().unwrap_or_default();
    // Servers differ in when they unescape, and some do it twice.
    let mut plain = way.to_ascii_lowercase();
    for _ in 0..2 {
        plain = plain
            .replace("%25", "%")
            .replace("%2e", ".")
            .replace("%2f", "/")
            .replace("%5c", "/");
    }
    if plain
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return Err(ResourceFault::DotSegment);
    }
    Ok(text.to_owned())
}

/// Reads where in an answer the records are; empty for the whole answer.
pub fn record_path(text: &str) -> Result<String, ResourceFault> {
    if text.len() > MAX_PATH_LENGTH {
        return Err(ResourceFault::PointerLength);
    }
    if text.contains(char::is_control) {
        return Err(ResourceFault::Control);
    }
    let escaped_well = text
        .split('~')
        .skip(1)
        .all(|after| after.starts_with(['0', '1']));
    if !(text.is_empty() || text.starts_with('/')) || !escaped_well {
        return Err(ResourceFault::Pointer);
    }
    Ok(text.to_owned())
}

/// Reads where in an answer the cursor is.
pub fn cursor_path(text: &str) -> Result<String, ResourceFault> {
    if text.is_empty() {
        return Err(ResourceFault::WholeAnswer);
    }
    record_path(text)
}

/// Checks what holds between the parts of resources, each of them read already.
///
/// Tells each fault with the resource it is about, `None` for all of them together, and the
/// member of that resource.
#[must_use]
pub fn check_resources(
    resources: &[Resource],
) -> Vec<(Option<usize>, &'static str, ResourceFault)> {
    let mut faults = Vec::new();
    if resources.len() > MAX_RESOURCES {
        faults.push((None, "resources", ResourceFault::TooMany));
    }
    let mut names = BTreeSet::new();
    for (index, resource) in resources.iter().enumerate() {
        if !names.insert(resource.name.as_str()) {
            faults.push((Some(index), "name", ResourceFault::DuplicateName));
        }
        if let Some(fault) = paging_fault(resource) {
            faults.push((Some(index), "paging", fault));
        }
    }
    faults
}

fn paging_fault(resource: &Resource) -> Option<ResourceFault> {
    let (_, query) = resource.path.split_once('?').unwrap_or_default();
    let mut taken: BTreeSet<_> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect();
    let mut take = |name: &String| taken.insert(name.clone());
    let free = match &resource.paging {
        Paging::None | Paging::Link => true,
        Paging::Cursor { parameter, .. } => take(parameter),
        Paging::Page {
            parameter, size, ..
        } => {
            if size
                .as_ref()
                .is_some_and(|(_, records)| !PAGE_SIZES.contains(records))
            {
                return Some(ResourceFault::PageSize);
            }
            take(parameter) && size.as_ref().is_none_or(|(name, _)| take(name))
        }
    };
    (!free).then_some(ResourceFault::DuplicateParameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_free_of_control_characters() {
        for text in ["a", "Títulos a receber", "\"; drop table x; --"] {
            assert_eq!(resource_name(text).as_deref(), Ok(text));
        }
        let longest = "é".repeat(MAX_NAME_CHARS);
        assert!(resource_name(&longest).is_ok());
        assert_eq!(
            resource_name(&format!("{longest}é")),
            Err(ResourceFault::NameLength)
        );
        assert_eq!(resource_name(""), Err(ResourceFault::NameLength));
        for text in ["a\nb", "a\0", "\u{85}"] {
            assert_eq!(resource_name(text), Err(ResourceFault::Control), "{text:?}");
        }
    }

    #[test]
    fn a_path_stays_below_the_base() {
        for text in [
            "/",
            "/orders",
            "/orders/?status=open&since=../x",
            "/a..b/...",
            "/a%20b",
            "/a//b",
            "/%2e%2ea",
        ] {
            assert_eq!(path(text).as_deref(), Ok(text));
        }
        for (text, fault) in [
            ("", ResourceFault::PathLength),
            ("orders", ResourceFault::PathStart),
            ("https://evil.example/", ResourceFault::PathStart),
            ("@evil.example", ResourceFault::PathStart),
            (":81/", ResourceFault::PathStart),
            ("//evil.example", ResourceFault::PathStart),
            ("/a#b", ResourceFault::Fragment),
            ("/a b", ResourceFault::PathCharacter),
            ("/\\evil.example", ResourceFault::PathCharacter),
            ("/a\r\nb", ResourceFault::PathCharacter),
            ("/é", ResourceFault::PathCharacter),
            ("/..", ResourceFault::DotSegment),
            ("/a/./b", ResourceFault::DotSegment),
            ("/a/../../b?x", ResourceFault::DotSegment),
            ("/%2E%2e/b", ResourceFault::DotSegment),
            ("/.%2e", ResourceFault::DotSegment),
            ("/..%2fb", ResourceFault::DotSegment),
            ("/..%5Cb", ResourceFault::DotSegment),
            ("/%252e%252e/b", ResourceFault::DotSegment),
        ] {
            assert_eq!(path(text), Err(fault), "{text:?}");
        }
        let longest = format!("/{}", "a".repeat(MAX_PATH_LENGTH - 1));
        assert!(path(&longest).is_ok());
        assert_eq!(path(&(longest + "a")), Err(ResourceFault::PathLength));
    }

    #[test]
    fn a_pointer_is_one_or_empty() {
        for text in ["", "/", "/data/items", "/a~1b/m~0n", "/0", "/é"] {
            assert_eq!(record_path(text).as_deref(), Ok(text));
        }
        for text in ["data", "#/data", "$.data", "/a~", "/a~2", "/~~0"] {
            assert_eq!(record_path(text), Err(ResourceFault::Pointer), "{text}");
        }
        assert_eq!(record_path("/a\0"), Err(ResourceFault::Control));
        let long = "/a".repeat(MAX_PATH_LENGTH);
        assert_eq!(record_path(&long), Err(ResourceFault::PointerLength));
        assert_eq!(cursor_path(""), Err(ResourceFault::WholeAnswer));
        assert_eq!(cursor_path("/next").as_deref(), Ok("/next"));
    }

    fn resource(name: &str, path: &str, paging: Paging) -> Resource {
        Resource {
            name: name.to_owned(),
            path: path.to_owned(),
            record_path: String::new(),
            paging,
        }
    }

    fn pages(parameter: &str, size: Option<(&str, u32)>) -> Paging {
        Paging::Page {
            parameter: parameter.to_owned(),
            first: 1,
            size: size.map(|(name, records)| (name.to_owned(), records)),
        }
    }

    fn cursor(parameter: &str) -> Paging {
        Paging::Cursor {
            parameter: parameter.to_owned(),
            next_path: "/next".to_owned(),
        }
    }

    #[test]
    fn resources_have_names_of_their_own_and_parameters_one_meaning() {
        let good = [
            resource("a", "/x?page_size=1", pages("page", Some(("limit", 50)))),
            resource("b", "/x", cursor("page")),
            resource("A", "/x?page=1", Paging::Link),
        ];
        assert_eq!(check_resources(&good), []);
        let bad = [
            resource("a", "/x?%70age=1", pages("page", None)),
            resource("a", "/x", pages("page", Some(("page", 10)))),
            resource("c", "/x?after=", cursor("after")),
            resource("d", "/x", pages("page", Some(("limit", 0)))),
        ];
        assert_eq!(
            check_resources(&bad),
            [
                (Some(0), "paging", ResourceFault::DuplicateParameter),
                (Some(1), "name", ResourceFault::DuplicateName),
                (Some(1), "paging", ResourceFault::DuplicateParameter),
                (Some(2), "paging", ResourceFault::DuplicateParameter),
                (Some(3), "paging", ResourceFault::PageSize),
            ]
        );
    }

    #[test]
    fn resources_are_counted() {
        let many = |count: usize| -> Vec<Resource> {
            (0..count)
                .map(|number| resource(&number.to_string(), "/", Paging::None))
                .collect()
        };
        assert_eq!(check_resources(&many(MAX_RESOURCES)), []);
        assert_eq!(
            check_resources(&many(MAX_RESOURCES + 1)),
            [(None, "resources", ResourceFault::TooMany)]
        );
    }
}
