//! What the tests share: the service on either database, callers, and the facts of an error.

pub mod audit;
pub mod authority;
pub mod binary;
pub mod callers;
pub mod cluster;
pub mod collector;
pub mod database;
pub mod disk;
pub mod forwarder;
pub mod frames;
pub mod h2_client;
pub mod health;
pub mod issuer;
pub mod launcher;
pub mod log;
pub mod messages;
pub mod pgbouncer;
pub mod postgres;
pub mod replication;
pub mod scenario;
pub mod server;
pub mod service;
pub mod tls;
pub mod web;

/// Runs each test once on SQLite and once on PostgreSQL. Without a PostgreSQL server, and unless
/// `REQUIRE_POSTGRES` is set, the second half is skipped, and says so.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let service = crate::support::service::Service::on_sqlite().await;
                    super::$name(service).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(service) = crate::support::service::Service::on_postgres().await {
                        super::$name(service).await;
                    }
                }
            )+
        }
    };
}

pub(crate) use on_both_databases;
