//! The settings of a PostgreSQL session. They are set after connecting and read back: poolers refuse startup options,
//! or silently drop them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sea_orm::sqlx::{AssertSqlSafe, Row as _};

use super::STATEMENTS;
use super::causes::cause;

/// The name of every session on the server.
pub(in crate::repository) const APPLICATION: &str = "dispute-service";

/// The settings we rely on, and their values when read back, whatever the database or the role set. Does not include
/// `default_transaction_read_only`, which is respected.
const SETTINGS: [(&str, &str); 17] = [
    ("application_name", APPLICATION),
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("standard_conforming_strings", "on"),
    // Each statement sees everything committed before it: what is read under a lock is current.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    // A statement that is prepared while its table is empty would keep the plan for an empty table. None of our
    // statements is better off without an index, whatever the planner assumes about a table without statistics; nor
    // with a bitmap, which would read and sort all following rows for the first few in order.
    ("plan_cache_mode", "force_custom_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_indexscan", "on"),
    ("enable_indexonlyscan", "on"),
    // A plan that needs a sequential scan seems so expensive that it would be compiled each time.
    ("jit", "off"),
    // Nor in several processes: a plan for a hundred keys took 80 ms to start them, and 4 ms without.
    ("max_parallel_workers_per_gather", "0"),
    // What PostgreSQL does if a replica, or the network, freezes: nobody holds a lock, in particular on the head of the
    // log, for longer than this. The first limit is below the second, so that it is known which one was exceeded.
    ("lock_timeout", "5s"),
    ("statement_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("bytea_output", "hex"),
];

/// The same on servers that know it, which are the newer ones. A pooled connection is idle for as long as nobody needs
/// it.
const SETTINGS_OF_NEWER_SERVERS: [(&str, &str); 2] = [("idle_session_timeout", "0"), ("transaction_timeout", "0")];

/// Detects a vanished host. Not read back: none of these applies to a Unix socket.
const TCP_SETTINGS: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

/// Makes all settings and reads them back in one round trip. First undoes what another client left on a connection that
/// a pooler did not clean.
static PREPARE: LazyLock<String> = LazyLock::new(|| {
    let mut script = "RESET ALL; DEALLOCATE ALL;".to_owned();
    for (name, value) in SETTINGS.iter().chain(&TCP_SETTINGS) {
        let _ = write!(script, "SET {name} = '{value}';");
    }
    for (name, value) in SETTINGS_OF_NEWER_SERVERS {
        let _ = write!(
            script,
            "SELECT set_config('{name}', '{value}', false) WHERE current_setting('{name}', true) <> '';"
        );
    }
    // If off, an acknowledged commit could be lost. Any other value is a choice about standbys.
    script.push_str(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
         SELECT pg_is_in_recovery()::text, current_setting('server_encoding'),
             current_setting('session_replication_role'), current_setting('synchronous_commit'),
             current_setting('default_transaction_read_only')",
    );
    for (name, _) in SETTINGS {
        let _ = write!(script, ", current_setting('{name}')");
    }
    script
});

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the server is a standby: it accepts no writes, and its data may be stale; connect to the primary")]
    Standby,
    #[error("the server accepts no writes: default_transaction_read_only is on")]
    ReadOnly,
    #[error("the database's encoding is {found}, but only UTF8 can store every text; create it with ENCODING 'UTF8'")]
    Encoding { found: String },
    #[error("the setting {name} is {found} although {wanted} was set; a pooler or the server changes it")]
    Setting { name: &'static str, wanted: &'static str, found: String },
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
}

impl Unfit {
    /// Why, in words.
    pub(super) fn to_sentence(&self) -> String {
        match self {
            Self::Failed(error) => cause(error),
            Self::Standby | Self::ReadOnly | Self::Encoding { .. } | Self::Setting { .. } => self.to_string(),
        }
    }
}

/// The options of every connection. No startup parameter that poolers do not know by default.
pub(super) fn fitted(options: PgConnectOptions) -> PgConnectOptions {
    options.statement_cache_capacity(STATEMENTS).extra_float_digits(None).application_name(APPLICATION)
}

/// Sets up a new connection, or says why it cannot be used. Returns whether its transactions can write.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<bool, Unfit> {
    let rows = sqlx::raw_sql(AssertSqlSafe(PREPARE.as_str())).fetch_all(connection).await?;
    let found = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    let mut columns = 0_usize..;
    let mut next = |row: &PgRow| row.try_get::<String, _>(columns.next().unwrap_or_default());
    if next(found)? != "false" {
        return Err(Unfit::Standby);
    }
    let encoding = next(found)?;
    if encoding != "UTF8" {
        // It is no encoding at all: every byte means whatever the client makes of it.
        return Err(Unfit::Encoding { found: encoding });
    }
    require("session_replication_role", "origin", next(found)?)?;
    let synchronous_commit = next(found)?;
    if synchronous_commit == "off" {
        return Err(Unfit::Setting { name: "synchronous_commit", wanted: "on", found: synchronous_commit });
    }
    let can_write = next(found)? == "off";
    for (name, wanted) in SETTINGS {
        require(name, wanted, next(found)?)?;
    }
    Ok(can_write)
}

fn require(name: &'static str, wanted: &'static str, found: String) -> Result<(), Unfit> {
    if found == wanted { Ok(()) } else { Err(Unfit::Setting { name, wanted, found }) }
}
