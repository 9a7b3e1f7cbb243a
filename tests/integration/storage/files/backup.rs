//! `dispute-service backup FILE`: a copy of the database as it was at one moment, while it is served.

use std::collections::BTreeSet;

use dispute_service::proto::v1;
use dispute_service::proto::v1::list_dispute_events_request::Start;

use super::*;
use crate::support::binary::run;
use crate::support::{callers, database};

fn backup(url: &str, file: &Path) -> (bool, String) {
    run(PROGRAM, &["backup", &file.display().to_string(), "--database-url", url])
}

/// The events after a token, or why there are none.
async fn after(channel: &Channel, token: &str) -> Result<usize, String> {
    let start = Some(Start::ResumeToken(token.to_owned()));
    let request = v1::ListDisputeEventsRequest { start, page_size: 500, ..Default::default() };
    let answer = Party::new(channel.clone(), "shop", Some("platform")).disputes.list_dispute_events(request).await;
    answer.map(|page| page.into_inner().events.len()).map_err(|status| callers::facts(&status).reason)
}

async fn token(channel: &Channel) -> String {
    Party::new(channel.clone(), "shop", Some("platform")).watch(v1::WatchDisputesRequest::default()).await.token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_whole_and_its_tokens_are_good_up_to_it() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, channel) = serve(folder.path()).await;
    let before = open_many(&channel, "before", 30).await;
    let early = token(&channel).await;
    let load = tokio::spawn({
        let channel = channel.clone();
        async move { open_many(&channel, "during", 60).await }
    });
    let file = other.path().join("disputes.db");
    let done = tokio::task::spawn_blocking({
        let (url, file) = (url(folder.path()), file.clone());
        move || backup(&url, &file)
    });
    assert_eq!(done.await.unwrap(), (true, String::new()));
    let during = load.await.unwrap();
    let late = token(&channel).await;
    stop(server);

    assert_eq!(names(other.path()), ["disputes.db"]);
    assert_eq!(mode(&file), 0o600);
    let copied = disputes_in(other.path()).await;
    assert!(copied.starts_with(&before));
    let all: Vec<_> = before.iter().chain(&during).cloned().collect();
    assert!(all.starts_with(&copied), "what is copied is how it was at one moment");
    let integrity = database::row(&url(other.path()), "PRAGMA integrity_check").await;
    assert_eq!(integrity.try_get_by_index::<String>(0).unwrap(), "ok");

    let (server, channel) = serve(other.path()).await;
    assert_eq!(after(&channel, &early).await, Ok(copied.len() - before.len()));
    if copied.len() < all.len() {
        assert_eq!(after(&channel, &late).await, Err("RESUME_TOKEN_UNKNOWN".to_owned()));
    }
    open(&channel, "new").await.unwrap();
    let late = after(&channel, &late).await;
    assert!(late == Err("RESUME_TOKEN_UNKNOWN".to_owned()) || copied.len() == all.len(), "{late:?}");
    stop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_needs_no_service_and_has_what_a_killed_one_left() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, channel) = serve(folder.path()).await;
    let opened = open_many(&channel, "o", 10).await;
    server.kill();
    let file = other.path().join("disputes.db");
    assert_eq!(backup(&url(folder.path()), &file), (true, String::new()));
    assert_eq!(names(folder.path()), ["disputes.db"], "who is the last to close a database puts it in order");
    assert_eq!(disputes_in(other.path()).await, opened);
    assert_eq!(disputes_in(folder.path()).await, opened);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_interrupted_leaves_nothing_anywhere() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(run(PROGRAM, &["migrate", "--database-url", &url(folder.path())]).0);
    let source = database::open(&url(folder.path())).await;
    let much = "CREATE TABLE much AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        SELECT i, randomblob(900) AS bytes FROM n";
    sea_orm::ConnectionTrait::execute_unprepared(&source, much).await.unwrap();
    source.close().await.unwrap();
    for signal in ["INT", "TERM"] {
        let backup = Command::new(PROGRAM)
            .args(["backup", &other.path().join("copy.db").display().to_string()])
            .args(["--database-url", &url(folder.path())])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..5_000 {
            if !names(other.path()).is_empty() {
                break;
            }
            dispute_service::clock::pause(std::time::Duration::from_millis(1)).await;
        }
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &backup.id().to_string()]).status().unwrap().success()
        );
        let ended = backup.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && said.contains("interrupted before the copy was complete"), "{said}");
        assert!(names(other.path()).is_empty(), "{:?}", names(other.path()));
        assert_eq!(names(folder.path()), ["disputes.db"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_made_says_why_and_leaves_nothing() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(run(PROGRAM, &["migrate", "--database-url", &url(folder.path())]).0);
    let refused = |url: &str, file: &Path, words: &[&str]| {
        let before: BTreeSet<_> = names(other.path()).into_iter().collect();
        let (is_well, said) = backup(url, file);
        assert!(!is_well && said.starts_with("dispute-service: "), "{said}");
        for word in words {
            assert!(said.contains(word), "{said:?} does not say {word:?}");
        }
        assert_eq!(names(other.path()).into_iter().collect::<BTreeSet<_>>(), before);
    };
    let there = other.path().join("there");
    std::fs::write(&there, "precious").unwrap();
    refused(&url(folder.path()), &there, &["there", "exists"]);
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
    refused(&url(folder.path()), &other.path().join("no/way"), &["no", "does not exist"]);
    refused(&url(folder.path()), &folder.path().join("disputes.db"), &["exists"]);
    refused(&url(other.path()), &other.path().join("copy"), &["disputes.db", "does not exist"]);
    refused("postgres://localhost/disputes", &other.path().join("copy"), &["pg_dump", "pg_basebackup"]);
    if let Some(disk) = Tmpfs::new(64) {
        refused(&url(folder.path()), &disk.path().join("copy"), &["full"]);
        assert!(names(disk.path()).is_empty());
    }
    // Nor is the database made, or changed, that is to be copied.
    assert_eq!(names(folder.path()), ["disputes.db"]);
}
