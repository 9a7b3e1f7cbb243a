//! How PostgreSQL is opened.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{Connection as _, Row as _};
use sea_orm::{ConnectOptions, sqlx};

use super::{ACQUIRE_TIMEOUT, STATEMENTS, common};

/// A connection that was idle for less than this is taken for good …
const WITHOUT_A_QUESTION: Duration = Duration::from_secs(1);
/// … and another one if it answers within this.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// What PostgreSQL does for us when a replica, or what is between us, stops moving: nobody holds a lock, above all not
/// the one on the head of the log, for longer than this.
const POSTGRES_BOUNDS: [(&str, &str); 7] = [
    ("lock_timeout", "10s"),
    ("statement_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

pub(in crate::repository) fn postgres(url: &str, connections: u32) -> ConnectOptions {
    let mut options = common(url, connections);
    options.set_application_name("dispute-service");
    options.map_sqlx_postgres_pool_opts(|pool| {
        let pool = pool.after_release(|connection, _| Box::pin(is_outside(connection)));
        pool.before_acquire(|connection, idle| Box::pin(is_alive(connection, idle.idle_for)))
    });
    options.map_sqlx_postgres_opts(|options| {
        options
            .statement_cache_capacity(STATEMENTS)
            // A statement that is prepared while its table is empty would keep the plan for an empty table; and
            // no statement of ours is better off without an index, whatever the planner makes of a table that
            // it has no statistics of. Nor with a bitmap: it would read and sort all that follows for the first few in
            // order.
            .options([
                ("plan_cache_mode", "force_custom_plan"),
                ("enable_seqscan", "off"),
                ("enable_bitmapscan", "off"),
            ])
            .options(POSTGRES_BOUNDS)
    });
    options
}

/// Asks whether a connection is outside of a transaction. Both instants are of the same message there, and only there;
/// in a transaction that has failed it is an error.
const IS_OUTSIDE: &str = "SELECT pg_catalog.now() = pg_catalog.statement_timestamp()";

/// Whether a connection that goes back to its pool is outside of a transaction; if not, it is closed. Whoever is
/// stopped within BEGIN leaves one behind that sqlx does not know of. Asked also because sqlx, which asks whether it
/// still answers, waits for as long as that takes: connections to a host that vanished would fill the pool.
async fn is_outside(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answer = tokio::time::timeout(ACQUIRE_TIMEOUT, sqlx::raw_sql(IS_OUTSIDE).fetch_one(connection)).await;
    match answer.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into()))) {
        Ok(row) => row.try_get(0),
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a connection answers.
async fn answers(connection: &mut PgConnection, within: Duration) -> Result<bool, sqlx::Error> {
    let answer = tokio::time::timeout(within, connection.ping()).await;
    answer.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into()))).map(|()| true)
}

/// Whether a connection that was idle for a while is still good. One that was lost meanwhile, as all are when the server
/// is started again, would fail the caller who gets it; one in constant use is not asked.
async fn is_alive(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if idle_for < WITHOUT_A_QUESTION { Ok(true) } else { answers(connection, SIGN_OF_LIFE).await }
}
