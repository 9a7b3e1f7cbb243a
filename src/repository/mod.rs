//! Storage on SQLite or PostgreSQL: the only layer that knows SeaORM.
//!
//! - `connection`: how each database is opened.
//! - `migration`: the tables, `entity`: their rows, `rows`: rows to domain values and back.
//! - `reader`: which caller reads when. `reads`: plain reads, `one_dispute`: the most frequent one (`gathered` on PostgreSQL, its rows: `columns`), `log`: reads of the event log, `token_key`: the key that
//!   seals its tokens. `lists`: queries with filters and pages, and the index for each, `found`: their results.
//!   `corrupt`: corrupt rows. `locks`: the locks of a batch, `no_fault`: those of quotas, `transaction`: its writes. `peek`:
//!   what a command that is only tried out is judged by. `retention`: pruning.
//! - `claim`: which processes may serve it. `writing`: whether the database can be written, and how it is closed. `files`: the files of a SQLite database,
//!   `backup`: a copy of it.
//! - `audit`: its entries page by page, beside the service.
//! - `notifier`: how replicas on one PostgreSQL wake each other.
//! - `batch`: statements for many rows whose text does not vary with their number, `stored`: their rows, `dialect`: what
//!   differs between the databases in a write transaction.

mod audit;
mod backfill;
mod backup;
mod batch;
mod changes;
mod claim;
mod columns;
mod condition;
mod connection;
mod corrupt;
mod dialect;
mod entity;
mod error;
mod files;
mod found;
mod gathered;
mod lists;
mod locks;
mod log;
mod migration;
mod no_fault;
mod notify;
mod one_dispute;
mod peek;
mod reader;
mod reads;
mod retention;
mod rows;
mod stored;
mod token_key;
mod transaction;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use sea_orm::DbBackend;
use uuid::Uuid;

use self::files::DatabaseFiles;
use crate::domain::{
    AuditEntry, Carried, Dispute, DisputeId, DisputeKind, EventId, EventType, Order, OrderId, Parties, RecordedEvent,
    Timestamp,
};

pub use audit::{AuditReader, AuditRecord};
pub use backup::{BackupError, backup};
pub use claim::{Alone, ClaimError};
pub use condition::{Pending, PoolSize};
pub(crate) use connection::in_time;
pub use connection::{ConnectError, LEAST_CONNECTIONS, ReadClass};
use connection::{Pool, ReaderPermits};
pub use corrupt::corrupt_rows;
pub use error::StorageError;
pub use files::FileError;
pub use found::{Found, FoundDisputes, Row};
pub use lists::{DisputeQuery, OrderQuery, Side, Sort};
pub use locks::LockedAggregates;
pub use log::{EventScan, FoundEvents};
pub use migration::SchemaError;
pub use no_fault::{QuotasTaken, Taken};
pub use notify::{Listener, Notifier};
use one_dispute::DisputeReads;
pub use peek::{Disputes, Peeked};
pub use reader::Reader;
pub use retention::Pruned;
pub use token_key::{LogId, TokenKey};
use transaction::Writer;
pub use transaction::{Records, Times, Transaction, Version, Written};

/// The database, with a pool for writes, one for callers' reads, and one for the service's own reads.
#[derive(Debug)]
pub struct Repository {
    writer: Writer,
    readers: Pool,
    /// Which callers use `readers`, and for what: there is a connection for each permit.
    permits: Arc<ReaderPermits>,
    dispute_reads: DisputeReads,
    /// For the reads of the feed and of the deadlines.
    background: Pool,
    /// The files of a SQLite database.
    files: Option<Arc<DatabaseFiles>>,
    notifier: Option<Notifier>,
}

impl Repository {
    /// Whether statements make round trips to another process.
    pub fn is_remote(&self) -> bool {
        self.readers.backend() == DbBackend::Postgres
    }

    /// Whether the database's clock decides: several replicas can share it.
    pub fn has_clock(&self) -> bool {
        self.readers.backend() == DbBackend::Postgres
    }

    /// The notifier through which replicas notify each other; none on SQLite, which has no replicas, or if it was
    /// turned off.
    pub fn notifier(&self) -> Option<Notifier> {
        self.notifier.clone()
    }

    /// Applies the schema, or finds it applied. Processes that start at the same time do not race.
    pub async fn migrate(&self) -> Result<(), SchemaError> {
        migration::apply(self.writer.pool.connections()).await?;
        Ok(self.watch_files().await?)
    }
}

/// The state of the event log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// The log's id.
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

/// A stored event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedEvent {
    /// Its number: 1, 2, 3 … in the order in which events were committed.
    pub seq: i64,
    /// Its id.
    pub id: EventId,
    /// The dispute that it belongs to.
    pub dispute: DisputeId,
    /// The order of that dispute.
    pub order: OrderId,
    /// The parties, which may see it.
    pub parties: Parties,
    /// The dispute's kind.
    pub kind: Carried<DisputeKind>,
    /// Its type.
    pub event_type: Carried<EventType>,
    /// The encoded public payload, the same for every viewer.
    pub payload: Bytes,
}

/// An event to store.
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

/// The record of a request, so that it takes effect once however often it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyRecord {
    /// Digest of the caller and the request id.
    pub key: Uuid,
    /// Digest of the RPC and its fields.
    pub fingerprint: Uuid,
    /// The resulting dispute.
    pub dispute: DisputeId,
    /// When it was recorded.
    pub create_time: Timestamp,
}

/// Everything that a batch writes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Changes {
    /// Orders that are not stored yet.
    pub new_orders: Vec<Order>,
    /// Stored orders, which are locked.
    pub changed_orders: Vec<Order>,
    /// Disputes that are not stored yet.
    pub new_disputes: Vec<Dispute>,
    /// Stored disputes.
    pub changed_disputes: Vec<Dispute>,
    /// Entries of the audit.
    pub audit: Vec<AuditEntry>,
    /// Requests to record.
    pub idempotency: Vec<IdempotencyRecord>,
    /// Events, in order.
    pub events: Vec<NewEvent>,
}

impl Changes {
    /// The orders that are changed, or of which a dispute is.
    pub fn orders(&self) -> impl Iterator<Item = &OrderId> {
        let orders = self.new_orders.iter().chain(&self.changed_orders).map(|order| &order.id);
        let disputes = self.new_disputes.iter().chain(&self.changed_disputes).map(|dispute| &dispute.order);
        orders.chain(disputes)
    }
}

/// An instant at which a pending dispute expires or its responder is reminded.
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
