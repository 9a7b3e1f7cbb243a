//! A start that cannot succeed says why, in a sentence.

use super::*;
use crate::support::binary::run;
use crate::support::database;

/// What the program says when it cannot start on `url`: a sentence, never only a code.
fn refusal(url: &str) -> String {
    refusal_of(PROGRAM, &["--listen", "127.0.0.1:0", "--database-url", url])
}

fn refusal_of(program: &str, arguments: &[&str]) -> String {
    let (is_well, said) = run(program, arguments);
    assert!(!is_well, "it started: {said}");
    let said = said.strip_prefix("dispute-service: ").unwrap_or_else(|| panic!("{said}"));
    assert!(!said.contains("(code") && !said.contains("error code"), "{said}");
    said.to_owned()
}

/// Each of `words` is in what the program says.
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{said:?} does not say {word:?}");
    }
}

#[test]
fn what_is_no_database_of_ours_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::write(path("letter"), "Dear reader, this is a letter and by no means a database.".repeat(100)).unwrap();
    says(&refusal(&format!("sqlite://{}?mode=rwc", path("folder"))), &[&path("folder"), "is a directory"]);
    says(&refusal(&format!("sqlite://{}?mode=rwc", path("no/way"))), &[&path("no"), "does not exist"]);
    says(&refusal(&format!("sqlite://{}?mode=rwc", path("letter/a"))), &[&path("letter/a"), "is not a directory"]);
    says(&refusal(&format!("sqlite://{}", path("new"))), &[&path("new"), "does not exist", "mode=rwc"]);
    says(&refusal(&format!("sqlite://{}?mode=rwc", path("letter"))), &[&path("letter"), "is not a SQLite database"]);
    says(&refusal("sqlite:///dev/null"), &["/dev/null", "is not a regular file"]);
    for url in ["sqlite://?mode=rwc", "sqlite::memory:", "disputes.db"] {
        says(&refusal(url), &["--database-url", "DISPUTES_DATABASE_URL", "must"]);
    }
    assert_eq!(names(folder.path()), ["folder", "letter"], "nothing is made, and nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_of_somebody_else_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    database::execute(&url(folder.path()), "CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT)").await;
    says(&refusal(&url(folder.path())), &["table orders", "another"]);
    assert_eq!(
        database::number(&url(folder.path()), "SELECT count(*) FROM sqlite_schema WHERE type = 'table'").await,
        1
    );
}

#[test]
fn a_database_that_is_only_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(PROGRAM, &["migrate", "--database-url", &url(folder.path())]).0);
    says(&refusal(&url(folder.path()).replace("mode=rwc", "mode=ro")), &["mode=ro", "cannot be written"]);
    says(&refusal(&url(folder.path()).replace("mode=rwc", "immutable=true")), &["immutable", "cannot be written"]);
}

#[test]
fn files_and_folders_that_cannot_be_written_are_refused_at_the_start() {
    if !is_root() || !Path::new("/usr/bin/setpriv").exists() {
        return skip("files and folders that cannot be written: only root can become somebody who may not.");
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    // Where nobody else may go, its program cannot be run.
    let program = folder.path().join("dispute-service");
    std::fs::copy(PROGRAM, &program).unwrap();
    let as_nobody = |url: &str| {
        let program = program.display().to_string();
        let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups", &program, "--listen", "127.0.0.1:0"];
        refusal_of("setpriv", &[&arguments[..], &["--database-url", url]].concat())
    };
    let made = |name: &str, folder_mode: u32, file_mode: u32, owner: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir(&place).unwrap();
        assert!(run(PROGRAM, &["migrate", "--database-url", &url(&place)]).0);
        set_mode(&place.join("disputes.db"), file_mode);
        set_mode(&place, folder_mode);
        assert!(Command::new("chown").arg(owner).arg(place.join("disputes.db")).status().unwrap().success());
        place
    };
    let file = made("file", 0o777, 0o444, "root");
    says(&as_nobody(&url(&file)), &["disputes.db", "cannot be written", "Permission denied"]);
    let secret = made("secret", 0o777, 0o600, "root");
    says(&as_nobody(&url(&secret)), &["disputes.db", "Permission denied"]);
    let around = made("around", 0o555, 0o600, "nobody");
    says(&as_nobody(&url(&around)), &["around", "cannot be written"]);
    // A start long ago, by somebody else, has left files that only that one can write.
    let beside = made("beside", 0o777, 0o600, "nobody");
    for name in ["disputes.db-wal", "disputes.db-shm"] {
        std::fs::write(beside.join(name), "").unwrap();
        set_mode(&beside.join(name), 0o400);
    }
    says(&as_nobody(&url(&beside)), &["beside", "cannot be written"]);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    says(&as_nobody(&url(&empty)), &["disputes.db", "cannot be created", "Permission denied"]);
}

#[test]
fn a_file_system_that_is_read_only_or_full_is_named() {
    let Some(disk) = Tmpfs::new(2_048) else { return };
    assert!(run(PROGRAM, &["migrate", "--database-url", &url(disk.path())]).0);
    let remount = |how: &str| {
        let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(disk.path()).status();
        assert!(status.unwrap().success());
    };
    remount("ro");
    says(&refusal(&url(disk.path())), &["disputes.db", "cannot be written", "Read-only file system"]);
    remount("rw");
    // Full, for a database that is there and for one that is not.
    let filler = disk.fill();
    says(&refusal(&url(disk.path())), &["disk", "full"]);
    says(&refusal(&format!("sqlite://{}?mode=rwc", disk.path().join("new.db").display())), &["disk", "full"]);
    std::fs::remove_file(filler).unwrap();
    stop(Binary::start(PROGRAM, &url(disk.path()), "info"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_process_has_locked_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let other = database::open(&url).await;
    let sql = |sql: &'static str| sea_orm::ConnectionTrait::execute_unprepared(&other, sql);
    sql("PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE a (b INTEGER); BEGIN EXCLUSIVE").await.unwrap();
    let said = tokio::task::spawn_blocking(move || refusal(&url)).await.unwrap();
    says(&said, &["disputes.db", "locked by another process"]);
    sql("COMMIT").await.unwrap();
}
