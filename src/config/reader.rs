//! Reads variables for the sections, and gathers what is wrong with them.

use std::{collections::BTreeSet, convert::Infallible, fmt::Display, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::{
    Check, Profile,
    faults::ConfigFault,
    source::Source,
    variables::{Fallback, VARIABLES, Variable},
};
use crate::domain::secret::SecretText;

/// Reads one source for one profile.
///
/// Each of its methods answers `None` where there is nothing to answer; faults are kept.
pub(super) struct Reader<'a> {
    source: &'a Source,
    profile: Profile<'a>,
    checks: &'a [Check],
    faults: Vec<ConfigFault>,
    read: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, profile: Profile<'a>, checks: &'a [Check]) -> Self {
        Self {
            source,
            profile,
            checks,
            faults: Vec::new(),
            read: BTreeSet::new(),
        }
    }

    /// The faults in the order of the documentation, whatever order the sections read in.
    pub(super) fn into_faults(mut self) -> Vec<ConfigFault> {
        self.faults.sort_by_key(|fault| {
            VARIABLES
                .iter()
                .position(|variable| variable.name() == fault.variable)
        });
        self.faults
    }

    /// The names of all variables that were asked for.
    #[cfg(test)]
    pub(super) fn read(&self) -> &BTreeSet<&'static str> {
        &self.read
    }

    pub(super) fn profile(&self) -> Profile<'a> {
        self.profile
    }

    /// A secret as it was written.
    pub(super) fn secret(&mut self, variable: &Variable) -> Option<SecretText> {
        self.text(variable)
    }

    /// A text of which nothing more is known.
    pub(super) fn words(&mut self, variable: &Variable) -> Option<String> {
        self.parsed(variable, |text| Ok::<_, Infallible>(text.to_owned()))
    }

    /// A value, parsed, that may be missing only where the profile can do without it.
    pub(super) fn required<T, E: Display>(
        &mut self,
        variable: &Variable,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.parsed(variable, parse);
        if value.is_none() && self.profile.requires(variable) {
            self.missing(variable, UNSET);
        }
        value
    }

    /// A value, parsed. A variable without a default answers `None` when it is not set.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        variable: &Variable,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(variable)?;
        let text = if variable.is_secret() {
            text.expose()
        } else {
            text.expose().trim()
        };
        parse(text)
            .map_err(|problem| self.refuse(variable, text, problem))
            .ok()
    }

    /// A comma list; `none` is the empty one. Every entry that is wrong is a fault of its own.
    pub(super) fn list<T, E: Display>(
        &mut self,
        variable: &Variable,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let text = self.text(variable)?;
        if text.expose().trim() == "none" {
            return Some(Vec::new());
        }
        let mut entries = Some(Vec::new());
        for entry in text.expose().split(',').map(str::trim) {
            if entry.is_empty() {
                continue;
            }
            match parse(entry) {
                Ok(value) => {
                    if let Some(entries) = &mut entries {
                        entries.push(value);
                    }
                }
                Err(problem) => {
                    self.refuse(variable, entry, problem);
                    entries = None;
                }
            }
        }
        entries
    }

    /// A list of networks, where an address is the network of itself.
    pub(super) fn networks(&mut self, variable: &Variable) -> Option<Vec<IpNet>> {
        self.list(variable, |entry| {
            IpNet::from_str(entry)
                .map(|net| net.trunc())
                .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| "is neither a network nor an address")
        })
    }

    /// Notes that a variable which is needed is not set, unless it is faulty anyway.
    pub(super) fn missing(&mut self, variable: &Variable, problem: &str) {
        if !self.is_faulty(variable) {
            self.fault(variable, problem);
        }
    }

    pub(super) fn is_faulty(&self, variable: &Variable) -> bool {
        self.faults
            .iter()
            .any(|fault| fault.variable == variable.name())
    }

    /// Notes what is wrong with a value, and shows the value where that is safe.
    fn refuse(&mut self, variable: &Variable, value: &str, problem: impl Display) {
        let whence = self.whence(variable);
        match shown(variable, value) {
            Some(value) => self.fault(variable, format_args!("has `{value}`, which {problem}")),
            None => self.fault(
                variable,
                format_args!("has a value{whence} which {problem}"),
            ),
        }
    }

    /// Says from which other name a value was taken.
    fn whence(&self, variable: &Variable) -> String {
        [variable.file_name().as_deref(), variable.alias()]
            .into_iter()
            .flatten()
            .find(|name| {
                self.source.get(variable.name()).is_none() && self.source.get(name).is_some()
            })
            .map_or_else(String::new, |name| format!(" (from {name})"))
    }

    fn fault(&mut self, variable: &Variable, problem: impl Display) {
        self.faults.push(fault(variable, problem));
    }

    /// The text of a variable: its value, its file's, its alias', or its default. A
    /// variable that can't be read has its fault, and its default goes on in its place.
    fn text(&mut self, variable: &Variable) -> Option<SecretText> {
        self.read.insert(variable.name());
        let Some(text) = self.written(variable) else {
            return match variable.fallback() {
                Fallback::Text { serve, dev } => {
                    Some(SecretText::new(self.profile.pick(serve, dev).to_owned()))
                }
                Fallback::Described(_) => None,
            };
        };
        for (checked, check) in self.checks {
            if checked == variable
                && let Err(problem) = check(text.expose())
            {
                let whence = self.whence(variable);
                self.fault(variable, format_args!("is not valid{whence}: {problem}"));
                return None;
            }
        }
        Some(text)
    }

    fn written(&mut self, variable: &Variable) -> Option<SecretText> {
        let file_name = variable.file_name();
        let names = [
            Some(variable.name()),
            file_name.as_deref(),
            variable.alias(),
        ];
        if let Some(name) = names
            .into_iter()
            .flatten()
            .find(|name| self.source.is_not_text(name))
        {
            self.fault(variable, format_args!("can't be read: {name} is not UTF-8"));
            return None;
        }
        let value = self.source.get(variable.name());
        let file = file_name
            .as_deref()
            .and_then(|name| Some((name, self.source.get(name)?)));
        match (value, file) {
            (Some(_), Some((name, _))) => {
                self.fault(variable, format_args!("and {name} are both set; unset one"));
                None
            }
            (Some(value), None) => Some(SecretText::new(value.to_owned())),
            (None, Some((name, path))) => self.file(variable, name, path),
            (None, None) => variable
                .alias()
                .and_then(|alias| self.source.get(alias))
                .map(|value| SecretText::new(value.to_owned())),
        }
    }

    /// Reads the file a variable names. The path is not shown: a secret that was put into the
    /// `_FILE` variable by mistake would be.
    fn file(&mut self, variable: &Variable, name: &str, path: &str) -> Option<SecretText> {
        match self.source.file(path) {
            Ok(text) if text.expose().trim().is_empty() => {
                self.fault(
                    variable,
                    format_args!("is empty: {name} names an empty file"),
                );
                None
            }
            Ok(text) => Some(text),
            Err(error) => {
                self.fault(
                    variable,
                    format_args!("can't be read from the file that {name} names: {error}"),
                );
                None
            }
        }
    }
}

/// What is wrong with a variable that is needed and not there.
pub(super) const UNSET: &str = "is not set";

/// The fault of a variable, with what to write instead.
pub(super) fn fault(variable: &Variable, problem: impl Display) -> ConfigFault {
    let mut message = format!("{problem}; write {}", variable.expects_text());
    if let Some(file) = variable.file_name() {
        message.push_str(", or name a file that holds it in ");
        message.push_str(&file);
    }
    ConfigFault {
        variable: variable.name(),
        message,
    }
}

/// A value as it may be shown: no secret, nothing that may be a URL with a password, on one line.
fn shown(variable: &Variable, value: &str) -> Option<String> {
    const MOST: usize = 80;
    if variable.is_secret() || value.contains('@') {
        return None;
    }
    let mut text: String = value
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().nth(MOST).is_some() {
        text.push('…');
    }
    Some(text)
}
