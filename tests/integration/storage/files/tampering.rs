//! Files that somebody takes away, puts elsewhere or writes over while the service runs: it acknowledges nothing into
//! them, and ends.

use std::fs;
use std::time::Duration;

use super::*;
use crate::support::database;
use crate::support::health::Health;

/// The process is gone after this: it notices within a second, and drains.
const ENDED: Duration = Duration::from_secs(10);

/// What is left of `before`, which was acknowledged when the files were still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// All of it.
    Everything,
    /// The copy that was put in place, which has the first half of it.
    TheCopy,
    /// Nothing can be: what had it was destroyed.
    Nothing,
    /// Nothing, until the operator puts the copy in place.
    ToBeRestored,
}

/// Does something to the files of a service that runs. `idle`: nobody asks it for anything meanwhile. `moved` is where the
/// database is afterwards.
async fn tampered(what: impl Fn(&Path, &Path), idle: bool, left: Left, moved: &str) {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, channel) = serve(folder.path()).await;
    let mut before = open_many(&channel, "first", 10).await;
    let half = before.clone();
    stop(server);
    let copy = elsewhere.path().join("copy.db");
    fs::copy(folder.path().join("disputes.db"), &copy).unwrap();
    let (server, channel) = serve(folder.path()).await;
    before.extend(open_many(&channel, "second", 10).await);
    let mut health = Health::of(channel.clone()).await;
    assert!(health.is_serving());

    what(&folder.path().join("disputes.db"), &copy);
    if !idle {
        // From now on nothing is acknowledged: not even the first command that comes.
        let platform = Party::new(channel.clone(), "shop", Some("platform"));
        let request = dispute_service::proto::v1::UpsertOrderRequest { order: Some(order("lost")) };
        let refused = { platform.orders }.upsert_order(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    }
    health.turns_not_serving_or_ends().await;
    let (is_well, log) = server.ends(ENDED).await.expect("it ends by itself");
    let last = log.lines().last().unwrap_or_default();
    assert!(!is_well, "{log}");
    assert!(last.starts_with("dispute-service: ") && last.contains("disputes.db"), "{log}");

    let expected = match left {
        Left::Everything => before,
        Left::TheCopy => half,
        Left::Nothing => return assert!(!folder.path().join("disputes.db").exists()),
        Left::ToBeRestored => {
            fs::copy(&copy, folder.path().join("disputes.db")).unwrap();
            half
        }
    };
    let there = folder.path().join(moved);
    if moved != "disputes.db" {
        fs::create_dir(folder.path().join("there")).unwrap();
        fs::rename(&there, folder.path().join("there/disputes.db")).unwrap();
        return assert_eq!(disputes_in(&folder.path().join("there")).await, expected);
    }
    assert_eq!(disputes_in(folder.path()).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_may_do_with_the_database_does_not_end_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let (server, channel) = serve(folder.path()).await;
    let other = database::open(&url(folder.path())).await;
    let mut opened = Vec::new();
    let statements = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "ANALYZE", "PRAGMA wal_checkpoint(RESTART)"];
    for (round, sql) in (0..30).zip(statements.into_iter().cycle()) {
        // One at a time: who repeats them without a pause keeps the writer waiting for longer than a command may.
        let name = format!("o{round}-");
        let maintenance = sea_orm::ConnectionTrait::execute_unprepared(&other, sql);
        let (few, _it_may_find_the_service_at_work) = tokio::join!(open_many(&channel, &name, 5), maintenance);
        opened.extend(few);
    }
    other.close().await.unwrap();
    set_mode(&folder.path().join("disputes.db"), 0o640);
    open(&channel, "another").await.unwrap();
    stop(server);
    assert_eq!(names(folder.path()), ["disputes.db"]);
    assert_eq!(disputes_in(folder.path()).await[..150], opened);
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_files_are_removed() {
    let remove_all = |file: &Path, _: &Path| {
        for suffix in ["", "-wal", "-shm"] {
            fs::remove_file(beside(file, suffix)).unwrap();
        }
    };
    tampered(remove_all, false, Left::Nothing, "disputes.db").await;
    tampered(remove_all, true, Left::Nothing, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_removed() {
    let remove = |file: &Path, _: &Path| fs::remove_file(file).unwrap();
    tampered(remove, false, Left::Nothing, "disputes.db").await;
    tampered(remove, true, Left::Nothing, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_moved_and_is_whole_where_it_is() {
    let rename = |file: &Path, _: &Path| fs::rename(file, file.with_file_name("moved.db")).unwrap();
    tampered(rename, false, Left::Everything, "moved.db").await;
    tampered(rename, true, Left::Everything, "moved.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_renamed_over_the_database_and_is_not_undone() {
    let replace = |file: &Path, copy: &Path| {
        let new = file.with_file_name("new.db");
        fs::copy(copy, &new).unwrap();
        fs::rename(&new, file).unwrap();
    };
    tampered(replace, false, Left::TheCopy, "disputes.db").await;
    tampered(replace, true, Left::TheCopy, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_written_over_the_database_and_is_not_undone() {
    let overwrite = |file: &Path, copy: &Path| assert!(fs::copy(copy, file).unwrap() > 0);
    tampered(overwrite, false, Left::TheCopy, "disputes.db").await;
    tampered(overwrite, true, Left::TheCopy, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_is_written_over_it_however_much_that_was_changed() {
    let overwrite = |file: &Path, copy: &Path| {
        let mut another = fs::read(copy).unwrap();
        // How often it was changed, twice, and the number that tells it from others.
        for (offset, number) in [(24, 1_000_000_u32), (92, 1_000_000), (60, 7)] {
            another[offset..offset + 4].copy_from_slice(&number.to_be_bytes());
        }
        fs::write(file, another).unwrap();
    };
    tampered(overwrite, false, Left::TheCopy, "disputes.db").await;
    tampered(overwrite, true, Left::TheCopy, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_is_truncated_and_no_hole_is_moved_into_the_database() {
    let truncate = |length: u64| {
        move |file: &Path, _: &Path| {
            let log = fs::OpenOptions::new().write(true).open(beside(file, "-wal")).unwrap();
            log.set_len(length).unwrap();
        }
    };
    // What was in it is lost: the database is as the first run left it.
    tampered(truncate(0), false, Left::TheCopy, "disputes.db").await;
    tampered(truncate(8_192), true, Left::TheCopy, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_truncated() {
    let truncate = |length: u64| {
        move |file: &Path, _: &Path| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap()
    };
    tampered(truncate(0), false, Left::ToBeRestored, "disputes.db").await;
    tampered(truncate(8_192), true, Left::ToBeRestored, "disputes.db").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_is_removed_and_nothing_is_lost() {
    for suffix in ["-wal", "-shm"] {
        let remove = |file: &Path, _: &Path| fs::remove_file(beside(file, suffix)).unwrap();
        tampered(remove, false, Left::Everything, "disputes.db").await;
        tampered(remove, true, Left::Everything, "disputes.db").await;
    }
}
