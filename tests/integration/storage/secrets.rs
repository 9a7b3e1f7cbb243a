//! What others on the machine, or on the way, could find out: files, the URL of the database, a server that is not verified.

use std::fs;
use std::path::Path;

use crate::support::binary::{Binary, run};
use crate::support::postgres;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dispute-service");

fn arguments(arguments: &[&str]) -> Vec<String> {
    ["--listen", "127.0.0.1:0"].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
}

/// A file that holds a URL, and a newline as editors add it.
fn file_with(folder: &Path, url: &str) -> String {
    let file = folder.join("url");
    fs::write(&file, format!("{url}\n")).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_process_makes_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(PROGRAM, &url, "info");
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    assert!(status.lines().any(|line| line.split_whitespace().eq(["Umask:", "0077"])), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_of_the_database_can_be_in_a_file_whatever_the_program_does() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("disputes.db");
    let mut urls = vec![format!("sqlite://{}?mode=rwc", database.display())];
    urls.extend(postgres::new_database().await);
    for url in urls {
        let file = file_with(folder.path(), &url);
        let (is_well, said) = run(PROGRAM, &["migrate", "--database-url-file", &file]);
        assert!(is_well, "{said}");
        let by_flag = (arguments(&["--database-url-file", &file]), vec![]);
        let by_variable = (arguments(&[]), vec![("DISPUTES_DATABASE_URL_FILE", file.as_str())]);
        for (arguments, environment) in [by_flag, by_variable] {
            let server = Binary::launch_with(PROGRAM, &arguments, &environment).unwrap();
            let (is_well, log) = server.terminate();
            assert!(is_well, "{log}");
        }
    }
    assert!(database.exists());
    let file = file_with(folder.path(), &format!("sqlite://{}", database.display()));
    let copy = folder.path().join("copy.db");
    let (is_well, said) = run(PROGRAM, &["backup", &copy.display().to_string(), "--database-url-file", &file]);
    assert!(is_well && copy.exists(), "{said}");
}

#[test]
fn a_file_that_holds_no_url_is_an_error_that_names_it_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let says = |file: &str, expected: &str| {
        for action in ["serve", "migrate"] {
            let (is_well, said) = run(PROGRAM, &[action, "--listen", "127.0.0.1:0", "--database-url-file", file]);
            assert!(!is_well && said.contains(expected) && !said.contains("secret"), "{said}");
            assert!(said.contains("--database-url-file") && said.contains("DISPUTES_DATABASE_URL_FILE"), "{said}");
        }
    };
    says(&file_with(folder.path(), ""), "is empty");
    says(&file_with(folder.path(), "postgres://u:secret@h/d\nsecret"), "holds more than one line");
    says(&file_with(folder.path(), "mysql://u:secret@h/d"), "must begin with sqlite:// or postgres://");
    says(&folder.path().join("none").display().to_string(), "cannot be read: No such file or directory");
}

#[test]
fn a_url_and_a_file_with_one_are_an_error_that_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_with(folder.path(), "postgres://u:secret@h/d");
    let url = "postgres://u:secret@h/d";
    let flags = (vec!["--database-url-file", &file, "--database-url", url], vec![]);
    let variable = (vec!["--database-url-file", &file], vec![("DISPUTES_DATABASE_URL", url)]);
    let file_variable = (vec!["--database-url", url], vec![("DISPUTES_DATABASE_URL_FILE", file.as_str())]);
    let both = [("DISPUTES_DATABASE_URL", url), ("DISPUTES_DATABASE_URL_FILE", &file)];
    let variables = (vec![], both.to_vec());
    // Variables that need each other are not to blame.
    let pair = [("DISPUTES_TLS_CERT", "server.pem"), ("DISPUTES_TLS_KEY", "server.key")];
    let beside_a_pair = (vec![], [both, pair].concat());
    for (flags, environment) in [flags, variable, file_variable, variables, beside_a_pair] {
        let said = Binary::launch_with(PROGRAM, &arguments(&flags), &environment).map(|_| ()).unwrap_err();
        assert!(said.contains("--database-url <URL>") || said.contains("--database-url,"), "{said}");
        assert!(said.contains("--database-url-file") && !said.contains("secret"), "{said}");
        for (variable, _) in environment {
            assert_eq!(said.contains(variable), variable.starts_with("DISPUTES_DATABASE"), "{said}");
        }
    }
    // A variable that is empty is unset.
    let file = file_with(folder.path(), &format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display()));
    let arguments = arguments(&["--database-url-file", &file]);
    let server = Binary::launch_with(PROGRAM, &arguments, &[("DISPUTES_DATABASE_URL", "")]).unwrap();
    assert!(server.terminate().0);
}

#[test]
fn a_remote_postgresql_that_is_not_verified_is_warned_of() {
    for (mode, is_warned_of) in [("", true), ("?sslmode=require", true), ("?sslmode=verify-full", false)] {
        // A name that nobody has.
        let url = format!("postgres://ann:secret@db.invalid/disputes{mode}");
        let said = Binary::launch(PROGRAM, &arguments(&["--database-url", &url]), "warn").map(|_| ()).unwrap_err();
        assert_eq!(said.matches("sslmode=verify-full").count(), usize::from(is_warned_of), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
