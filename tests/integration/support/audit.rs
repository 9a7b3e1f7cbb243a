//! The audit itself, past the service.

use std::time::Duration;

use dispute_service::clock::pause;

use super::database;
use super::service::{BEGINNING, Service};

/// An entry as the tests compare it: who, by which scope, what, of which order and dispute, and its revision afterwards.
pub type Entry = (String, i16, i16, String, Option<String>, i64);

pub const SUPPORT: i16 = 1;
pub const PLATFORM: i16 = 2;
pub const UPSERTED: i16 = 1;
pub const REPORTED: i16 = 2;
pub const POSTPONED: i16 = 3;
pub const ESCALATED: i16 = 4;
pub const DECIDED: i16 = 5;
pub const WITHDRAWN: i16 = 6;
pub const SHOWN: i16 = 7;

/// An entry about a dispute, by an agent.
pub fn by_agent(agent: &str, action: i16, order: &str, dispute: &str, revision: i64) -> Entry {
    (agent.to_owned(), SUPPORT, action, order.to_owned(), Some(dispute.to_owned()), revision)
}

/// An entry about a dispute, or about an order alone, by the order system.
pub fn by_platform(action: i16, order: &str, dispute: Option<&str>, revision: i64) -> Entry {
    ("shop".to_owned(), PLATFORM, action, order.to_owned(), dispute.map(str::to_owned), revision)
}

impl Service {
    /// Every entry of the audit, in the order of their numbers.
    pub async fn audit(&self) -> Vec<Entry> {
        let sql = "SELECT user_id, scope, action, order_id, dispute_id, revision FROM audit ORDER BY seq";
        let entry = |row: &sea_orm::QueryResult| {
            let dispute: Option<uuid::Uuid> = row.try_get_by_index(4).unwrap();
            (
                row.try_get_by_index(0).unwrap(),
                row.try_get_by_index(1).unwrap(),
                row.try_get_by_index(2).unwrap(),
                row.try_get_by_index(3).unwrap(),
                dispute.map(|dispute| dispute.to_string()),
                row.try_get_by_index(5).unwrap(),
            )
        };
        database::rows(&self.url, sql).await.iter().map(entry).collect()
    }

    /// The entries that were added after the first so many.
    pub async fn audit_after(&self, count: usize) -> Vec<Entry> {
        self.audit().await.split_off(count)
    }

    /// The time of the last entry in seconds after the beginning.
    pub async fn last_audit_time(&self) -> i64 {
        self.number("SELECT time FROM audit ORDER BY seq DESC LIMIT 1").await / 1_000_000 - BEGINNING
    }

    /// Waits until the audit has so many entries, and never fewer. Moves the clock on by the minute after which the service
    /// looks again.
    pub async fn audit_pruned_to(&self, count: i64) {
        for attempt in 1..4_000 {
            let left = self.number("SELECT count(*) FROM audit").await;
            assert!(left >= count, "{left} entries, too many are pruned");
            if left == count {
                return;
            }
            if attempt % 200 == 0 {
                self.clock.advance(Duration::from_secs(60));
            }
            pause(Duration::from_millis(5)).await;
        }
        panic!("the audit is not pruned to {count} entries");
    }
}
