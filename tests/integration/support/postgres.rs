//! PostgreSQL for the tests: the server at `TEST_POSTGRES_URL`, or a throwaway cluster of our own. Each test
//! gets a database of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::database;
use super::launcher::{Cluster, Options, programs};

/// A server on which databases can be created.
struct Server {
    /// `postgres://user@host:port`, without a database.
    url: String,
    /// Our own cluster ends when this process does.
    _cluster: Option<Cluster>,
}

static SERVER: OnceLock<Option<Server>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database; `None` if there is no PostgreSQL here.
pub async fn new_database() -> Option<String> {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap().as_ref()?;
    let name = format!("test_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    database::execute(&format!("{}/postgres", server.url), &format!("CREATE DATABASE {name}")).await;
    Some(format!("{}/{name}", server.url))
}

/// The version of the server, as a number: 15.4 is 150,004.
pub async fn version(url: &str) -> i64 {
    database::number(url, "SELECT current_setting('server_version_num')::bigint").await
}

/// No autovacuum: what the planner knows of an empty table must not be repaired behind our back. It sorts texts as a
/// language does, as many clusters in production, where the server can.
const USUAL: Options<'_> = Options {
    port: 0,
    folder: None,
    initdb: "--no-sync",
    initdb_if_known: "--locale-provider=icu --icu-locale=en-US",
    prepare: "",
    sql: "",
    settings: &["fsync=off", "autovacuum=off", "max_connections=400", "shared_buffers=64MB"],
};

fn start() -> Option<Server> {
    if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
        let (server, _) = url
            .rsplit_once('/')
            .filter(|(server, _)| server.contains("//") && !server.ends_with('/'))
            .unwrap_or((&url, ""));
        return Some(Server { url: server.to_owned(), _cluster: None });
    }
    let Some(cluster) = Cluster::start(&USUAL) else {
        skip_unless_required(
            "the PostgreSQL half of the tests. No server binary was found and TEST_POSTGRES_URL is not set.",
        );
        return None;
    };
    Some(Server { url: format!("postgres://postgres@127.0.0.1:{}", cluster.port()), _cluster: Some(cluster) })
}

/// Says that something was not tested, past the test harness, which shows nothing of tests that pass.
pub fn skip(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {what} ***\n");
}

/// The same where PostgreSQL is what is missing; fails if `REQUIRE_POSTGRES` is set.
fn skip_unless_required(what: &str) {
    assert!(std::env::var_os("REQUIRE_POSTGRES").is_none(), "REQUIRE_POSTGRES is set, but there is no PostgreSQL");
    skip(what);
}

/// The folder with the programs of PostgreSQL, these ones among them; without them says that `what` is skipped. A server
/// that others use comes without programs, and those of `TEST_POSTGRES_BIN` can be the server's alone.
pub fn programs_for(what: &str, needed: &[&str]) -> Option<PathBuf> {
    let programs = programs();
    let is_missing = |program: &&&str| programs.as_ref().is_none_or(|folder| !folder.join(program).exists());
    let Some(missing) = needed.iter().find(is_missing) else { return programs };
    let what = format!("{what}: there is no {missing}");
    match ["TEST_POSTGRES_URL", "TEST_POSTGRES_BIN"].iter().any(|chosen| std::env::var_os(chosen).is_some()) {
        true => skip(&what),
        false => skip_unless_required(&what),
    }
    None
}
