//! Processes that a test stops, kills, freezes and starts again: replicas of the service, and a PostgreSQL of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::binary::Binary;
use super::{database, postgres};

/// A port that nobody else takes while its process is away: outside of those that the system hands out by itself.
pub fn fixed_port(rng: &mut Rng) -> u16 {
    loop {
        let port = rng.u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A process of the service that comes back at the same address.
pub struct Replica {
    pub address: String,
    arguments: Vec<String>,
    process: Option<Binary>,
    /// What its processes logged, but the one that runs.
    log: String,
}

impl Replica {
    /// One that is not started yet.
    pub fn new(address: String, database_url: &str, policy: &str) -> Self {
        let flags = [("--listen", &*address), ("--database-url", database_url), ("--policy", policy)];
        let arguments = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect();
        Self { address, arguments, process: None, log: String::new() }
    }

    /// Starts it, over and over while it cannot start: without its database it ends at once.
    pub fn start(&mut self) {
        for _ in 0..200 {
            match Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &self.arguments, "warn") {
                Ok(process) => {
                    self.process = Some(process);
                    return;
                }
                Err(log) => self.log.push_str(&log),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} does not start:\n{}", self.address, self.log);
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        let log = self.process.take().map(Binary::kill);
        self.log.push_str(&log.unwrap_or_default());
    }

    /// Asks it to drain, and waits for it. Answers whether it exited with 0.
    pub fn terminate(&mut self) -> bool {
        let (is_well, log) = self.process.take().map(Binary::terminate).unwrap_or_default();
        self.log.push_str(&log);
        is_well
    }

    /// Stands still until it is thawed.
    pub fn freeze(&self) {
        self.process.iter().for_each(|process| process.signal("STOP"));
    }

    pub fn thaw(&self) {
        self.process.iter().for_each(|process| process.signal("CONT"));
    }

    /// What its processes logged.
    pub fn log(&self) -> &str {
        &self.log
    }
}

/// A PostgreSQL that keeps what it acknowledged when it is stopped at any moment. Ends, and is removed, when dropped or
/// when this process ends.
pub struct Postgres {
    script: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// `postgres://user@host:port`, without a database.
    url: String,
}

/// Says where its folder is, then does what it is told, line by line, and says when it is done. Every commit takes 10 ms
/// longer than the disk, as it does with a standby to wait for: so replicas commit at the same time, and whoever can see
/// the later of two commits first will.
const CLUSTER: &str = r#"
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/dispute-faults-XXXXXX")
control() { "$PROGRAMS/pg_ctl" --silent -D "$folder/data" -w -t 120 "$@" >>"$folder/control" 2>&1; }
start() {
    options="-p $PORT -k $folder -c listen_addresses=127.0.0.1 -c fsync=on -c max_connections=100"
    control -l "$folder/log" -o "$options -c commit_delay=10000 -c commit_siblings=0" start
}
trap 'control -m immediate stop || true; rm -rf "$folder"' EXIT
"$PROGRAMS/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 >"$folder/init" 2>&1
start
echo "$folder"
while read -r order; do
    case $order in
        stop) control -m immediate stop ;;
        start) start ;;
    esac
    echo "$order: done"
done
"#;

impl Postgres {
    /// A running one, if there is one here that can be stopped.
    pub fn start_cluster(rng: &mut Rng) -> Option<Self> {
        let Some(programs) = postgres::programs() else {
            let is_required = std::env::var_os("REQUIRE_POSTGRES").is_some();
            let has_server = std::env::var_os("TEST_POSTGRES_URL").is_some();
            assert!(!is_required || has_server, "REQUIRE_POSTGRES is set, but there is no PostgreSQL");
            postgres::skip(
                "faults with PostgreSQL. No server binary was found, and a server that others use cannot be stopped.",
            );
            return None;
        };
        let port = fixed_port(rng);
        let mut script = postgres::run_script(CLUSTER, &programs, port);
        let mut answers = BufReader::new(script.stdout.take().unwrap());
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        assert!(folder.starts_with('/'), "the cluster did not start: {folder:?}");
        Some(Self {
            orders: script.stdin.take(),
            script,
            answers,
            folder: folder.trim_end().into(),
            url: format!("postgres://postgres@127.0.0.1:{port}"),
        })
    }

    /// The URL of the one database.
    pub fn database_url(&self) -> String {
        format!("{}/postgres", self.url)
    }

    /// Stops it as if the machine lost its power, but for what the disk holds.
    pub fn stop(&mut self) {
        self.tell("stop");
    }

    pub fn start(&mut self) {
        self.tell("start");
    }

    fn tell(&mut self, order: &str) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let said = || std::fs::read_to_string(self.folder.join("control")).unwrap_or_default();
        assert_eq!(answer.trim_end(), format!("{order}: done"), "{}", said());
    }

    /// Ends every `every`-th connection of the service.
    pub async fn cut(&self, every: u32) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name LIKE 'dispute-service%' AND pid % {every} = 0"
        );
        database::execute(&self.database_url(), &cut).await;
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.script.wait();
    }
}

/// Runs what blocks, on something that nobody else uses meanwhile.
pub async fn blocking<T: Send + 'static, R: Send + 'static>(
    held: tokio::sync::OwnedMutexGuard<T>,
    act: impl FnOnce(&mut T) -> R + Send + 'static,
) -> (tokio::sync::OwnedMutexGuard<T>, R) {
    let mut held = held;
    tokio::task::spawn_blocking(move || {
        let result = act(&mut held);
        (held, result)
    })
    .await
    .unwrap()
}

/// Something that faults happen to, one after the other.
pub type Shared<T> = Arc<tokio::sync::Mutex<T>>;
