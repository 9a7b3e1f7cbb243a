//! The database itself, past the service.

use sea_orm::{ConnectOptions, Database, DatabaseConnection};

/// Opens a database. No connection has an end: what sqlx runs to look for those that do can loop for ever
/// (its issue 3645).
pub async fn open(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).idle_timeout(None).max_lifetime(None).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}
