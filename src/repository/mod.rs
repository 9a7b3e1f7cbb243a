//! What is kept, on SQLite or on PostgreSQL: the only room that knows SeaORM.
//!
//! - `connection`: how each database is opened.
//! - `migration`: the tables, `entity`: their rows, `rows` and `codes`: rows to domain values and back.
//! - `reader`: who reads, and when. `reads`: plain reads, `log`: those of the event log, `token_key`: what its tokens are sealed with. `lists`: queries with filters and pages, and the index behind each, `found`: what they find. `corrupt`: rows that make no sense. `transaction`: everything that is read under a lock, or written. `retention`: what is forgotten.
//! - `writing`: whether the database can be written, and how it is left. `files`: those of a SQLite database, `backup`: a copy of one.
//! - `notifier`: how replicas on one PostgreSQL wake each other.
//! - `batch`: many rows in statements whose text does not vary with their number.

mod backup;
mod batch;
mod codes;
mod connection;
mod corrupt;
mod entity;
mod error;
mod files;
mod found;
mod lists;
mod log;
mod migration;
mod notify;
mod reader;
mod reads;
mod retention;
mod rows;
mod token_key;
mod transaction;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use sea_orm::DbBackend;
use uuid::Uuid;

use self::files::DatabaseFiles;
use crate::domain::{
    Carried, Dispute, DisputeId, DisputeKind, EventId, EventType, Order, OrderId, Parties, RecordedEvent, Timestamp,
};

pub use backup::{BackupError, backup};
pub(crate) use connection::in_time;
pub use connection::{ConnectError, LEAST_CONNECTIONS, ReadClass};
use connection::{Pool, ReaderPermits};
pub use corrupt::corrupt_rows;
pub use error::StorageError;
pub use files::FileError;
pub use found::{Found, FoundDisputes, Row};
pub use lists::{DisputeQuery, OrderQuery, Side, Sort};
pub use log::{EventScan, FoundEvents};
pub use migration::SchemaError;
pub use notify::{Listener, Notifier};
pub use reader::Reader;
pub use retention::PrunedRequests;
pub use token_key::{LogId, TokenKey};
pub use transaction::{LockedAggregates, Times, Transaction};

/// The database, behind a pool for what is written, one for what callers read, and one for what the service itself reads.
#[derive(Debug)]
pub struct Repository {
    writer: Pool,
    readers: Pool,
    /// By whom and for what `readers` are used: there is a connection for each permit.
    permits: ReaderPermits,
    /// For the reads of the feed and of the deadlines.
    background: Pool,
    /// The files of a SQLite database.
    files: Option<Arc<DatabaseFiles>>,
    notifier: Option<Notifier>,
}

impl Repository {
    /// Whether several replicas can share this database, whose clock then decides.
    pub fn is_postgres(&self) -> bool {
        self.readers.backend() == DbBackend::Postgres
    }

    /// The notifier by which replicas notify each other; none on SQLite, where nobody else needs to be told, or if it was
    /// not wanted.
    pub fn notifier(&self) -> Option<Notifier> {
        self.notifier.clone()
    }

    /// Applies the schema, or finds it applied. Processes that start at once do not race.
    pub async fn migrate(&self) -> Result<(), SchemaError> {
        migration::apply(self.writer.connections()).await?;
        Ok(self.watch_files().await?)
    }
}

/// The event log as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// Which one it is.
    pub id: LogId,
    /// The number of the last event; 0 if there is none.
    pub last_seq: i64,
    /// The id of that event, which is always kept.
    pub last_event: Option<EventId>,
    /// The number of the last event that is no longer kept; 0 if all are.
    pub pruned_seq: i64,
    /// The id of that event.
    pub pruned_event: Option<EventId>,
}

/// An event as the log keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedEvent {
    /// Its number: 1, 2, 3 … in the order in which events were committed.
    pub seq: i64,
    /// Its id.
    pub id: EventId,
    /// The dispute that it happened to.
    pub dispute: DisputeId,
    /// The order of that dispute.
    pub order: OrderId,
    /// The parties, who may see it.
    pub parties: Parties,
    /// The dispute's kind.
    pub kind: Carried<DisputeKind>,
    /// What happened.
    pub event_type: Carried<EventType>,
    /// What everybody who may see it gets to see, encoded.
    pub payload: Bytes,
}

/// An event that the log shall keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvent {
    id: EventId,
    dispute: DisputeId,
    order: OrderId,
    parties: Parties,
    kind: DisputeKind,
    event_type: EventType,
    time: Timestamp,
    payload: Vec<u8>,
}

impl NewEvent {
    /// An event with its public payload.
    pub fn new(id: EventId, recorded: &RecordedEvent, payload: Vec<u8>) -> Self {
        let dispute = &recorded.dispute;
        Self {
            id,
            dispute: dispute.id,
            order: dispute.order.clone(),
            parties: dispute.parties.clone(),
            kind: dispute.kind(),
            event_type: recorded.event_type,
            time: recorded.time,
            payload,
        }
    }
}

/// What is remembered of a request, so that it has one effect however often it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyRecord {
    /// The caller and the request id, digested.
    pub key: Uuid,
    /// The RPC and its fields, digested.
    pub fingerprint: Uuid,
    /// The dispute that came of it.
    pub dispute: DisputeId,
    /// When.
    pub create_time: Timestamp,
}

/// What a batch writes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Changes {
    /// Orders that are not stored yet.
    pub new_orders: Vec<Order>,
    /// Orders that are stored, and locked.
    pub changed_orders: Vec<Order>,
    /// Disputes that are not stored yet.
    pub new_disputes: Vec<Dispute>,
    /// Disputes that are stored.
    pub changed_disputes: Vec<Dispute>,
    /// Requests to remember.
    pub idempotency: Vec<IdempotencyRecord>,
    /// What happened, in order.
    pub events: Vec<NewEvent>,
}

/// An instant at which something is to be done about a pending dispute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// When its response window closes, or its responder is to be reminded.
    pub time: Timestamp,
    /// The dispute.
    pub dispute: DisputeId,
    /// Its order.
    pub order: OrderId,
}

#[cfg(test)]
mod tests;
