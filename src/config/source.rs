//! Where the settings come from: variables, and the files that some of them name.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, fs,
    io::{self, Read as _},
    path::Path,
};

use super::variables::{self, Variable};
use crate::domain::secret::SecretText;

/// The most a file named by a `*_FILE` variable may hold; a key or a secret is far smaller.
const FILE_LIMIT: usize = 64 * 1024;

type ReadFile = Box<dyn Fn(&Path) -> io::Result<String> + Send + Sync>;

/// The variables and their values, from the process environment, from flags, or from a test.
///
/// Every value is held as a secret, since nothing here knows which is one.
pub struct Source {
    values: BTreeMap<String, SecretText>,
    not_text: BTreeSet<String>,
    read_file: ReadFile,
}

impl Source {
    /// Takes the variables of a process, and of these only our own: nobody else's secrets are
    /// kept. Files are read from the disk.
    #[must_use]
    pub fn new(
        variables: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
    ) -> Self {
        let mut source = Self {
            values: BTreeMap::new(),
            not_text: BTreeSet::new(),
            read_file: Box::new(read_small_file),
        };
        for (name, value) in variables {
            let Ok(name) = name.into().into_string() else {
                continue;
            };
            if !variables::is_ours(&name) {
                continue;
            }
            match value.into().into_string() {
                Ok(value) => source.insert(name, value),
                Err(_) => {
                    source.not_text.insert(name);
                }
            }
        }
        source
    }

    /// The same variables, with another way to read files.
    #[must_use]
    pub fn reading_files_by(
        mut self,
        read_file: impl Fn(&Path) -> io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        self.read_file = Box::new(read_file);
        self
    }

    /// Sets a variable, as a flag of the command line does: it wins over the environment.
    pub fn set(&mut self, variable: &Variable, value: impl Into<String>) {
        self.not_text.remove(variable.name());
        self.insert(variable.name().to_owned(), value.into());
    }

    fn insert(&mut self, name: String, value: String) {
        self.values.insert(name, SecretText::new(value));
    }

    /// The value of a variable, unless it is unset or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(SecretText::expose)
            .filter(|value| !value.trim().is_empty())
    }

    /// Whether the variable is set to bytes that are no text.
    pub(super) fn is_not_text(&self, name: &str) -> bool {
        self.not_text.contains(name)
    }

    /// Every name that is set to something.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values
            .keys()
            .chain(&self.not_text)
            .map(String::as_str)
            .filter(|name| self.is_not_text(name) || self.get(name).is_some())
    }

    /// The text of a file, without the line end that editors add.
    pub(super) fn file(&self, path: &str) -> io::Result<SecretText> {
        let mut text = (self.read_file)(Path::new(path))?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(SecretText::new(text))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Reads a file, but no more than a secret could need.
fn read_small_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX);
    fs::File::open(path)?
        .take(limit + 1)
        .read_to_string(&mut text)?;
    if text.len() > FILE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 64 KiB",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{FILE_LIMIT, Source};
    use crate::config::variables;
    use std::{ffi::OsString, fs};

    #[test]
    fn an_empty_value_is_as_good_as_none() {
        let source = Source::new([
            ("DISCOVERY_A", ""),
            ("DISCOVERY_B", " \n"),
            ("DISCOVERY_C", "c"),
        ]);
        assert_eq!(source.get("DISCOVERY_A"), None);
        assert_eq!(source.get("DISCOVERY_B"), None);
        assert_eq!(source.get("DISCOVERY_C"), Some("c"));
        assert_eq!(source.names().collect::<Vec<_>>(), ["DISCOVERY_C"]);
    }

    #[test]
    fn variables_of_others_are_not_kept() {
        let source = Source::new([("CLOUD_KEY", "c"), ("DATABASE_URL", "d")]);
        assert_eq!(source.names().collect::<Vec<_>>(), ["DATABASE_URL"]);
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let mut source = Source::new([("DISCOVERY_LISTEN", "1.1.1.1:1")]);
        source.set(&variables::LISTEN, "2.2.2.2:2");
        assert_eq!(source.get("DISCOVERY_LISTEN"), Some("2.2.2.2:2"));
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_remembered_by_name() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = || OsString::from_vec(vec![b'c', 0xff]);
        let source = Source::new([
            (OsString::from("DISCOVERY_A"), bytes()),
            (bytes(), OsString::from("b")),
        ]);
        assert!(source.is_not_text("DISCOVERY_A"));
        assert_eq!(source.names().collect::<Vec<_>>(), ["DISCOVERY_A"]);

        let mut source = Source::new([(OsString::from("DISCOVERY_LISTEN"), bytes())]);
        source.set(&variables::LISTEN, "2.2.2.2:2");
        assert!(
            !source.is_not_text("DISCOVERY_LISTEN"),
            "a flag replaces it"
        );
    }

    #[test]
    fn debug_shows_names_alone() {
        let source = Source::new([("DISCOVERY_NAME", "canary")]);
        assert_eq!(format!("{source:?}"), r#"["DISCOVERY_NAME"]"#);
    }

    #[test]
    fn a_file_is_read_without_its_line_end_and_only_when_small() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let name = path.to_str().unwrap();
        let source = Source::new([("", "")]);

        fs::write(&path, "two\nlines \r\n\n").unwrap();
        assert_eq!(source.file(name).unwrap().expose(), "two\nlines ");

        fs::write(&path, "x".repeat(FILE_LIMIT)).unwrap();
        assert_eq!(source.file(name).unwrap().expose().len(), FILE_LIMIT);

        fs::write(&path, "x".repeat(FILE_LIMIT + 1)).unwrap();
        let error = source.file(name).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 64 KiB");

        fs::remove_file(&path).unwrap();
        assert!(source.file(name).is_err());
    }
}
