//! The fields of spans, where lines are JSON: there is a span for each request, and nearly none is ever told of in a
//! line.

use std::fmt::{self, Write};

use tracing::{
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, FormattedFields, format::Writer},
};

/// Writes the fields of a span as an object of JSON, each as it comes. Their names are words of the program and need no
/// escape. A float would come as a text; the program has none.
#[derive(Debug)]
pub(super) struct SpanFields;

impl<'w> FormatFields<'w> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        let mut members = Members {
            before_next: "",
            writer: &mut writer,
            written: Ok(()),
        };
        fields.record(&mut members);
        members.written?;
        writer.write_char('}')
    }

    /// Of two fields by one name the last counts, for whoever reads the object. So a span should not tell one thing
    /// again and again.
    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let object = &mut current.fields;
        object.pop();
        let mut members = Members {
            before_next: if object.ends_with('{') { "" } else { "," },
            writer: object,
            written: Ok(()),
        };
        fields.record(&mut members);
        members.written?;
        object.write_char('}')
    }
}

/// The members of an object that is being written.
struct Members<'w, W> {
    /// What parts the next one from those before.
    before_next: &'static str,
    writer: &'w mut W,
    written: fmt::Result,
}

impl<W: Write> Members<'_, W> {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.written.is_ok() {
            let (before, name) = (self.before_next, field.name());
            self.written = write!(self.writer, "{before}\"{name}\":{value}");
            self.before_next = ",";
        }
    }
}

impl<W: Write> Visit for Members<'_, W> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let is_plain = |byte| byte >= b' ' && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            self.add(field, format_args!("\"{value}\""));
        } else {
            self.add(field, format_args!("{}", serde_json::Value::from(value)));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
