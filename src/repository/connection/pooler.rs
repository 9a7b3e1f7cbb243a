//! Checks that the server or pooler keeps a session for each connection.

use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{self, Row as _};

/// How often the check is repeated: other clients of the pooler may sometimes hide what it does.
const ROUNDS: usize = 8;

/// Whatever time limit the role or the database sets for transactions.
const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0";

/// Whether each of two connections has its own server process, even while the other is inside a transaction. A pooler
/// that lends processes per transaction or statement gives both the one that was used last, or moves one of them while
/// the other holds it. Also `false` if a transaction cannot begin.
pub(super) async fn keeps_sessions(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (one, other);
    let mut processes = (process(one).await?, process(other).await?);
    for _ in 0..ROUNDS {
        if processes.0 == processes.1 {
            return Ok(false);
        }
        if let Err(error) = sqlx::raw_sql(BEGIN).execute(&mut *other).await {
            return if matches!(error, sqlx::Error::Database(_)) { Ok(false) } else { Err(error) };
        }
        // In this order: if both had the same process, nobody would wait for the one that is held.
        if process(other).await? != processes.1 || process(one).await? != processes.0 {
            return Ok(false);
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
        if process(other).await? != processes.1 {
            return Ok(false);
        }
        std::mem::swap(&mut one, &mut other);
        processes = (processes.1, processes.0);
    }
    Ok(true)
}

async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}
