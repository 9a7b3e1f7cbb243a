//! A PostgreSQL of a test's own, which it stops, starts and promotes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};

use fastrand::Rng;

use super::cluster::fixed_port;
use super::{database, postgres};

/// A PostgreSQL that keeps what it acknowledged when it is stopped at any moment. Ends, and is removed, when dropped or
/// when this process ends. What it is told blocks until it is done.
pub struct Postgres {
    script: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    port: u16,
}

/// Says where its folder is, then does what it is told, line by line, and says when it is done. Every commit takes 10 ms
/// longer than the disk, as it does with a standby to wait for: so replicas commit at the same time, and whoever can see
/// the later of two commits first will. A copy does without: it would first sync every file that it has, for seconds.
const SERVER: &str = r#"
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/dispute-server-XXXXXX")
fsync=on
control() { "$PROGRAMS/pg_ctl" --silent -D "$folder/data" -w -t 120 "$@" >>"$folder/control" 2>&1; }
start() {
    options="-p $PORT -k $folder -c listen_addresses=127.0.0.1 -c fsync=$fsync -c max_connections=100"
    control -l "$folder/log" -o "$options -c commit_delay=10000 -c commit_siblings=0" start
}
create() {
    "$PROGRAMS/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 --no-sync \
        >"$folder/control" 2>&1
}
copy() {
    rm -rf "$folder/data"
    "$PROGRAMS/pg_basebackup" --pgdata="$folder/data" --write-recovery-conf --checkpoint=fast --no-sync \
        --host=127.0.0.1 --port="$1" --username=postgres >>"$folder/control" 2>&1
    fsync=off
}
follow() {
    echo "primary_conninfo = 'host=127.0.0.1 port=$1 user=postgres'" >>"$folder/data/postgresql.auto.conf"
    touch "$folder/data/standby.signal"
}
receivers() {
    "$PROGRAMS/psql" -h 127.0.0.1 -p "$PORT" -U postgres -Atc "SELECT count(*) FROM pg_stat_wal_receiver"
}
disconnect() {
    echo "primary_conninfo = ''" >>"$folder/data/postgresql.auto.conf"
    control reload
    until [ "$(receivers)" = 0 ]; do sleep 0.01; done
}
trap 'control -m immediate stop || true; rm -rf "$folder"' EXIT
echo "$folder"
while read -r order port; do
    case $order in
        create) create; start ;;
        copy) copy "$port"; start ;;
        stop) control -m immediate stop ;;
        finish) control -m fast stop ;;
        start) start ;;
        follow) follow "$port"; start ;;
        disconnect) disconnect ;;
        promote) control promote ;;
    esac
    echo "$order: done"
done
"#;

impl Postgres {
    /// A running one, if there is one here that can be stopped.
    pub fn start_cluster(rng: &mut Rng) -> Option<Self> {
        let mut server = Self::prepare(rng)?;
        server.tell("create", None);
        Some(server)
    }

    /// A standby that follows this one.
    pub fn start_standby(&self, rng: &mut Rng) -> Self {
        let mut standby = Self::prepare(rng).unwrap();
        standby.copy(self);
        standby
    }

    fn prepare(rng: &mut Rng) -> Option<Self> {
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
        let mut script = postgres::run_script(SERVER, &programs, port);
        let mut answers = BufReader::new(script.stdout.take().unwrap());
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        assert!(folder.starts_with('/'), "the script did not start: {folder:?}");
        Some(Self { orders: script.stdin.take(), script, answers, folder: folder.trim_end().into(), port })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of the one database.
    pub fn database_url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }

    /// Stops it as if the machine lost its power, but for what the disk holds.
    pub fn stop(&mut self) {
        self.tell("stop", None);
    }

    /// Stops it well: what it has committed, its standby has, too.
    pub fn finish(&mut self) {
        self.tell("finish", None);
    }

    pub fn start(&mut self) {
        self.tell("start", None);
    }

    /// Begins again as a copy of another one, which it follows.
    pub fn copy(&mut self, primary: &Self) {
        self.tell("copy", Some(primary.port));
    }

    /// Starts, having finished, as the standby of the one that was promoted in its place.
    pub fn follow(&mut self, primary: &Self) {
        self.tell("follow", Some(primary.port));
    }

    /// A standby follows its primary no more: what that commits from now on, it does not have.
    pub fn disconnect(&mut self) {
        self.tell("disconnect", None);
    }

    /// A standby becomes a primary.
    pub fn promote(&mut self) {
        self.tell("promote", None);
    }

    fn tell(&mut self, order: &str, port: Option<u16>) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order} {}", port.map(|port| port.to_string()).unwrap_or_default()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let said = || std::fs::read_to_string(self.folder.join("control")).unwrap_or_default();
        assert_eq!(answer.trim_end(), format!("{order}: done"), "{}\n{}", said(), self.log());
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
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.script.wait();
    }
}
