//! The event log itself, past the service: as it is after years, or as a failover leaves it.

use dispute_service::clock::pause;
use std::time::Duration;

use super::database;
use super::service::Service;

/// Numbers of the event log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    pub floor: i64,
    pub head: i64,
}

impl Service {
    /// Where the log begins and ends. What is kept is dense between the two, at any moment.
    pub async fn ends(&self) -> Ends {
        let sql = "SELECT floor, head, (SELECT count(*) FROM events) AS kept, \
            (SELECT min(seq) FROM events) AS first, (SELECT max(seq) FROM events) AS last FROM event_log";
        let row = database::row(&self.url, sql).await;
        let number = |column: &str| row.try_get::<Option<i64>>("", column).unwrap();
        let ends = Ends { floor: number("floor").unwrap(), head: number("head").unwrap() };
        assert_eq!(number("kept"), Some(ends.head - ends.floor), "{ends:?}");
        if ends.head > ends.floor {
            assert_eq!((number("first"), number("last")), (Some(ends.floor + 1), Some(ends.head)), "{ends:?}");
        }
        ends
    }

    /// Waits until the log begins after number `floor`, and never forgets more. Should the service have looked just
    /// before the clock was moved, it is moved on by the minute after which the service looks again.
    pub async fn forgotten(&self, floor: i64) -> Ends {
        for attempt in 1..4_000 {
            let ends = self.ends().await;
            assert!(ends.floor <= floor, "{ends:?}: too much is forgotten");
            if ends.floor == floor {
                return ends;
            }
            if attempt % 200 == 0 {
                self.clock.advance(Duration::from_secs(60));
            }
            pause(Duration::from_millis(5)).await;
        }
        panic!("{:?}: the events up to {floor} are not forgotten", self.ends().await);
    }

    /// The ids of the events from one number to another, in order.
    pub async fn event_ids(&self, first: i64, last: i64) -> Vec<String> {
        let sql = format!("SELECT event_id FROM events WHERE seq BETWEEN {first} AND {last} ORDER BY seq");
        let rows = database::rows(&self.url, &sql).await;
        rows.iter().map(|row| row.try_get::<uuid::Uuid>("", "event_id").unwrap().to_string()).collect()
    }

    /// Adds so many copies of the last event to the log, as another replica would. Each has an id of its own, and is of a
    /// dispute of its own, as far as the indexes know.
    pub async fn clone_last_event(&self, count: usize) {
        let columns = "order_id, buyer_id, seller_id, kind, event_type, event_time";
        // The id is the payload's first field, and as long as any other.
        let sql = if self.url.starts_with("postgres") {
            format!(
                "WITH ids AS MATERIALIZED (SELECT n, gen_random_uuid() AS id FROM generate_series(1, {count}) AS n)
                INSERT INTO events (seq, event_id, dispute_id, {columns}, payload)
                SELECT head + n, ids.id, ids.id, {columns}, overlay(payload PLACING convert_to(ids.id::text, 'UTF8') FROM 3 FOR 36)
                FROM ids, event_log, (SELECT * FROM events ORDER BY seq DESC LIMIT 1) AS model"
            )
        } else {
            let part = |first, length| format!("lower(hex(substr(ids.id, {first}, {length})))");
            let text = [part(1, 4), part(5, 2), part(7, 2), part(9, 2), part(11, 6)].join("||'-'||");
            format!(
                "CREATE TEMP TABLE ids AS
                WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
                SELECT n, randomblob(16) AS id FROM numbers;
                INSERT INTO events (seq, event_id, dispute_id, {columns}, payload)
                SELECT head + n, ids.id, ids.id, {columns}, CAST(substr(payload, 1, 2) || {text} || substr(payload, 39) AS BLOB)
                FROM ids, event_log, (SELECT * FROM events ORDER BY seq DESC LIMIT 1) AS model"
            )
        };
        self.execute(&format!("BEGIN; {sql}; UPDATE event_log SET head = head + {count}; COMMIT")).await;
    }

    /// Loses the events after number `head`, as a failover does to a database that has not yet told its standby.
    pub async fn lose_events_after(&self, head: i64) {
        let sql = format!("BEGIN; DELETE FROM events WHERE seq > {head}; UPDATE event_log SET head = {head}; COMMIT");
        self.execute(&sql).await;
    }
}
