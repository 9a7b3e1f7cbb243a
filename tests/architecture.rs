//! The architecture holds: layers know only the layers below them, SQL, gRPC and clocks stay where they belong, and files
//! stay readable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking"
)]

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ItemExternCrate, ItemMod, ItemUse, UseTree};

/// Each module at the top of the crate, with the others that it may name. The layers come first, from the lowest up.
const MAY_NAME: [(&str, &[&str]); 18] = [
    ("domain", &[]),
    ("repository", &["domain", "chance", "clock", "metrics"]),
    ("engine", &["repository", "domain", "chance", "clock", "metrics", "traces"]),
    ("grpc", &["engine", "domain", "chance", "clock", "config", "metrics", "proto", "traces", "fuzzing"]),
    ("server", &["grpc", "engine", "repository", "domain", "clock", "config", "metrics", "stderr", "traces"]),
    ("demo", &["server", "domain", "clock", "config", "proto"]),
    ("main", &["demo", "server", "ctl", "clock", "config", "stderr"]),
    ("chance", &[]),
    ("clock", &["domain"]),
    ("config", &["repository", "domain", "proto", "traces"]),
    ("metrics", &[]),
    ("stderr", &[]),
    ("traces", &["domain", "chance", "clock", "metrics"]),
    ("proto", &[]),
    ("client", &["proto"]),
    // A caller: whatever it knows of disputes, the service has told it. Of the domain it takes instants and currencies.
    ("ctl", &["client", "config", "domain", "proto", "chance", "clock", "stderr"]),
    ("fuzzing", &["config", "grpc", "engine", "repository", "domain", "traces"]),
    ("lib", &[]),
];

/// What only some of the code may name: the names, and the top modules, folders and files that may.
const RESERVED: [(&[&str], &[&str]); 9] = [
    // SQL.
    (&["sea_orm", "sea_orm_migration", "sea_query_sqlx", "sqlx", "rusqlite", "libsqlite3_sys"], &["repository"]),
    // gRPC.
    (
        &["tonic", "tonic_health", "tonic_prost", "tonic_reflection", "tonic_types", "prost", "prost_types"],
        // … and of Prometheus, one of whose formats is protobuf, and of the collector of traces. The demo is a client, too.
        &["grpc", "server", "demo", "client", "ctl", "metrics", "traces"],
    ),
    // The codes of gRPC: what a failure is for a client is decided in one place.
    (&["tonic::Code"], &["src/grpc/status.rs", "src/grpc/status", "src/grpc/fuzzing.rs", "client", "ctl"]),
    // Messages that are only known by their description.
    (&["prost_reflect"], &["ctl"]),
    // The collector of traces.
    (&["opentelemetry", "opentelemetry_otlp", "opentelemetry_sdk"], &["traces"]),
    // Tokens.
    (&["jsonwebtoken"], &["src/grpc/auth"]),
    // The time. Methods that ask for it are denied by clippy.toml too, under whatever name.
    (&["std::time::SystemTime", "std::time::Instant", "chrono::Utc::now", "chrono::Local"], &["clock"]),
    // Chance. The client brings its own: it is built without the rest.
    (&["fastrand", "getrandom", "uuid::Uuid::now_v7"], &["chance", "client"]),
    // Whatever has an effect or waits: nothing of it is in the rules.
    (
        &[
            "tokio",
            "tokio_util",
            "futures_util",
            "tracing",
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "std::thread",
        ],
        &[
            "repository",
            "engine",
            "grpc",
            "server",
            "demo",
            "main",
            "clock",
            "config",
            "stderr",
            "traces",
            "client",
            "ctl",
            "src/domain/tests",
        ],
    ),
];

/// A name with all its segments, as it is written in a `use`, in code or in the arguments of a macro.
struct Name {
    segments: Vec<String>,
    line: usize,
}

/// Finds the names in a file. Those that begin with `self` or `super` are resolved.
struct Names {
    module: Vec<String>,
    found: Vec<Name>,
}

impl Names {
    /// All names in the source of this file, whose path begins with `src`.
    fn of(path: &str, source: &str) -> Vec<Name> {
        let mut module: Vec<_> = path.trim_end_matches(".rs").split('/').skip(1).map(str::to_owned).collect();
        module.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
        let mut names = Self { module, found: Vec::new() };
        names.visit_file(&syn::parse_file(source).unwrap_or_else(|error| panic!("{path}: {error}")));
        names.found
    }

    fn record(&mut self, written: &[String], line: usize) {
        let mut segments = vec!["crate".to_owned()];
        let mut rest = written;
        match written[0].as_str() {
            "crate" | "dispute_service" => rest = &written[1..],
            "self" | "super" => {
                segments.extend(self.module.iter().cloned());
                while let Some(("self" | "super", after)) =
                    rest.split_first().map(|(first, rest)| (first.as_str(), rest))
                {
                    if rest[0] == "super" {
                        segments.pop();
                    }
                    rest = after;
                }
            }
            _ => segments.clear(),
        }
        segments.extend(rest.iter().cloned());
        self.found.push(Name { segments, line });
    }

    fn record_tree(&mut self, prefix: &[String], tree: &UseTree) {
        let with = |ident: &syn::Ident| [prefix, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.record_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.record_tree(prefix, tree)),
            UseTree::Name(name) if name.ident == "self" => self.record(prefix, name.ident.span().start().line),
            UseTree::Rename(rename) if rename.ident == "self" => self.record(prefix, rename.ident.span().start().line),
            UseTree::Name(name) => self.record(&with(&name.ident), name.ident.span().start().line),
            UseTree::Rename(rename) => self.record(&with(&rename.ident), rename.ident.span().start().line),
            UseTree::Glob(glob) => {
                self.record(&[prefix, &["*".to_owned()]].concat(), glob.star_token.spans[0].start().line);
            }
        }
    }

    /// The names in tokens that are not parsed: identifiers joined by `::`, `prefix` before each of them.
    fn record_tokens(&mut self, prefix: &[String], tokens: TokenStream) {
        let (mut written, mut line, mut colons) = (prefix.to_vec(), 0, 0);
        for token in tokens {
            if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':') {
                colons += 1;
                continue;
            }
            let goes_on = colons == 2;
            colons = 0;
            match token {
                TokenTree::Group(group) if goes_on => self.record_tokens(&written, group.stream()),
                TokenTree::Group(group) => self.record_tokens(&[], group.stream()),
                TokenTree::Ident(ident) if goes_on => {
                    written.push(ident.to_string());
                    continue;
                }
                TokenTree::Ident(ident) => {
                    self.record_if_joined(prefix, &written, line);
                    written = [prefix, &[ident.to_string()]].concat();
                    line = ident.span().start().line;
                    continue;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.record_if_joined(prefix, &written, line),
            }
            written = prefix.to_vec();
        }
        self.record_if_joined(prefix, &written, line);
    }

    fn record_if_joined(&mut self, prefix: &[String], written: &[String], line: usize) {
        if written.len() >= 2 && written.len() > prefix.len() {
            self.record(written, line);
        }
    }
}

impl Visit<'_> for Names {
    fn visit_item_use(&mut self, item: &ItemUse) {
        self.record_tree(&[], &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &ItemExternCrate) {
        self.record(&[item.ident.to_string()], item.ident.span().start().line);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let written: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if written.len() >= 2 {
            self.record(&written, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_token_stream(&mut self, tokens: &TokenStream) {
        self.record_tokens(&[], tokens.clone());
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }
}

/// What this file names and must not, a line for each.
fn violations(path: &str, source: &str) -> Vec<String> {
    let layer = path.split('/').nth(1).unwrap().trim_end_matches(".rs");
    let (_, may_name) = MAY_NAME.iter().find(|(module, _)| *module == layer).unwrap_or_else(|| {
        panic!("{path}: the module {layer} is new: say in tests/architecture.rs what it may name, and who may name it")
    });
    let mut violations = Vec::new();
    for Name { segments, line } in Names::of(path, source) {
        let name = segments.join("::");
        if segments[0] == "crate" {
            // `crate` alone, or all that is in it, would be every layer at once.
            let other = segments.get(1).map_or("*", String::as_str);
            if other != layer && !may_name.contains(&other) {
                violations.push(format!("{path}:{line}: the layer {layer} must not name {name}"));
            }
        }
        for (reserved, owners) in RESERVED {
            let is_reserved = reserved.iter().any(|reserved| format!("{name}::").starts_with(&format!("{reserved}::")));
            if is_reserved && !owners.iter().any(|owner| *owner == layer || path.starts_with(owner)) {
                violations.push(format!("{path}:{line}: the layer {layer} must not name {name}: only {owners:?} may"));
            }
        }
    }
    violations
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of each Rust file in this folder, from the root of the project, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn layers_name_only_what_is_below_them() {
    let violations: Vec<_> = sources("src").iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_forbidden_name_is_found_however_it_is_written() {
    let found = |path: &str, source: &str| violations(path, source).join("\n");
    let domain = "src/domain/kinds/partial_refund.rs";
    for (source, name) in [
        ("use crate::{domain::Money, engine::{feed::{self, Feed as F}}};", "crate::engine::feed"),
        ("use crate::engine;", "crate::engine"),
        ("use dispute_service::engine::Feed;", "crate::engine::Feed"),
        ("use super::super::super::engine::Feed;", "crate::engine::Feed"),
        ("mod tests { use super::super::super::super::engine::*; }", "crate::engine::*"),
        ("use super::super::super::{self as root};", "crate"),
        ("use crate::*;", "crate::*"),
        ("fn f() -> u32 { 1 + crate::engine::start(2) }", "crate::engine::start"),
        ("fn f() { if let Some(crate::engine::Wake::<u8>::Now) = g() {} }", "crate::engine::Wake::Now"),
        ("fn f(x: Vec<crate::engine::Feed>) {}", "crate::engine::Feed"),
        ("fn f() { assert!(g(1, vec![crate::engine::Feed::<u8>::new()])); }", "crate::engine::Feed"),
        ("macro_rules! m { () => { use $crate::{domain::Money, engine::Feed}; } }", "crate::engine::Feed"),
        ("#[derive(Clone, prost::Message)] struct S;", "prost::Message"),
        ("#[tonic::async_trait] trait T {}", "tonic::async_trait"),
        ("extern crate tokio;", "tokio"),
        ("use std::{collections::{BTreeMap}, time::{Duration, SystemTime}};", "std::time::SystemTime"),
    ] {
        let line = format!("{domain}:1: the layer domain must not name {name}");
        assert!(found(domain, source).starts_with(&line), "{source}\n{}", found(domain, source));
    }
    for source in [
        "use crate::domain::{Money, order::Order}; use super::super::text; use std::time::Duration;",
        "//! Not the `crate::engine`.\n/// See [crate::engine::Feed]. /* tonic::Code */\nfn f() -> &'static str { \"tonic::Code\" }",
        "struct Code { engine: u32, tokio: u32 } fn f() { println!(\"{}\", Code { engine: tokio, tokio: 1 }); }",
    ] {
        assert_eq!(found(domain, source), "");
    }
    // Both kinds of rules bind each layer.
    assert_eq!(
        found("src/grpc/watch.rs", "use tonic::{\nCode,\nStatus};\nuse crate::server::run;"),
        "src/grpc/watch.rs:2: the layer grpc must not name tonic::Code: only [\"src/grpc/status.rs\", \"src/grpc/status\", \
         \"src/grpc/fuzzing.rs\", \"client\", \"ctl\"] may\nsrc/grpc/watch.rs:4: the layer grpc must not name crate::server::run"
    );
    assert_eq!(found("src/grpc/status.rs", "use tonic::{Code, Status};"), "");
    assert!(
        found("src/engine/feed.rs", "use sea_orm::DbErr;").contains("the layer engine must not name sea_orm::DbErr")
    );
    assert!(found("src/client/mod.rs", "use crate::domain::Money;").contains("the layer client must not name"));
    assert!(found("src/grpc/mod.rs", "use crate::repository::Row;").contains("the layer grpc must not name"));
}

#[test]
fn every_file_says_what_it_is_and_is_at_most_500_lines_long() {
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{path} does not say what it is");
            let lines = text.lines().count();
            assert!(lines <= 500, "{path} has {lines} lines");
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let model = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    assert!(model.lines().count() <= 180);
    let code: String = ["src", "tests"].iter().flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
    // Names of tests are sentences: nothing else in backquotes has so many underscores.
    let named: Vec<_> = model.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() >= 3).collect();
    assert!(named.len() > 50, "the model names its tests");
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
