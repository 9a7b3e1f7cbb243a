//! A throwaway PostgreSQL that keeps its promises: every commit is on disk. And the databases in it.

use std::sync::Arc;

use dispute_service_test_features::rusqlite::types::Value;
use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, Row as _};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::launcher::{Cluster, Options};
use super::rows::{Rows, Template, int};
use super::scale::quick;
use super::seed::Seed;
use super::server::Server;
use super::table::Table;

/// Checkpoints are rare, so that they do not fall into the turn of one side; everything else that matters is as it comes.
const SETTINGS: [&str; 6] = [
    "fsync=on",
    "synchronous_commit=on",
    "max_connections=200",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "log_lock_waits=on",
];

/// With `--quick` nothing waits for the disk: most of the time would go into databases that are made and dropped.
const UNSYNCED: [&str; 6] = {
    let mut settings = SETTINGS;
    settings[0] = "fsync=off";
    settings
};

/// The databases in it.
const DATABASES: [&str; 3] = ["one", "two", "three"];

/// What the scenarios share with `--quick`: starting one takes longer than most of them.
static SHARED: Mutex<Option<Arc<Cluster>>> = Mutex::const_new(None);

/// One with three empty databases, `one`, `two` and `three`; `None`, with a message, if there is no PostgreSQL here, unless
/// `REQUIRE_POSTGRES` is set. Each scenario has one of its own, but for `--quick`.
pub(crate) async fn start(scenario: &'static str, table: &mut Table) -> Option<Arc<Cluster>> {
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = &*shared {
        renew(cluster).await;
        return Some(cluster.clone());
    }
    let sql = DATABASES.map(|name| format!("CREATE DATABASE {name};")).join("\n");
    let (initdb, settings) = if quick() { ("--no-sync", UNSYNCED) } else { ("", SETTINGS) };
    let options = Options { initdb, sql: &sql, settings: &settings, ..Options::default() };
    let cluster = Cluster::start(&options).map(Arc::new);
    if cluster.is_none() {
        let is_required = std::env::var_os("REQUIRE_POSTGRES").is_some_and(|value| !value.is_empty());
        assert!(!is_required, "{scenario} needs PostgreSQL, and there is none here");
        table.skip(scenario, "there is no PostgreSQL here");
    } else if quick() {
        shared.clone_from(&cluster);
    }
    cluster
}

/// Ends the one that was shared.
pub(crate) async fn stop() {
    *SHARED.lock().await = None;
}

/// Empties the databases.
async fn renew(cluster: &Cluster) {
    let connection = &mut connect(&cluster.url("postgres")).await;
    for name in DATABASES {
        execute(connection, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        execute(connection, &format!("CREATE DATABASE {name}")).await;
    }
}

/// How PostgreSQL stores a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Small,
    Big,
    Bool,
    Text,
    Uuid,
    Bytes,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "smallint",
            Self::Big => "bigint",
            Self::Bool => "boolean",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Bytes => "bytea",
        }
    }

    fn of(name: &str) -> Self {
        let kinds = [Self::Small, Self::Big, Self::Bool, Self::Text, Self::Uuid, Self::Bytes];
        kinds.into_iter().find(|kind| kind.name() == name).unwrap_or_else(|| panic!("no column is a {name}"))
    }

    /// The value in the text form of COPY.
    pub(crate) fn text(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Null) => "\\N".to_owned(),
            (Self::Bool, Value::Integer(is)) => if *is == 0 { "f" } else { "t" }.to_owned(),
            (_, Value::Integer(number)) => number.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (Self::Uuid, Value::Blob(bytes)) => uuid(bytes).to_string(),
            (_, Value::Blob(bytes)) => {
                let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
                let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
                "\\\\x".chars().chain(digits).collect()
            }
            (_, Value::Real(_)) => panic!("there are no fractions"),
        }
    }
}

pub(crate) fn uuid(bytes: &[u8]) -> Uuid {
    Uuid::from_slice(bytes).expect("an id has 16 bytes")
}

/// A connection to a database.
pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("PostgreSQL listens")
}

/// Runs statements.
pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// One number.
pub(crate) async fn count(connection: &mut PgConnection, sql: &str) -> usize {
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await;
    let number: i64 = row.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0);
    usize::try_from(number).expect("not negative")
}

/// Lets the service make its tables in a new database.
pub(crate) fn migrate(url: &str) {
    Server::start(url).stop();
}

/// How the columns of a template are stored.
pub(crate) async fn kinds(connection: &mut PgConnection, template: &Template) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for column in &template.columns {
        let sql = format!(
            "SELECT data_type::text FROM information_schema.columns WHERE table_name = '{}' AND column_name = '{column}'",
            template.table
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql.as_str())).fetch_one(&mut *connection).await.expect("a column");
        kinds.push(Kind::of(row.get(0)));
    }
    kinds
}

/// Fills the tables of a new database. The indexes are made afterwards, each at once.
pub(crate) async fn fill(url: &str, rows: &Rows, seed: Seed) {
    migrate(url);
    let started = std::time::Instant::now();
    let mut connection = connect(url).await;
    // References are not checked row by row.
    execute(&mut connection, "SET session_replication_role = replica; SET synchronous_commit = off").await;
    let indexes = "SELECT indexname::text, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' AND tablename IN ('orders', 'disputes', 'events')";
    let indexes = sqlx::raw_sql(indexes).fetch_all(&mut connection).await.expect("a catalogue");
    for index in &indexes {
        execute(&mut connection, &format!("DROP INDEX {}", index.get::<String, _>(0))).await;
    }
    copy(&mut connection, &rows.order, (0..seed.orders).map(|number| rows.order(number))).await;
    copy(&mut connection, &rows.dispute, (0..seed.disputes).map(|number| seed.dispute(rows, number))).await;
    copy(&mut connection, &rows.event, (0..seed.disputes).map(|number| rows.opening(number, int(number) + 1))).await;
    for index in &indexes {
        execute(&mut connection, index.get(1)).await;
    }
    execute(&mut connection, &format!("UPDATE event_log SET head = {}", seed.disputes)).await;
    // As it is in a database that grew by and by.
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        execute(&mut connection, statement).await;
    }
    println!("made {} disputes in {:.1} s", seed.disputes, started.elapsed().as_secs_f64());
}

async fn copy(connection: &mut PgConnection, template: &Template, rows: impl Iterator<Item = Vec<Value>>) {
    let kinds = kinds(connection, template).await;
    let statement = format!("COPY {} ({}) FROM STDIN", template.table, template.columns.join(", "));
    let mut copy = connection.copy_in_raw(&statement).await.expect("the table is there");
    let mut text = String::new();
    for row in rows {
        let fields: Vec<String> = kinds.iter().zip(&row).map(|(kind, value)| kind.text(value)).collect();
        text.push_str(&fields.join("\t"));
        text.push('\n');
        if text.len() > 1 << 20 {
            copy.send(text.as_bytes()).await.expect("it is taken");
            text.clear();
        }
    }
    copy.send(text.as_bytes()).await.expect("it is taken");
    copy.finish().await.expect("the rows are there");
}

/// Processor time of all processes of the server so far, in seconds.
pub(crate) fn cpu(cluster: &Cluster) -> f64 {
    let port = cluster.port().to_string();
    let processes: Vec<String> = std::fs::read_dir("/proc")
        .expect("there are processes")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.rsplit('/').next().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())))
        .collect();
    let read = |path: &String, file: &str| std::fs::read_to_string(format!("{path}/{file}")).unwrap_or_default();
    let is_first = |path: &&String| {
        let line = read(path, "cmdline");
        let words: Vec<&str> = line.split('\0').collect();
        words[0].ends_with("/postgres") && words.windows(2).any(|pair| pair == ["-p", port.as_str()])
    };
    let first = processes.iter().find(is_first).expect("the server runs");
    let first = first.rsplit('/').next().expect("a number");
    let fields = |path: &String| -> Vec<f64> {
        let stat = read(path, "stat");
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split_whitespace().skip(1).map(|field| field.parse().unwrap_or_default()).collect()
    };
    let parent: f64 = first.parse().expect("a number");
    let mut ticks = 0.0;
    for path in &processes {
        // The parent's, and from the 14th field of all on utime, stime, and those of children that have ended.
        if let [found, _, _, _, _, _, _, _, _, _, user, system, of_ended @ ..] = &fields(path)[..]
            && (*found == parent || path.ends_with(&format!("/{first}")))
        {
            ticks += user + system + of_ended.iter().take(2).sum::<f64>();
        }
    }
    ticks * 0.01
}
