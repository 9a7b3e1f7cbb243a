//! Rows as the service writes them: taken from a database in which it opened a dispute and let one expire, and copied with other
//! ids and times. The limits write them without the service, and databases with a million disputes are made of them.

use std::path::Path;
use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service_test_features::rusqlite::types::Value;
use dispute_service_test_features::rusqlite::{Connection, Row};
use prost::Message as _;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::load::{Load, buyers, party};
use super::server::Server;

/// A row of one table.
#[derive(Clone)]
pub(crate) struct Template {
    pub(crate) table: &'static str,
    pub(crate) columns: Vec<String>,
    row: Vec<Value>,
}

/// The rows of an opened dispute.
pub(crate) struct Rows {
    pub(crate) order: Template,
    pub(crate) dispute: Template,
    pub(crate) event: Template,
    pub(crate) key: Template,
    /// The dispute's row once it has expired, and the event of that.
    pub(crate) expired: Template,
    pub(crate) expiry: Template,
    opened_payload: v1::DisputeEvent,
    expired_payload: v1::DisputeEvent,
    /// When the first dispute was opened, in microseconds.
    first_time: i64,
    /// A database file without orders.
    pub(crate) empty: Vec<u8>,
}

static ROWS: OnceCell<Rows> = OnceCell::const_new();

/// The rows that this version of the service writes.
pub(crate) async fn rows() -> &'static Rows {
    ROWS.get_or_init(Rows::of_the_service).await
}

/// The id of the dispute with this number. As those that the service mints, later ones are greater.
pub(crate) fn dispute_id(number: usize) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | number as u128)
}

/// The id of the event that opened it.
pub(crate) fn event_id(number: usize) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_9000_0000_0000_0000 | number as u128)
}

/// The id of the event with which it expired.
fn expiry_id(number: usize) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_a000_0000_0000_0000 | number as u128)
}

pub(crate) fn int(number: usize) -> i64 {
    i64::try_from(number).expect("not so many")
}

fn blob(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

impl Template {
    fn read(connection: &Connection, table: &'static str, sql: &str) -> Self {
        let mut statement = connection.prepare(sql).expect("the schema has it");
        let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let read = |row: &Row<'_>| (0..columns.len()).map(|index| row.get(index)).collect();
        let row = statement.query_row([], read).expect("there is a row");
        Self { table, columns, row }
    }

    /// A copy with other values in some columns.
    fn with(&self, changes: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<Value> {
        let mut row = self.row.clone();
        for (column, value) in changes {
            row[self.index(column)] = value;
        }
        row
    }

    fn integer(&self, column: &str) -> i64 {
        match self.row[self.index(column)] {
            Value::Integer(integer) => integer,
            _ => panic!("{column} is no number"),
        }
    }

    fn index(&self, column: &str) -> usize {
        self.columns.iter().position(|name| name == column).unwrap_or_else(|| panic!("there is no column {column}"))
    }

    fn payload(&self) -> v1::DisputeEvent {
        let Value::Blob(payload) = &self.row[self.index("payload")] else { panic!("a payload is a blob") };
        v1::DisputeEvent::decode(payload.as_slice()).expect("a payload is an event")
    }
}

impl Rows {
    async fn of_the_service() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("rows.db");
        Server::on_file(&file).stop();
        let empty = std::fs::read(&file).expect("a database");
        let server = Server::on_file(&file);
        Load::on(&[server.address()], 1, 1).await.round(2).await;
        server.stop();
        let connection = open(&file);
        // As if it had been opened so long ago.
        let overdue = "UPDATE disputes SET respond_by = create_time + 1000000, remind_at = NULL, reminders_sent = 2
            WHERE order_id = 'order-1'";
        assert_eq!(connection.execute(overdue, []).expect("it is a dispute"), 1);
        drop(connection);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let server = Server::on_file(&file);
        let connection = open(&file);
        for _ in 0..1_000 {
            if count(&connection, "SELECT head FROM event_log") == 3 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.stop();
        let read = |table, of: &str| Template::read(&connection, table, &format!("SELECT * FROM {table} WHERE {of}"));
        let (event, expiry) = (read("events", "order_id = 'order-0'"), read("events", "seq = 3"));
        let dispute = read("disputes", "order_id = 'order-0'");
        Self {
            order: read("orders", "order_id = 'order-0'"),
            key: read("idempotency_keys", "dispute_id = (SELECT dispute_id FROM events WHERE seq = 1)"),
            first_time: dispute.integer("create_time"),
            dispute,
            expired: read("disputes", "order_id = 'order-1'"),
            opened_payload: event.payload(),
            expired_payload: expiry.payload(),
            event,
            expiry,
            empty,
        }
    }

    /// When the dispute with this number was opened: all within two seconds, yesterday.
    pub(crate) fn time(&self, number: usize) -> i64 {
        self.first_time - 86_400_000_000 + int(number)
    }

    pub(crate) fn order(&self, number: usize) -> Vec<Value> {
        let [buyer, seller] = parties(number);
        self.order.with([
            ("order_id", Value::Text(order_id(number))),
            ("buyer_id", Value::Text(buyer)),
            ("seller_id", Value::Text(seller)),
            ("create_time", Value::Integer(self.time(number))),
        ])
    }

    /// A pending dispute, to be answered by this instant.
    pub(crate) fn dispute(&self, number: usize, respond_by: i64) -> Vec<Value> {
        self.dispute_of(&self.dispute, number, respond_by)
    }

    /// One that has expired.
    pub(crate) fn expired(&self, number: usize, respond_by: i64) -> Vec<Value> {
        self.dispute_of(&self.expired, number, respond_by)
    }

    fn dispute_of(&self, template: &Template, number: usize, respond_by: i64) -> Vec<Value> {
        let ([buyer, seller], time) = (parties(number), Value::Integer(self.time(number)));
        // Reminders of what is due soon were sent.
        // Another build of the program may not have it.
        let has_order_time = template.columns.iter().any(|column| column == "order_create_time");
        let order_time = has_order_time.then(|| ("order_create_time", time.clone()));
        let reminders = (respond_by < self.first_time + 86_400_000_000)
            .then_some([("remind_at", Value::Null), ("reminders_sent", Value::Integer(2))]);
        let ids = [
            ("dispute_id", blob(dispute_id(number))),
            ("order_id", Value::Text(order_id(number))),
            ("buyer_id", Value::Text(buyer)),
            ("seller_id", Value::Text(seller)),
            ("create_time", time.clone()),
            ("update_time", time),
            ("respond_by", Value::Integer(respond_by)),
        ];
        template.with(ids.into_iter().chain(order_time).chain(reminders.into_iter().flatten()))
    }

    /// The event with which it was opened.
    pub(crate) fn opening(&self, number: usize, seq: i64) -> Vec<Value> {
        self.event_of(&self.event, &self.opened_payload, event_id(number), number, seq)
    }

    /// The event with which it expired.
    pub(crate) fn expiry(&self, number: usize, seq: i64) -> Vec<Value> {
        self.event_of(&self.expiry, &self.expired_payload, expiry_id(number), number, seq)
    }

    fn event_of(&self, of: &Template, payload: &v1::DisputeEvent, id: Uuid, number: usize, seq: i64) -> Vec<Value> {
        let [buyer, seller] = parties(number);
        let (mut payload, order_id, dispute) = (payload.clone(), order_id(number), dispute_id(number));
        payload.event_id = id.to_string();
        let shown = payload.dispute.as_mut().expect("an event has its dispute");
        shown.dispute_id = dispute.to_string();
        shown.order_id.clone_from(&order_id);
        shown.buyer_id.clone_from(&buyer);
        shown.seller_id.clone_from(&seller);
        of.with([
            ("seq", Value::Integer(seq)),
            ("event_id", blob(id)),
            ("dispute_id", blob(dispute)),
            ("order_id", Value::Text(order_id)),
            ("buyer_id", Value::Text(buyer)),
            ("seller_id", Value::Text(seller)),
            ("event_time", Value::Integer(self.time(number))),
            ("payload", Value::Blob(payload.encode_to_vec())),
        ])
    }

    /// The record of the request: by a key without any order, as digests are.
    pub(crate) fn key(&self, number: usize) -> Vec<Value> {
        let mixed = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.key.with([
            ("key", blob(Uuid::from_u128(mixed))),
            ("fingerprint", blob(Uuid::from_u128(!mixed))),
            ("dispute_id", blob(dispute_id(number))),
            ("create_time", Value::Integer(self.time(number))),
        ])
    }

    /// What an expiry changes in a dispute's row: each column with its new value.
    pub(crate) fn changes_of_expiry(&self) -> Vec<(&str, Value)> {
        let own = [
            "dispute_id",
            "order_id",
            "buyer_id",
            "seller_id",
            "create_time",
            "respond_by",
            "reminders_sent",
            "order_create_time",
        ];
        let pairs = self.dispute.row.iter().zip(&self.expired.row).zip(&self.dispute.columns);
        let changed = pairs.filter(|((before, after), column)| before != after && !own.contains(&column.as_str()));
        changed.map(|((_, after), column)| (column.as_str(), after.clone())).collect()
    }
}

fn order_id(number: usize) -> String {
    format!("order-{number}")
}

fn parties(number: usize) -> [String; 2] {
    let pair = number % buyers() * 2;
    [party(pair), party(pair + 1)]
}

/// Opens a database to look into it.
pub(crate) fn open(file: &Path) -> Connection {
    let connection = Connection::open(file).expect("a database");
    connection.busy_timeout(Duration::from_secs(10)).expect("a time");
    connection
}

/// One number out of a database.
pub(crate) fn count(connection: &Connection, sql: &str) -> usize {
    let number: i64 = connection.query_row(sql, [], |row| row.get(0)).expect("a number");
    usize::try_from(number).expect("not negative")
}
