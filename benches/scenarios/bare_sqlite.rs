//! The limit of SQLite: the rows that the service writes, written by prepared statements on one connection in one thread, with the
//! service's settings and batches of the same size. Statements for many rows are the fastest way: one for each row takes a tenth
//! more, and one that takes its rows as JSON a third.

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use dispute_service_test_features::rusqlite::Connection;
use dispute_service_test_features::rusqlite::types::Value;

use super::cpu;
use super::rows::{self, Rows, Template, dispute_id, int};
use super::seed::{insert, insertion};

pub(crate) struct BareSqlite {
    connection: Connection,
    rows: &'static Rows,
}

/// What a round took, in seconds.
pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) cpu: f64,
}

impl BareSqlite {
    /// On a copy of the empty database.
    pub(crate) fn new(file: &Path, rows: &'static Rows) -> Self {
        std::fs::write(file, &rows.empty).expect("there is room");
        Self::on(file, rows)
    }

    /// On this file.
    pub(crate) fn on(file: &Path, rows: &'static Rows) -> Self {
        let connection = rows::open(file);
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
            PRAGMA cache_size = -65536";
        connection.execute_batch(settings).expect("settings");
        connection.set_prepared_statement_cache_capacity(64);
        Self { connection, rows }
    }

    /// Writes the orders with these numbers.
    pub(crate) fn orders(&mut self, numbers: Range<usize>) {
        self.in_batches(
            500,
            &numbers.map(|number| vec![self.rows.order(number)]).collect::<Vec<_>>(),
            |bare, batch| {
                bare.insert(&bare.rows.order, batch, 0);
            },
        );
    }

    /// Opens the disputes with these numbers.
    pub(crate) fn open(&mut self, numbers: Range<usize>, batch: usize) -> Took {
        let rows = self.rows;
        let of = |number| {
            let dispute = rows.dispute(number, rows.time(number) + 2 * 86_400_000_000);
            vec![dispute, rows.key(number), rows.opening(number, int(number) + 1)]
        };
        let commands: Vec<_> = numbers.map(of).collect();
        self.in_batches(batch, &commands, |bare, batch| {
            bare.insert(&rows.dispute, batch, 0);
            bare.insert(&rows.key, batch, 1);
            bare.advance(batch.len());
            bare.insert(&rows.event, batch, 2);
        })
    }

    /// Expires the disputes with these numbers; the log has so many events so far.
    pub(crate) fn expire(&mut self, numbers: Range<usize>, batch: usize, events: usize) -> Took {
        let rows = self.rows;
        let (sets, changed): (Vec<String>, Vec<Value>) =
            rows.changes_of_expiry().into_iter().map(|(column, value)| (format!("{column} = ?"), value)).unzip();
        let update = format!("UPDATE disputes SET {} WHERE dispute_id = ?", sets.join(", "));
        let of = |number: usize| {
            let mut bound = changed.clone();
            bound.push(Value::Blob(dispute_id(number).as_bytes().to_vec()));
            vec![bound, rows.expiry(number, int(events + number) + 1)]
        };
        let commands: Vec<_> = numbers.map(of).collect();
        self.in_batches(batch, &commands, |bare, batch| {
            let mut statement = bare.connection.prepare_cached(&update).expect("a statement");
            batch.iter().for_each(|command| insert(&mut statement, &command[..1]));
            bare.advance(batch.len());
            bare.insert(&rows.expiry, batch, 1);
        })
    }

    /// Each batch in a transaction of its own.
    fn in_batches(&self, size: usize, commands: &[Vec<Vec<Value>>], write: impl Fn(&Self, &[Vec<Vec<Value>>])) -> Took {
        let (started, cpu) = (Instant::now(), cpu::of_this_thread());
        for batch in commands.chunks(size) {
            self.run("BEGIN IMMEDIATE");
            write(self, batch);
            self.run("COMMIT");
        }
        Took { seconds: started.elapsed().as_secs_f64(), cpu: cpu::of_this_thread() - cpu }
    }

    fn run(&self, sql: &str) {
        self.connection.prepare_cached(sql).expect("a statement").execute([]).expect("it is done");
    }

    fn advance(&self, events: usize) {
        let mut statement =
            self.connection.prepare_cached("UPDATE event_log SET head = head + ?").expect("a statement");
        statement.execute([int(events)]).expect("the log is advanced");
    }

    /// Inserts the row with this index of each command.
    fn insert(&self, template: &Template, commands: &[Vec<Vec<Value>>], index: usize) {
        let sql = insertion(template, commands.len());
        let mut statement = self.connection.prepare_cached(&sql).expect("a statement");
        let values = commands.iter().flat_map(|command| &command[index]);
        for (index, value) in values.enumerate() {
            statement.raw_bind_parameter(index + 1, value).expect("a value");
        }
        statement.raw_execute().expect("the rows are inserted");
    }
}
