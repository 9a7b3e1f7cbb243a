//! SQLite databases with as many disputes as a scenario needs, made of copied rows. Each is made once, and kept until the end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dispute_service_test_features::rusqlite::types::Value;
use dispute_service_test_features::rusqlite::{Connection, Statement};
use tokio::sync::Mutex;

use super::rows::{self, Rows, Template, int};

/// What is in a database. Each order up to the number of disputes has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seed {
    pub(crate) orders: usize,
    pub(crate) disputes: usize,
    pub(crate) deadlines: Deadlines,
    /// One of so many disputes is pending, the others have expired.
    pub(crate) pending_of: usize,
}

/// When the disputes have to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Deadlines {
    /// Tomorrow.
    Far,
    /// Before now.
    Past,
    /// One a millisecond from this instant on, in microseconds.
    From(i64),
}

impl Seed {
    /// So many pending disputes.
    pub(crate) fn pending(disputes: usize) -> Self {
        Self { orders: disputes, disputes, deadlines: Deadlines::Far, pending_of: 1 }
    }

    pub(crate) fn respond_by(&self, rows: &Rows, number: usize) -> i64 {
        match self.deadlines {
            Deadlines::Far => rows.time(number) + 2 * 86_400_000_000,
            Deadlines::Past => rows.time(number) + 3_600_000_000,
            Deadlines::From(first) => first + int(number) * 1_000,
        }
    }

    pub(crate) fn dispute(&self, rows: &Rows, number: usize) -> Vec<Value> {
        let respond_by = self.respond_by(rows, number);
        if number.is_multiple_of(self.pending_of) {
            rows.dispute(number, respond_by)
        } else {
            rows.expired(number, respond_by)
        }
    }
}

/// The files so far, in the folder that is theirs.
static FILES: Mutex<Option<(PathBuf, HashMap<Seed, PathBuf>)>> = Mutex::const_new(None);

/// Where they are kept.
pub(crate) async fn keep_in(folder: &Path) {
    *FILES.lock().await = Some((folder.to_owned(), HashMap::new()));
}

/// The file of a database with this in it. Whoever changes it takes a copy.
pub(crate) async fn file(seed: Seed) -> PathBuf {
    let rows = rows::rows().await;
    let mut files = FILES.lock().await;
    let (folder, files) = files.as_mut().expect("there is a folder");
    if let Some(file) = files.get(&seed) {
        return file.clone();
    }
    let file = folder.join(format!("seed-{}.db", files.len()));
    let started = Instant::now();
    tokio::task::block_in_place(|| make(rows, seed, &file));
    println!("made {} disputes in {:.1} s", seed.disputes, started.elapsed().as_secs_f64());
    files.insert(seed, file.clone());
    file
}

/// Makes one that is not kept.
pub(crate) async fn make_at(seed: Seed, file: &Path) {
    let rows = rows::rows().await;
    tokio::task::block_in_place(|| make(rows, seed, file));
}

/// A copy of it.
pub(crate) async fn copy(seed: Seed, to: &Path) {
    std::fs::copy(file(seed).await, to).expect("there is room for a copy");
}

/// Fills a new database. The indexes are made afterwards, each at once.
fn make(rows: &Rows, seed: Seed, file: &Path) {
    std::fs::write(file, &rows.empty).expect("there is room");
    let connection = rows::open(file);
    let execute = |sql: &str| connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA temp_store = 2");
    let indexes = indexes(&connection);
    for (name, _) in &indexes {
        execute(&format!("DROP INDEX {name}"));
    }
    execute("BEGIN");
    {
        let prepare = |template: &Template| connection.prepare(&insertion(template, 1)).expect("a statement");
        let [mut orders, mut disputes, mut events] = [&rows.order, &rows.dispute, &rows.event].map(prepare);
        for number in 0..seed.orders {
            insert(&mut orders, &[rows.order(number)]);
        }
        for number in 0..seed.disputes {
            insert(&mut disputes, &[seed.dispute(rows, number)]);
            insert(&mut events, &[rows.opening(number, int(number) + 1)]);
        }
    }
    execute(&format!("UPDATE event_log SET head = {}; COMMIT", seed.disputes));
    for (_, sql) in &indexes {
        execute(sql);
    }
    connection.close().expect("it is done");
    // Whoever measures next does not pay for this.
    let all = std::fs::File::open(file).and_then(|file| file.sync_all());
    all.expect("it is on disk");
}

/// The indexes that are not part of their tables.
fn indexes(connection: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql).expect("a statement");
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a schema");
    found.map(|index| index.expect("an index")).collect()
}

/// A statement that inserts so many rows.
pub(crate) fn insertion(template: &Template, rows: usize) -> String {
    let row = format!("({})", vec!["?"; template.columns.len()].join(", "));
    let columns = template.columns.join(", ");
    format!("INSERT INTO {} ({columns}) VALUES {}", template.table, vec![row.as_str(); rows].join(", "))
}

/// Runs it with these rows.
pub(crate) fn insert(statement: &mut Statement<'_>, rows: &[Vec<Value>]) {
    for (index, value) in rows.iter().flatten().enumerate() {
        statement.raw_bind_parameter(index + 1, value).expect("a value");
    }
    statement.raw_execute().expect("the rows are inserted");
}
