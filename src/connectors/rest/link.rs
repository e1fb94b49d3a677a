//! The `Link` header (RFC 8288), as far as it says where a list goes on.

use crate::connectors::ConnectorError;

/// The target of the first link to the next page, if a header has one.
///
/// A header that can't be read is an error: taken for the end, it would cut the list short.
pub(super) fn next(header: &str) -> Result<Option<&str>, ConnectorError> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(None);
        }
        let (target, after) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or(ConnectorError::Malformed)?;
        let (is_next, after) = parameters(after)?;
        if is_next {
            return Ok(Some(target.trim()));
        }
        rest = after;
    }
}

/// Reads the parameters of one link: whether it leads on from here, and what follows it.
fn parameters(mut rest: &str) -> Result<(bool, &str), ConnectorError> {
    let mut relation: Option<bool> = None;
    let mut anchored = false;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(',') {
            return Ok((relation.unwrap_or_default() && !anchored, rest));
        }
        rest = rest.strip_prefix(';').ok_or(ConnectorError::Malformed)?;
        let end = rest.find(['=', ';', ',']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        rest = &rest[end..];
        let Some(after) = rest.strip_prefix('=') else {
            continue;
        };
        let (value, after) = value(after.trim_start())?;
        rest = after;
        if name.eq_ignore_ascii_case("rel") {
            // Of several only the first counts.
            relation.get_or_insert_with(|| {
                value
                    .split_ascii_whitespace()
                    .any(|relation| relation.eq_ignore_ascii_case("next"))
            });
        } else if name.eq_ignore_ascii_case("anchor") {
            // A link from somewhere else.
            anchored = true;
        }
    }
}

/// Reads a value: a word, or what is between quotes.
fn value(text: &str) -> Result<(&str, &str), ConnectorError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Ok((text[..end].trim_end(), &text[end..]));
    };
    let mut escaped = false;
    let end = quoted
        .find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
        .ok_or(ConnectorError::Malformed)?;
    Ok((&quoted[..end], &quoted[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (header, target) in [
            ("", None),
            (
                "<https://a.example/?page=2>; rel=\"next\"",
                Some("https://a.example/?page=2"),
            ),
            ("</x?a=1,2;3>;rel=next", Some("/x?a=1,2;3")),
            (
                "<1>; rel=\"prev\", <3> ; title=\"a, \\\"b\\\"; <c>\" ; REL = \"last NEXT\" , <9>; rel=last",
                Some("3"),
            ),
            ("<2>; foo; rel=next", Some("2")),
            ("<2>; rel=next; rel=prev", Some("2")),
            (", ,<2>; rel=next,", Some("2")),
            ("<>; rel=next", Some("")),
            ("<2>; rel=prev; rel=next", None),
            ("<2>; rel=\"nextish\"", None),
            ("<2>", None),
            ("<2>; title=\"rel=next\"", None),
            ("<2>; rel=next; anchor=\"#other\"", None),
        ] {
            assert_eq!(next(header), Ok(target), "{header}");
        }
    }

    #[test]
    fn a_header_that_can_not_be_read_is_no_end_of_a_list() {
        for header in ["next", "<2; rel=next", "<2> rel=next", "<2>; rel=\"next"] {
            assert_eq!(next(header), Err(ConnectorError::Malformed), "{header}");
        }
    }
}
