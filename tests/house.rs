//! The house keeps its rules: arrows between the rooms point downward, and files stay readable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn arrows_between_the_rooms_point_downward() {
    // Each room with what it must not know.
    let rooms: [(&str, &[&str]); 5] = [
        (
            "src/domain",
            &[
                "crate::repository",
                "crate::engine",
                "crate::grpc",
                "crate::server",
                "crate::proto",
                "crate::clock",
                "crate::config",
                "sea_orm",
                "tonic",
                "tokio",
                "prost",
            ],
        ),
        (
            "src/repository",
            &["crate::engine", "crate::grpc", "crate::server", "crate::proto", "crate::config", "tonic", "prost"],
        ),
        ("src/engine", &["crate::grpc", "crate::server", "crate::proto", "crate::config", "sea_orm", "tonic", "prost"]),
        ("src/grpc", &["crate::server", "sea_orm"]),
        (
            "src/client",
            &[
                "crate::server",
                "crate::grpc",
                "crate::engine",
                "crate::repository",
                "crate::domain",
                "crate::config",
                "crate::clock",
            ],
        ),
    ];
    for (room, unknown) in rooms {
        for (path, text) in sources(room) {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for word in unknown {
                    assert!(!line.contains(&format!("{word}::")), "{} knows {word}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_at_most_500_lines_long() {
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
            let lines = text.lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    assert!(model.lines().count() <= 150);
    let code: String = ["src", "tests"].iter().flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
    // Names of tests are sentences: nothing else in backquotes has so many underscores.
    let named: Vec<_> = model.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() >= 3).collect();
    assert!(named.len() > 50, "the model names its tests");
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
