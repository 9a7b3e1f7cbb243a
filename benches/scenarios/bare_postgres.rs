//! The first limit of PostgreSQL: the rows that the service writes, in transactions of the same size, by prepared statements that
//! each take all rows of a table as arrays, on one connection.

use std::ops::Range;
use std::time::Instant;

use dispute_service_test_features::rusqlite::types::Value;
use sea_orm::sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{self, AssertSqlSafe};
use uuid::Uuid;

use super::postgres::{Kind, connect, execute, kinds, uuid};
use super::rows::{Rows, Template, dispute_id, int};

pub(crate) struct BarePostgres {
    connection: PgConnection,
    rows: &'static Rows,
    dispute: Target,
    key: Target,
    event: Target,
    expiry: String,
}

/// A table, and the statement that inserts into it.
struct Target {
    kinds: Vec<Kind>,
    insert: String,
}

/// The values of one column.
enum Column {
    Small(Vec<Option<i16>>),
    Big(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Uuid(Vec<Option<Uuid>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Target {
    async fn of(connection: &mut PgConnection, template: &Template) -> Self {
        let kinds = kinds(connection, template).await;
        let arrays: Vec<String> =
            (1..).zip(&kinds).map(|(number, kind)| format!("${number}::{}[]", kind.name())).collect();
        let (table, columns) = (template.table, template.columns.join(", "));
        let insert = format!("INSERT INTO {table} ({columns}) SELECT * FROM unnest({})", arrays.join(", "));
        Self { kinds, insert }
    }

    fn columns(&self, rows: &[Vec<Value>]) -> Vec<Column> {
        let column = |(index, kind): (usize, &Kind)| Column::of(*kind, rows.iter().map(|row| &row[index]));
        self.kinds.iter().enumerate().map(column).collect()
    }
}

impl Column {
    fn of<'a>(kind: Kind, values: impl Iterator<Item = &'a Value>) -> Self {
        let number = |value: &Value| match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        };
        let bytes = |value: &Value| match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        };
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let small = |value: &Value| number(value).map(|number| i16::try_from(number).expect("a small number"));
        match kind {
            Kind::Small => Self::Small(values.map(small).collect()),
            Kind::Big => Self::Big(values.map(number).collect()),
            Kind::Bool => Self::Bool(values.map(|value| number(value).map(|number| number != 0)).collect()),
            Kind::Text => Self::Text(values.map(text).collect()),
            Kind::Uuid => Self::Uuid(values.map(|value| bytes(value).map(|bytes| uuid(&bytes))).collect()),
            Kind::Bytes => Self::Bytes(values.map(bytes).collect()),
        }
    }

    fn bound<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        match self {
            Self::Small(values) => query.bind(values),
            Self::Big(values) => query.bind(values),
            Self::Bool(values) => query.bind(values),
            Self::Text(values) => query.bind(values),
            Self::Uuid(values) => query.bind(values),
            Self::Bytes(values) => query.bind(values),
        }
    }
}

impl BarePostgres {
    /// On a database that has its tables.
    pub(crate) async fn on(url: &str, rows: &'static Rows) -> Self {
        let mut connection = connect(url).await;
        let dispute = Target::of(&mut connection, &rows.dispute).await;
        let key = Target::of(&mut connection, &rows.key).await;
        let event = Target::of(&mut connection, &rows.event).await;
        let sets = rows.changes_of_expiry().into_iter().map(|(column, value)| {
            let index = rows.dispute.columns.iter().position(|name| name == column).expect("it is one of them");
            let kind = dispute.kinds[index];
            format!("{column} = {}", literal(kind, &value))
        });
        let expiry = sets.collect::<Vec<_>>().join(", ");
        let expiry = format!("UPDATE disputes SET {expiry} WHERE dispute_id = ANY($1::uuid[])");
        Self { connection, rows, dispute, key, event, expiry }
    }

    /// Writes the orders with these numbers.
    pub(crate) async fn orders(&mut self, numbers: Range<usize>) {
        let target = Target::of(&mut self.connection, &self.rows.order).await;
        for batch in numbers.collect::<Vec<_>>().chunks(500) {
            let rows: Vec<_> = batch.iter().map(|number| self.rows.order(*number)).collect();
            run(&mut self.connection, &target.insert, &target.columns(&rows)).await;
        }
    }

    /// Opens the disputes with these numbers. Returns how many seconds that took.
    pub(crate) async fn open(&mut self, numbers: Range<usize>, batch: usize) -> f64 {
        let numbers: Vec<usize> = numbers.collect();
        let rows = self.rows;
        let all = |target: &Target, numbers: &[usize], row: &dyn Fn(usize) -> Vec<Value>| {
            target.columns(&numbers.iter().map(|number| row(*number)).collect::<Vec<_>>())
        };
        let columns = |numbers: &[usize]| {
            let dispute = |number| rows.dispute(number, rows.time(number) + 2 * 86_400_000_000);
            let dispute = all(&self.dispute, numbers, &dispute);
            let key = all(&self.key, numbers, &|number| rows.key(number));
            (dispute, key, all(&self.event, numbers, &|number| rows.opening(number, int(number) + 1)), numbers.len())
        };
        let batches: Vec<_> = numbers.chunks(batch).map(columns).collect();
        let started = Instant::now();
        for (dispute, key, event, count) in &batches {
            execute(&mut self.connection, "BEGIN").await;
            run(&mut self.connection, &self.dispute.insert, dispute).await;
            run(&mut self.connection, &self.key.insert, key).await;
            self.advance(*count).await;
            run(&mut self.connection, &self.event.insert, event).await;
            execute(&mut self.connection, "COMMIT").await;
        }
        started.elapsed().as_secs_f64()
    }

    /// Expires the disputes with these numbers; the log has so many events so far.
    pub(crate) async fn expire(&mut self, numbers: Range<usize>, batch: usize, events: usize) -> f64 {
        let numbers: Vec<usize> = numbers.collect();
        let columns = |numbers: &[usize]| {
            let rows = numbers.iter().map(|number| self.rows.expiry(*number, int(events + number) + 1));
            let ids = numbers.iter().map(|number| Some(dispute_id(*number))).collect();
            (Column::Uuid(ids), self.event.columns(&rows.collect::<Vec<_>>()), numbers.len())
        };
        let batches: Vec<_> = numbers.chunks(batch).map(columns).collect();
        let started = Instant::now();
        for (ids, event, count) in &batches {
            execute(&mut self.connection, "BEGIN").await;
            run(&mut self.connection, &self.expiry, std::slice::from_ref(ids)).await;
            self.advance(*count).await;
            run(&mut self.connection, &self.event.insert, event).await;
            execute(&mut self.connection, "COMMIT").await;
        }
        started.elapsed().as_secs_f64()
    }

    async fn advance(&mut self, events: usize) {
        let advanced = sqlx::query("UPDATE event_log SET head = head + $1").bind(int(events));
        advanced.execute(&mut self.connection).await.expect("the log is advanced");
    }
}

/// Runs a statement that takes these arrays. It is prepared once.
async fn run(connection: &mut PgConnection, sql: &str, columns: &[Column]) {
    let query = columns.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, column| column.bound(query));
    query.execute(connection).await.expect("the rows are written");
}

/// A value as a statement has it.
pub(crate) fn literal(kind: Kind, value: &Value) -> String {
    match value {
        Value::Null => format!("NULL::{}", kind.name()),
        value => format!("'{}'::{}", kind.text(value).replace("\\\\x", "\\x"), kind.name()),
    }
}
