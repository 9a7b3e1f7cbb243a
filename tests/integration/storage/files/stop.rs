//! A service that has stopped is one file, and nobody but its owner reads it.

use super::*;
use crate::support::binary::run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_service_is_one_file_and_a_copy_of_it_is_whole() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("disputes.db");
    let (server, channel) = serve(folder.path()).await;
    let before = open_many(&channel, "before", 20).await;
    // A stream that stays open, and a read that is never taken, do not keep the file open.
    let watch = Party::new(channel.clone(), "shop", Some("platform")).watch(from_beginning()).await;
    stop(server);
    drop(watch);
    assert_eq!(names(folder.path()), ["disputes.db"]);
    std::fs::copy(&file, other.path().join("disputes.db")).unwrap();
    assert_eq!(disputes_in(other.path()).await, before);

    // What came later is undone by the copy, and does not come back.
    let (server, channel) = serve(folder.path()).await;
    open_many(&channel, "after", 20).await;
    stop(server);
    std::fs::copy(other.path().join("disputes.db"), &file).unwrap();
    assert_eq!(disputes_in(folder.path()).await, before);
    assert_eq!(names(folder.path()), ["disputes.db"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_migrates_or_fails_to_start_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    assert_eq!(run(PROGRAM, &["migrate", "--database-url", &url]), (true, String::new()));
    assert_eq!(names(folder.path()), ["disputes.db"]);
    // Another process has the address.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (is_well, said) = run(PROGRAM, &["--listen", &address, "--database-url", &url]);
    assert!(!is_well && said.starts_with("dispute-service: "), "{said}");
    assert_eq!(names(folder.path()), ["disputes.db"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_for_their_owner_alone_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let script = "umask 000; exec \"$0\" \"$@\"";
    let arguments = ["-c", script, PROGRAM, "--listen", "127.0.0.1:0", "--database-url", &url(folder.path())];
    let server = Binary::launch("sh", &arguments.map(str::to_owned), "info").unwrap();
    open(&connect(&server).await, "o1").await.unwrap();
    for name in ["disputes.db", "disputes.db-wal", "disputes.db-shm"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    stop(server);
    // Who gave a file another mode had a reason.
    set_mode(&folder.path().join("disputes.db"), 0o640);
    let (server, channel) = serve(folder.path()).await;
    open(&channel, "o2").await.unwrap();
    assert_eq!(mode(&folder.path().join("disputes.db")), 0o640);
    stop(server);
    assert_eq!(mode(&folder.path().join("disputes.db")), 0o640);
}
