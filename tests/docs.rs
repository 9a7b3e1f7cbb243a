//! What the pages name exists: files, tests, recipes. And the recipes are what they promise: one line each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder, or in it alone, that end like this.
fn files(folder: &str, ending: &str, below: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && below {
            found.extend(files(&name, ending, below));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// The pages for people who change the code: every path that they name is one of this repository.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = files("docs/howto", ".md", false);
    assert!(paths.len() >= 6, "a checklist for each change that people make");
    paths.extend(["CONTRIBUTING.md", "RELEASING.md", "SECURITY.md", "docs/debugging.md"].map(|page| root().join(page)));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What a page has in backquotes outside of blocks.
fn spans(page: &str) -> Vec<String> {
    let text: String = page.split("```").step_by(2).collect();
    // A span may be broken over two lines.
    text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

/// Whether this can only be the path of a file or folder here.
fn is_path(span: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    let endings = [".rs", ".md", ".toml", ".proto", ".sql"];
    // What is built, found or downloaded is not in the repository.
    let is_made = span.starts_with("target/") || span.starts_with("fuzz/artifacts");
    span.chars().all(is_plain)
        && (span.contains('/') || endings.iter().any(|ending| span.ends_with(ending)))
        && !span.contains("..")
        && !is_made
}

#[test]
fn every_path_that_a_page_names_exists() {
    let mut named = 0;
    for (page, text) in pages() {
        for span in spans(&text).into_iter().filter(|span| is_path(span)) {
            assert!(root().join(&span).exists(), "{} names {span}, which does not exist", page.display());
            named += 1;
        }
    }
    assert!(named > 50, "the pages name paths");
}

#[test]
fn every_test_that_a_page_names_exists() {
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| files(folder, ".rs", true))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for (page, text) in pages() {
        // Names of tests are sentences.
        for name in spans(&text).iter().filter(|span| span.matches('_').count() >= 3 && !is_path(span)) {
            if name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                assert!(code.contains(&format!("fn {name}(")), "{}: there is no test {name}", page.display());
            }
        }
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut paths = files("", ".md", false);
    paths.extend(files("docs", ".md", true));
    for page in paths {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                let there = page.parent().unwrap().join(target);
                assert!(there.exists(), "{} links to {link}, which does not exist", page.display());
            }
        }
    }
}

#[test]
fn every_recipe_is_one_line_and_the_pages_name_no_other() {
    let text = fs::read_to_string(root().join("justfile")).unwrap();
    let mut recipes: Vec<(&str, usize)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        if line.starts_with(' ') {
            recipes.last_mut().unwrap().1 += 1;
        } else {
            recipes.push((line.split([' ', ':']).next().unwrap(), 0));
        }
    }
    for wanted in ["check", "test-fast", "test", "matrix", "faults", "db", "bench", "docs"] {
        assert!(recipes.iter().any(|(name, _)| *name == wanted), "there is no recipe {wanted}");
    }
    for (name, lines) in &recipes {
        assert_eq!(*lines, 1, "{name} is one line that also works by hand");
    }
    for (page, text) in pages() {
        for span in spans(&text) {
            let Some(named) = span.strip_prefix("just ").and_then(|rest| rest.split(' ').next()) else { continue };
            assert!(recipes.iter().any(|(name, _)| *name == named), "{}: no recipe {named}", page.display());
        }
    }
}
