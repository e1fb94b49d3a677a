//! The shape of the house: which module may know which other, and where each third-party crate lives.
//!
//! The rules are read off the source text, so that a breach is named by file, line and rule, and so that a path inside a macro
//! or a signature counts as much as a `use`.

#![expect(
    clippy::expect_used,
    reason = "a checker that cannot read the sources has to stop"
)]

mod checker;
mod source;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use source::{Target, mentions, words};

/// A module imports only from lower ranks: never from a higher one, and never from a sibling of its own.
const RANKS: &[(&str, u8)] = &[
    ("cli", 5),
    ("http", 4),
    ("worker", 4),
    ("app", 3),
    ("storage", 2),
    ("vendors", 2),
    ("connectors", 2),
    ("local", 2),
    ("vault", 1),
    ("net", 1),
    ("config", 1),
    ("telemetry", 1),
    ("shutdown", 1),
    ("domain", 0),
];

/// Crates that decide an architecture, and the modules they may be named in.
const HOMES: &[(&str, &[&str])] = &[
    // `local` makes its cluster's login role, `cli` wires the options of the pools.
    ("sqlx", &["storage", "connectors", "local", "cli"]),
    ("reqwest", &["net"]),
    ("axum", &["http", "local", "cli"]),
    ("tower", &["http", "local", "cli"]),
    ("tower_http", &["http", "local", "cli"]),
    ("chacha20poly1305", &["vault"]),
    ("aead", &["vault"]),
    ("jsonwebtoken", &["http::auth", "cli::token"]),
    ("utoipa", &["http"]),
    ("utoipa_axum", &["http"]),
    ("utoipa_swagger_ui", &["http"]),
];

/// Names that say nothing about what is inside.
const NAMELESS: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "managers", "service", "services", "misc",
    "common",
];

const MAX_LINES: usize = 800;

/// Where people keep their files; none of it is on another machine.
const HOME_DIRECTORIES: &[&str] = &["/home/", "/Users/", "/root/", "C:\\Users\\"];

/// One line that breaks one rule.
#[derive(Debug)]
struct Breach {
    file: PathBuf,
    line: usize,
    text: String,
    rule: String,
}

/// The source files under a directory of this package, with their text, in a stable order.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join(directory), &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("source files are UTF-8");
        (
            path.strip_prefix(root)
                .expect("found under the root")
                .to_owned(),
            text,
        )
    };
    found.into_iter().map(read).collect()
}

/// `["http", "auth"]` for `src/http/auth/mod.rs` and for `src/http/auth.rs`; empty for the crate roots.
fn module_of(file: &Path) -> Vec<String> {
    let below = file
        .strip_prefix("src")
        .expect("a file under src")
        .with_extension("");
    let mut module: Vec<String> = below
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let last = module.last().map(String::as_str);
    if last == Some("mod") || (module.len() == 1 && matches!(last, Some("lib" | "main"))) {
        module.pop();
    }
    module
}

fn rank(module: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, rank)| *rank)
}

/// The rules on what a file may name. The crate roots only declare, so they have none.
fn layering(file: &Path, text: &str) -> Vec<Breach> {
    let module = module_of(file);
    let Some(own) = module.first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut breach = |line: usize, rule: String| {
        let text = text
            .lines()
            .nth(line - 1)
            .unwrap_or_default()
            .trim()
            .to_owned();
        found.push(Breach {
            file: file.to_owned(),
            line,
            text,
            rule,
        });
    };

    let Some(own_rank) = rank(own) else {
        breach(
            1,
            format!("`{own}` has no rank: give it one in tests/it/layering.rs and in src/lib.rs"),
        );
        return found;
    };
    for mention in mentions(&module, text) {
        match mention.target {
            Target::Ours(path) => match path.first() {
                Some(other) if other == own => {}
                Some(other) => match rank(other) {
                    Some(other_rank) if other_rank < own_rank => {}
                    Some(other_rank) => breach(
                        mention.line,
                        format!(
                            "`{own}` (rank {own_rank}) must not import `{other}` (rank {other_rank}): \
                             a module imports lower ranks only, never a sibling"
                        ),
                    ),
                    None => breach(
                        mention.line,
                        format!("`crate::{other}` is no module with a rank"),
                    ),
                },
                None => breach(
                    mention.line,
                    "the crate's root is imported, which hides what is used of it".to_owned(),
                ),
            },
            Target::Other(path) => {
                let Some((name, homes)) = HOMES.iter().find(|(name, _)| *name == path[0]) else {
                    continue;
                };
                let at_home = |home: &&str| {
                    home.split("::").eq(module
                        .iter()
                        .map(String::as_str)
                        .take(home.split("::").count()))
                };
                if !homes.iter().any(at_home) {
                    breach(
                        mention.line,
                        format!(
                            "`{name}` lives in {} and is not named in `{own}`",
                            homes.join(", ")
                        ),
                    );
                }
            }
        }
    }
    if module.starts_with(&["local".to_owned(), "simulator".to_owned()]) {
        for (line, word) in words(text) {
            if word == "vendors" {
                let rule = "the simulator writes the vendors' JSON by hand: sharing code with `vendors`, both would be wrong together";
                breach(line, rule.to_owned());
            }
        }
    }
    found
}

/// The rules on a file as a file: its length, its name, and that it speaks of no one machine.
fn housekeeping(file: &Path, text: &str) -> Vec<Breach> {
    let mut found = Vec::new();
    let mut breach = |line: usize, text: &str, rule: String| {
        found.push(Breach {
            file: file.to_owned(),
            line,
            text: text.trim().to_owned(),
            rule,
        });
    };

    let length = text.lines().count();
    if length > MAX_LINES {
        breach(
            length,
            "",
            format!("{length} lines, and {MAX_LINES} is the most: split it by meaning"),
        );
    }
    for part in file
        .with_extension("")
        .iter()
        .filter_map(|part| part.to_str())
    {
        if NAMELESS.contains(&part) {
            breach(
                1,
                "",
                format!("`{part}` says nothing about what is inside: name it after that"),
            );
        }
    }
    // This very checkout, and homes in general; this file has to spell the latter out.
    let checkout =
        Some(env!("CARGO_MANIFEST_DIR")).filter(|path| Path::new(path).components().count() > 2);
    let homes = HOME_DIRECTORIES
        .iter()
        .copied()
        .filter(|_| !file.ends_with("tests/it/layering.rs"));
    let absolute: Vec<&str> = homes.chain(checkout).collect();
    for (index, line) in text.lines().enumerate() {
        if let Some(path) = absolute.iter().find(|path| line.contains(**path)) {
            breach(
                index + 1,
                line,
                format!("`{path}` is a path of one machine"),
            );
        }
    }
    found
}

#[track_caller]
fn assert_none(breaches: &[Breach]) {
    let mut report = String::new();
    for Breach {
        file,
        line,
        text,
        rule,
    } in breaches
    {
        write!(report, "\n{}:{line}: {text}\n    {rule}", file.display())
            .expect("writing to a string");
    }
    assert!(
        breaches.is_empty(),
        "{} breach(es) of the layering:{report}",
        breaches.len()
    );
}

#[test]
fn modules_import_lower_ranks_only_and_crates_stay_at_home() {
    let files = sources("src");
    assert!(
        files.len() > RANKS.len() / 2,
        "only {} files found: is this the package's root?",
        files.len()
    );
    let breaches: Vec<Breach> = files
        .iter()
        .flat_map(|(file, text)| layering(file, text))
        .collect();
    assert_none(&breaches);
}

#[test]
fn files_are_short_well_named_and_free_of_machines() {
    let files = ["src", "tests", "benches"].into_iter().flat_map(sources);
    let breaches: Vec<Breach> = files
        .flat_map(|(file, text)| housekeeping(&file, &text))
        .collect();
    assert_none(&breaches);
}
