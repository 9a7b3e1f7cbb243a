//! The database itself, past the service.

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, QueryResult, Statement};

/// Opens a database. No connection has an end: what sqlx runs to look for those that do can loop for ever
/// (its issue 3645).
pub async fn open(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).idle_timeout(None).max_lifetime(None).sqlx_logging(false);
    // The only start-up parameter that a pooler does not know by default.
    options.map_sqlx_postgres_opts(|options| options.extra_float_digits(None));
    Database::connect(options).await.unwrap()
}

/// Changes a database.
pub async fn execute(url: &str, sql: &str) {
    let database = open(url).await;
    database.execute_unprepared(sql).await.unwrap();
    database.close().await.unwrap();
}

/// Rows out of a database.
pub async fn rows(url: &str, sql: &str) -> Vec<QueryResult> {
    let database = open(url).await;
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let rows = database.query_all_raw(statement).await.unwrap();
    database.close().await.unwrap();
    rows
}

/// The one row of a query.
pub async fn row(url: &str, sql: &str) -> QueryResult {
    rows(url, sql).await.pop().unwrap()
}

/// One number out of a database.
pub async fn number(url: &str, sql: &str) -> i64 {
    row(url, sql).await.try_get_by_index(0).unwrap()
}

/// Sets whether a PostgreSQL database is read only, for the connections that there are as well, as a reloaded
/// configuration does.
pub async fn set_read_only(url: &str, is_read_only: bool) {
    let (server, name) = url.rsplit_once('/').unwrap();
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {is_read_only}");
    execute(&format!("{server}/postgres"), &set).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    if is_read_only {
        // Twice: a session that begins meanwhile may have the old setting, and is not listed yet.
        for _ in 0..2 {
            number(url, end).await;
        }
    }
}
