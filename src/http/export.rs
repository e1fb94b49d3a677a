//! Whole results, written while they are read: never more than one batch of them is in memory, and
//! no transaction is held while a slow client makes up its mind.

use std::{collections::VecDeque, fmt::Write as _};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{accept::Form, problem::Problem};
use crate::{app::AppError, telemetry};

/// Rows of one short transaction.
pub(super) const BATCH: u16 = 1000;

/// A batch as it is sent, and where the next one begins; `None` after the last one.
pub(super) struct Batch<K> {
    pub(super) text: String,
    pub(super) next: Option<K>,
}

/// Answers all batches, each read when the one before it was taken. The first is read before the
/// answer begins, so that what is wrong from the start is told as a problem.
pub(super) async fn answer<K, F>(
    form: Form,
    read: impl Fn(Option<K>) -> F + Send + 'static,
) -> Result<Response, Problem>
where
    K: Send + 'static,
    F: Future<Output = Result<Batch<K>, AppError>> + Send + 'static,
{
    let first = read(None).await?;
    let begun = VecDeque::from([first.text]);
    let rest = stream::try_unfold((begun, first.next, read), |(mut ready, next, read)| async {
        if let Some(text) = ready.pop_front() {
            return Ok(Some((text, (ready, next, read))));
        }
        let Some(from) = next else {
            return Ok(None);
        };
        match read(Some(from)).await {
            Ok(batch) => Ok(Some((batch.text, (ready, batch.next, read)))),
            Err(error) => {
                // The answer has begun, so all that is left is to break it off: a client sees that
                // it did not come to its end.
                tracing::error!(
                    error = telemetry::with_causes(&error),
                    "an export was broken off"
                );
                Err(error)
            }
        }
    });
    let content_type = HeaderValue::from_static(form.media_type());
    Ok((
        [(header::CONTENT_TYPE, content_type)],
        Body::from_stream(rest),
    )
        .into_response())
}

/// One record of a table (RFC 4180).
#[derive(Default)]
pub(super) struct Record(String);

impl Record {
    /// A value that is ours: it can't be taken for a formula.
    pub(super) fn value(&mut self, value: &(impl ToString + ?Sized)) -> &mut Self {
        self.field(&value.to_string())
    }

    /// A value that may be absent.
    pub(super) fn optional(&mut self, value: Option<impl ToString>) -> &mut Self {
        self.field(&value.map_or_else(String::new, |value| value.to_string()))
    }

    /// What somebody else wrote. A text that a spreadsheet would calculate begins with an apostrophe,
    /// which makes it show the text instead.
    pub(super) fn text(&mut self, text: Option<&str>) -> &mut Self {
        let text = text.unwrap_or_default();
        let is_formula = text.trim_start().starts_with([
            '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
        ]) || text.starts_with(['\t', '\r', '\n']);
        if is_formula {
            self.field(&format!("'{text}"))
        } else {
            self.field(text)
        }
    }

    fn field(&mut self, text: &str) -> &mut Self {
        let quoted = text.contains(['"', ',', '\r', '\n']);
        // Writing to a string does not fail.
        let _ = if quoted {
            write!(self.0, "\"{}\",", text.replace('"', "\"\""))
        } else {
            write!(self.0, "{text},")
        };
        self
    }

    /// The record with its end.
    pub(super) fn end(&self) -> String {
        format!("{}\r\n", self.0.strip_suffix(',').unwrap_or(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        Record::default().text(Some(text)).end()
    }

    #[test]
    fn a_field_is_quoted_where_it_has_to_be() {
        assert_eq!(one("Padaria"), "Padaria\r\n");
        assert_eq!(one("a,b"), "\"a,b\"\r\n");
        assert_eq!(one("a\"b"), "\"a\"\"b\"\r\n");
        assert_eq!(one("a\nb"), "\"a\nb\"\r\n");
        assert_eq!(one("a\rb"), "\"a\rb\"\r\n");
        let mut record = Record::default();
        record
            .value(&-1)
            .optional(None::<i32>)
            .text(None)
            .optional(Some(2));
        assert_eq!(record.end(), "-1,,,2\r\n");
    }

    #[test]
    fn no_text_of_others_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "＝1", "\r1"] {
            let written = one(text);
            let shown = written.trim_start_matches('"');
            assert!(shown.starts_with('\''), "{text:?}: {written:?}");
        }
        assert_eq!(one("1-1"), "1-1\r\n");
    }
}
