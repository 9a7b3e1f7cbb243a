//! F2: a thousand subscribers that resume at the same place read the log once.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnection;

use super::postgres::{self, count, fill};
use super::rows::{self, event_id};
use super::scale::{scaled, settle};
use super::seed::Seed;
use super::server::Server;
use super::subscribers::{Subscribers, Trail, Who};
use super::table::{Table, Target};

pub(crate) const ABOUT: &str =
    "rows of the log read from PostgreSQL: 1,000 subscribers resume from the same old place at once : one does";

const TURNS: usize = 2;

pub(crate) async fn run(table: &mut Table) {
    let Some(cluster) = postgres::start("F2", table).await else { return };
    // Far more than what the service keeps in memory.
    let (events, subscribers) = (scaled(30_000, 10_000), scaled(1_000, 20));
    fill(&cluster.url("one"), rows::rows().await, Seed::pending(events)).await;
    let database = &mut postgres::connect(&cluster.url("one")).await;
    let mut expected = Trail::default();
    (0..events).for_each(|number| expected.add_id(event_id(number).to_string().as_bytes()));
    let (mut read, mut before) = ([Vec::new(), Vec::new()], rows_read(database, 0).await);
    for _ in 0..TURNS {
        for (count, read) in [subscribers, 1].into_iter().zip(&mut read) {
            // Each turn has a service that remembers nothing of the one before.
            let server = Server::start(&cluster.url("one"));
            let mut herd = Subscribers::start(server.address(), Who::RawBehind, 0, count, count.min(10));
            let trails = herd.trails(count * events);
            assert!(trails == vec![expected; count], "each saw each event, once and in order");
            drop(herd);
            server.stop();
            let after = rows_read(database, before + events).await;
            let found = after - before;
            assert!(found >= events, "{found} rows cannot be {events} events: not all are counted");
            read.push(found as f64);
            before = after;
        }
    }
    println!("each of {subscribers} subscribers saw each of {events} events, once and in order");
    table.compare("F2", "rows read from the database", &read[0], &read[1], Target::AtMost(1.5));
}

/// How many rows of the log were read so far, which are at least so many. Sessions report it when they end, and otherwise after
/// ten seconds: so it is asked while the service is stopped.
async fn rows_read(database: &mut PgConnection, least: usize) -> usize {
    settle(1).await;
    let sql = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
        WHERE relname = 'events'";
    let mut read = count(database, sql).await;
    for _ in 0..100 {
        if read >= least {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        read = count(database, sql).await;
    }
    read
}
