//! What the documents promise is what there is.

use std::fmt::Write as _;

use matcher_discovery::config::VARIABLES;

const README: &str = include_str!("../../README.md");

#[test]
fn the_readme_lists_every_variable_as_the_program_knows_it() {
    let mut table = String::from("| variable | meaning | default |\n|---|---|---|\n");
    for variable in VARIABLES {
        let mut names = format!("`{}`", variable.name());
        if let Some(file) = variable.file_name() {
            let suffix = file.strip_prefix(variable.name()).unwrap();
            let _ = write!(names, " (or `…{suffix}`)");
        }
        if let Some(alias) = variable.alias() {
            let _ = write!(names, " or `{alias}`");
        }
        let _ = writeln!(
            table,
            "| {names} | {} | {} |",
            variable.meaning(),
            variable.default_text()
        );
    }
    let (_, rest) = README.split_once("<!-- variables:begin").unwrap();
    let (_, rest) = rest.split_once("-->\n").unwrap();
    let (written, _) = rest.split_once("<!-- variables:end -->").unwrap();
    assert!(
        written == table,
        "the table of variables in README.md is stale; put this in its place:\n\n{table}"
    );
}

#[test]
fn what_the_documents_link_to_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if !target.starts_with("http") {
                assert!(root.join(target).exists(), "{document} links to {target}");
            }
        }
    }
}
