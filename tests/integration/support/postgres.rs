//! PostgreSQL for the tests: the server at `TEST_POSTGRES_URL`, or a throwaway cluster of our own. Each test
//! gets a database of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::database;

/// A server on which databases can be created.
struct Server {
    /// `postgres://user@host:port`, without a database.
    url: String,
    /// Our own cluster ends, and is removed, when this process does: it reads our end of a pipe.
    _cluster: Option<Child>,
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

fn start() -> Option<Server> {
    if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
        let (server, _) = url
            .rsplit_once('/')
            .filter(|(server, _)| server.contains("//") && !server.ends_with('/'))
            .unwrap_or((&url, ""));
        return Some(Server { url: server.to_owned(), _cluster: None });
    }
    let Some(programs) = programs() else {
        assert!(std::env::var_os("REQUIRE_POSTGRES").is_none(), "REQUIRE_POSTGRES is set, but there is no PostgreSQL");
        skip("the PostgreSQL half of the tests. No server binary was found and TEST_POSTGRES_URL is not set.");
        return None;
    };
    Some(start_cluster(&programs))
}

/// Says that something was not tested, past the test harness, which shows nothing of tests that pass.
pub fn skip(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {what} ***\n");
}

/// The newest installed server's programs.
pub fn programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| {
            let version = version.ok()?;
            let programs = version.path().join("bin");
            let number = version.file_name().to_str()?.parse().ok()?;
            programs.join("initdb").exists().then_some((number, programs))
        })
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, programs)| programs);
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
    })
}

/// Runs a cluster until its standard input ends. No autovacuum: what the planner knows of an empty table
/// must not be repaired behind our back. It sorts texts as a language does, as many clusters in production,
/// where the server can.
const CLUSTER: &str = r#"
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/dispute-tests-XXXXXX")
trap 'rm -rf "$folder"' EXIT
init() { "$PROGRAMS/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 --no-sync "$@" >"$folder/log" 2>&1; }
init --locale-provider=icu --icu-locale=en-US || init
"$PROGRAMS/postgres" -D "$folder/data" -p "$PORT" -k "$folder" -c listen_addresses=127.0.0.1 -c fsync=off \
    -c autovacuum=off -c max_connections=400 -c shared_buffers=64MB >>"$folder/log" 2>&1 </dev/null &
server=$!
tries=0
until "$PROGRAMS/pg_isready" -q -h 127.0.0.1 -p "$PORT"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then cat "$folder/log"; exit 1; fi
    sleep 0.1
done
echo ready
cat >/dev/null || true
kill -QUIT "$server"
wait "$server" || true
"#;

fn start_cluster(programs: &std::path::Path) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut cluster = run_script(CLUSTER, programs, port);
    let mut said = String::new();
    BufReader::new(cluster.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n", "the throwaway PostgreSQL cluster did not start");
    Server { url: format!("postgres://postgres@127.0.0.1:{port}"), _cluster: Some(cluster) }
}

/// Runs a script that runs a cluster with these programs on this port, and that ends when its standard input does.
pub fn run_script(script: &str, programs: &std::path::Path, port: u16) -> Child {
    // PostgreSQL refuses to run as root.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
    if is_root {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command
        .args(["-c", script])
        .current_dir("/")
        .env("PROGRAMS", programs)
        .env("PORT", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
