//! The documents keep their form: their length, their links, the paths, tests and recipes that they name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The parts of a decision record, in order.
const PARTS: [&str; 5] = ["## Context", "## Alternatives", "## Decision", "## Figure", "## Consequence"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files with this ending in a folder, and with `deep` in those within it; sorted.
fn files(folder: &Path, ending: &str, deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            found.extend(files(&path, ending, true));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Everything for people to read.
fn documents() -> Vec<PathBuf> {
    [
        files(&root(), "md", false),
        files(&root().join("docs"), "md", true),
        files(&root().join("deploy"), "md", true),
        files(&root().join("examples"), "md", false),
        examples().iter().flat_map(|example| files(example, "md", false)).collect(),
    ]
    .concat()
}

/// The folders of the examples: what they have installed is not ours.
fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// The decision records, in the order of their numbers.
fn records() -> Vec<PathBuf> {
    let found = files(&root().join("docs/adr"), "md", false);
    found.into_iter().filter(|path| !path.ends_with("README.md")).collect()
}

/// What people read who change the code.
fn guides() -> Vec<PathBuf> {
    let checklists = files(&root().join("docs/howto"), "md", false);
    assert!(checklists.len() >= 6, "there is a checklist for each change that people make");
    let others =
        ["CONTRIBUTING.md", "RELEASING.md", "SECURITY.md", "docs/STYLE.md", "docs/database.md", "docs/debugging.md"];
    checklists.into_iter().chain(others.map(|name| root().join(name))).collect()
}

/// What stands between backquotes, outside of blocks of code.
fn quoted(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_first_documents_stay_short() {
    for (name, most) in [("README.md", 150), ("ARCHITECTURE.md", 170)] {
        let lines = read(&root().join(name)).lines().count();
        assert!(lines <= most, "{name} has {lines} lines");
    }
}

#[test]
fn a_decision_record_has_a_date_and_all_its_parts_and_is_listed() {
    let list = read(&root().join("docs/adr/README.md"));
    let records = records();
    assert!(records.len() >= 10);
    for (index, path) in records.iter().enumerate() {
        let (name, text) = (path.file_name().unwrap().to_str().unwrap(), read(path));
        let number = format!("{:04}", index + 1);
        assert!(name.starts_with(&format!("{number}-")), "{name} should have the number {number}");
        let title = text.strip_prefix(&format!("# {number}: ")).and_then(|rest| rest.lines().next());
        let title = title.unwrap_or_else(|| panic!("{name} does not begin with its number and title"));
        assert!(list.contains(&format!("| [{number}]({name}) | {title} |")), "{name} is not in the list");
        assert!(text.contains("\nDate: 20"), "{name} has no date");
        let parts: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(parts, PARTS, "{name}");
        let lines = text.lines().count();
        assert!(lines <= 40, "{name} has {lines} lines");
    }
}

#[test]
fn every_client_has_the_service_config_of_the_documents() {
    let documented = read(&root().join("docs/clients.md"));
    let documented = documented.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for path in ["python", "go/watch", "java/src/main/resources"] {
        let copy = root().join("examples").join(path).join("service_config.json");
        assert_eq!(read(&copy).trim_end(), documented.trim_end(), "{}", copy.display());
    }
}

#[test]
fn every_link_leads_to_a_file_that_exists() {
    let mut links = 0;
    for path in documents() {
        for link in read(&path).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            assert!(path.parent().unwrap().join(target).exists(), "{} links to {target}", path.display());
        }
    }
    assert!(links > 30, "the documents link to each other");
}

/// Whether this can only be the path of a file or a folder of this repository, from its root.
fn is_path(word: &str) -> bool {
    let is_plain = word.chars().all(|character| character.is_ascii_alphanumeric() || "_-./".contains(character));
    let folders = ["src/", "tests/", "proto/", "docs/", "benches/", "examples/", "fuzz/", "translations/", ".ci/"];
    let is_below = folders.iter().any(|folder| word.starts_with(folder));
    // Files of the root have such names; what is named without its folder has others.
    let is_in_root = [".md", ".toml"].iter().any(|ending| word.ends_with(ending))
        && word.starts_with(|first: char| first == '.' || first.is_uppercase())
        && !word.contains('/');
    // The fuzzer makes this folder when it finds something.
    let is_made = word.starts_with("fuzz/artifacts");
    is_plain && (is_below || is_in_root) && !is_made
}

#[test]
fn every_path_and_every_test_that_a_document_names_exists() {
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs", true))
        .map(|path| read(&path))
        .collect();
    let schema = read(&root().join("docs/schema.sql"));
    let mut paths = 0;
    let others = [root().join("ARCHITECTURE.md"), root().join("README.md")];
    for document in records().into_iter().chain(guides()).chain(others) {
        for word in quoted(&read(&document)) {
            if is_path(&word) {
                paths += 1;
                assert!(root().join(&word).exists(), "{} names {word}", document.display());
            }
            // Names of tests are sentences: nothing else in backquotes has so many underscores, except for some indexes.
            let is_name = word.chars().all(|character| character == '_' || character.is_ascii_alphanumeric());
            if is_name && word.matches('_').count() >= 3 && !schema.contains(&word) {
                assert!(code.contains(&format!("fn {word}(")), "{} names the test {word}", document.display());
            }
        }
    }
    assert!(paths > 100, "the documents name paths");
}

#[test]
fn every_recipe_is_one_line_and_the_guides_name_no_other() {
    // Each recipe with the number of its lines.
    let mut recipes: Vec<(String, usize)> = Vec::new();
    for line in read(&root().join("justfile")).lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '[']))
    {
        match recipes.last_mut() {
            Some((_, lines)) if line.starts_with(' ') => *lines += 1,
            _ => recipes.push((line.split([' ', ':']).next().unwrap_or_default().to_owned(), 0)),
        }
    }
    for (name, lines) in &recipes {
        assert_eq!(*lines, 1, "{name} is one line that also works by hand");
    }
    let is_recipe = |wanted: &str| recipes.iter().any(|(name, _)| name == wanted);
    for name in ["check", "test-fast", "test", "matrix", "faults", "db", "bench", "docs"] {
        assert!(is_recipe(name), "there is no recipe {name}");
    }
    for document in guides() {
        for word in quoted(&read(&document)) {
            let named = word.strip_prefix("just ").and_then(|rest| rest.split(' ').next());
            assert!(named.is_none_or(is_recipe), "{} names `{word}`", document.display());
        }
    }
}

#[test]
fn every_package_has_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("deploy/helm/dispute-service/Chart.yaml", format!("version: {version}")),
        ("deploy/helm/dispute-service/Chart.yaml", format!("appVersion: \"{version}\"")),
        ("deploy/debian/changelog", format!("dispute-service ({version}-1) unstable; urgency=medium")),
    ] {
        let text = read(&root().join(file));
        assert!(text.lines().any(|found| found == line), "{file}: {line}");
    }
}

#[test]
fn every_file_that_the_debian_package_takes_is_there() {
    let manifest = read(&root().join("Cargo.toml"));
    let assets = manifest.split("assets = [").nth(1).unwrap().split("\n]").next().unwrap();
    let sources: Vec<_> =
        assets.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next()).collect();
    assert!(sources.len() >= 10, "{sources:?}");
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        let path = root().join(source);
        match source.rsplit_once("*.") {
            Some((_, ending)) => assert!(!files(path.parent().unwrap(), ending, false).is_empty(), "{source}"),
            None => assert!(path.is_file(), "{source}"),
        }
    }
}
