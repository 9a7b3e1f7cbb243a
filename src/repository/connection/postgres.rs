//! Opens PostgreSQL: how many connections there are, for what, and how each is set up.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgSslMode};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Row as _};
use sea_orm::{ConnectOptions, Database};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::causes::{SILENT, cause};
use super::hosts::Hosts;
use super::pool::{Pool, Renewal};
use super::session::{Unfit, prepare};
use super::{ACQUIRE_TIMEOUT, ConnectError, Connections, common, pooler};
use crate::clock::{pause, real_now};
use crate::repository::error::StorageError;

/// A connection that was idle for less than this is assumed to work …
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);
/// … and another one works if it replies within this.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the known state of a server is valid.
const CONDITION_LIFE: Duration = Duration::from_millis(500);

/// How long a server without free connections is assumed to have none.
const FULL_FOR: Duration = Duration::from_secs(10);

/// How long to wait before connecting again to a server that is not available yet.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The server behind the pools.
#[derive(Debug)]
pub(in crate::repository) struct Server {
    hosts: Hosts,
    /// All pools except the listening one. The background pool first, which is never busy for long.
    pools: OnceLock<Vec<PgPool>>,
    last: tokio::sync::Mutex<Option<(Instant, Condition)>>,
    /// When it was last found to have no connection left.
    full: Mutex<Option<Instant>>,
    /// When a primary was last searched for; one search at a time.
    seeking: tokio::sync::Mutex<Option<Instant>>,
    /// Concerns the connections to a host that is no longer used.
    moved: Renewal,
}

/// The state of a server.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// It responds.
    Works,
    /// It has no connection left for us.
    IsFull,
    /// It cannot be used, for this reason.
    IsAway(String),
}

impl Condition {
    /// Why something could not be done in time: because the server cannot be used, or otherwise for this reason.
    pub(super) fn or(self, otherwise: StorageError) -> StorageError {
        match self {
            Self::Works | Self::IsFull => otherwise,
            Self::IsAway(why) => StorageError::Unavailable(why),
        }
    }
}

/// The pools of a server.
#[derive(Debug)]
pub(super) struct Pools {
    pub(super) writer: Pool,
    pub(super) readers: Pool,
    pub(super) background: Pool,
    pub(super) notifier: Option<Pool>,
    pub(super) listener: Option<Pool>,
    /// How many connections there are.
    pub(super) connections: Connections,
}

/// Opens as many connections as wanted or available. Before that, verifies that the server can be used, and that a
/// pooler in front of it keeps sessions.
pub(super) async fn open(url: &str, wanted: Connections) -> Result<Pools, ConnectError> {
    let server = Arc::new(Server::at(url)?);
    server.hosts.all().iter().for_each(warn_of_strangers);
    server.require_usable().await?;
    let mut connections = wanted;
    loop {
        let pools = server.pools(connections).await?;
        let opened = pools.open_all().await;
        if opened >= connections.sum() {
            let kept = [&pools.background, &pools.readers, &pools.writer].into_iter().chain(&pools.notifier);
            let kept = kept.map(|pool| pool.connections().get_postgres_connection_pool().clone());
            let _ = server.pools.set(kept.collect());
            tell(wanted.sum(), &pools.connections);
            return Ok(pools);
        }
        pools.close().await;
        connections = connections.within(opened).ok_or(ConnectError::TooFewConnections { opened })?;
    }
}

/// Opens one connection for reads, beside a service that uses all the others.
pub(super) async fn open_to_read(url: &str) -> Result<Pool, ConnectError> {
    let server = Arc::new(Server::at(url)?);
    server.hosts.all().iter().for_each(warn_of_strangers);
    server.require_usable().await?;
    server.pool(1).await
}

/// Warns if anyone on the network path to the server could read and change traffic. Names its host, and nothing else of
/// the URL.
fn warn_of_strangers(options: &PgConnectOptions) {
    let host = options.get_host();
    if is_remote(options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        tracing::warn!(
            host,
            "the database is on another machine whose identity is not verified: anyone on the network path can read and change \
             everything; set sslmode=verify-full in its URL, and sslrootcert if you use your own CA"
        );
    }
}

/// Whether a server is reached over a network.
fn is_remote(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    let is_local = host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    options.get_socket().is_none() && !is_local
}

/// Logs how many connections there are, and for what.
fn tell(wanted: u32, connections: &Connections) {
    let Connections { writers, readers, background, notifiers } = *connections;
    let opened = connections.sum();
    if opened < wanted {
        let what = "fewer connections to the database could be opened than wanted";
        tracing::warn!(wanted, opened, writers, readers, background, notifiers, "{what}");
    } else {
        tracing::info!(opened, writers, readers, background, notifiers, "connections to the database");
    }
}

impl Server {
    fn at(url: &str) -> Result<Self, ConnectError> {
        Ok(Self {
            hosts: Hosts::of(url)?,
            pools: OnceLock::new(),
            last: tokio::sync::Mutex::default(),
            full: Mutex::default(),
            seeking: tokio::sync::Mutex::default(),
            moved: Renewal::default(),
        })
    }

    /// Verifies that one of the hosts can be used; an error says why none can. Waits for a server that is just starting.
    async fn require_usable(&self) -> Result<(), ConnectError> {
        let began = real_now();
        loop {
            let (mut errors, mut can_pass) = (Vec::new(), false);
            for (index, host) in self.hosts.all().iter().enumerate() {
                match require_usable(host, self.hosts.are_several()).await {
                    Ok(()) => {
                        self.hosts.choose(index);
                        return Ok(());
                    }
                    Err((error, passes)) => {
                        errors.push(error);
                        can_pass |= passes;
                    }
                }
            }
            if !can_pass || began.elapsed() >= ACQUIRE_TIMEOUT {
                return Err(self.hosts.none_usable(errors));
            }
            pause(TRY_AGAIN).await;
        }
    }

    /// Finds out which of several hosts accepts writes now, after the current one failed; all connections go there from then
    /// on. Runs in the background.
    pub(super) fn seek(self: &Arc<Self>) {
        if !self.hosts.are_several() {
            return;
        }
        let server = self.clone();
        tokio::spawn(async move {
            let Ok(mut sought) = server.seeking.try_lock() else { return };
            if sought.is_some_and(|when: Instant| when.elapsed() < CONDITION_LIFE) {
                return;
            }
            if server.choose_host().await {
                server.moved.demand();
                // A connection that was being opened meanwhile may still lead to the host before.
                pause(ACQUIRE_TIMEOUT).await;
                server.moved.demand();
            }
            *sought = Some(real_now());
        });
    }

    /// Uses the first host that accepts writes. Returns whether that is a change: none while the current one does, so that
    /// nobody returns to a host that was given up.
    async fn choose_host(&self) -> bool {
        if accepts_writes(&self.hosts.current()).await {
            return false;
        }
        for (index, host) in self.hosts.all().iter().enumerate() {
            if !accepts_writes(host).await {
                continue;
            }
            if !self.hosts.choose(index) {
                return false;
            }
            let (name, port) = (host.get_host(), host.get_port());
            tracing::warn!(host = name, port, "another host of the database is used from now on");
            for pool in self.pools.get().into_iter().flatten() {
                pool.set_connect_options(host.clone());
            }
            return true;
        }
        false
    }

    /// The host that is used.
    pub(super) fn host(&self) -> PgConnectOptions {
        self.hosts.current()
    }

    /// Whether a connection of this age leads to a host that is no longer used.
    pub(super) fn has_moved(&self, age: Duration) -> bool {
        self.moved.concerns(age)
    }

    /// The state of the server, determined once for all waiting callers.
    pub(super) async fn condition(&self) -> Condition {
        let mut last = self.last.lock().await;
        if let Some((when, condition)) = &*last
            && when.elapsed() < CONDITION_LIFE
        {
            return condition.clone();
        }
        let condition = self.examine().await;
        *last = Some((real_now(), condition.clone()));
        condition
    }

    async fn examine(&self) -> Condition {
        let host = self.hosts.current();
        let is_full = match timeout(ACQUIRE_TIMEOUT / 2, try_once(&host)).await {
            Ok(Ok(_)) => false,
            Ok(Err(Unfit::Failed(sqlx::Error::Database(error)))) if error.code().as_deref() == Some("53300") => true,
            Ok(Err(unfit)) => return Condition::IsAway(unfit.to_sentence()),
            // A pooler that has no connection left makes new ones wait.
            Err(_) if self.responds().await => true,
            Err(_) => return Condition::IsAway(SILENT.to_owned()),
        };
        if is_full {
            *self.full.lock().unwrap_or_else(PoisonError::into_inner) = Some(real_now());
            return Condition::IsFull;
        }
        Condition::Works
    }

    /// Whether it responds on an existing connection.
    async fn responds(&self) -> bool {
        let Some(background) = self.pools.get().and_then(|pools| pools.first()) else { return false };
        let ping = async { background.acquire().await?.ping().await };
        matches!(timeout(PING_TIMEOUT, ping).await, Ok(Ok(())))
    }

    /// Whether it recently had no connection left.
    pub(super) fn is_full(&self) -> bool {
        let full = *self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.is_some_and(|since| since.elapsed() < FULL_FOR)
    }

    /// Closes a connection that another pool does not use at the moment, so that this one can have it.
    pub(super) async fn make_room_for(&self, pool: &PgPool) {
        let others =
            self.pools.get().into_iter().flatten().filter(|other| !std::ptr::eq(other.options(), pool.options()));
        let idle = others.max_by_key(|other| other.num_idle()).and_then(PgPool::try_acquire);
        if let Some(idle) = idle {
            let _ = timeout(PING_TIMEOUT, idle.close()).await;
        }
    }

    async fn pools(self: &Arc<Self>, connections: Connections) -> Result<Pools, ConnectError> {
        let Connections { writers, readers, background, notifiers } = connections;
        let listener = if notifiers > 0 { Some(self.pool(1).await?) } else { None };
        let notifier = if notifiers > 1 { Some(self.pool(1).await?) } else { None };
        Ok(Pools {
            writer: self.pool(writers).await?,
            readers: self.pool(readers).await?,
            background: self.pool(background).await?,
            notifier,
            listener,
            connections,
        })
    }

    /// A pool of at most this many connections, none of which is open yet.
    pub(super) async fn pool(self: &Arc<Self>, connections: u32) -> Result<Pool, ConnectError> {
        let renewal = Renewal::default();
        let pool = Database::connect(options(&self.hosts, connections, [&renewal, &self.moved])).await?;
        Ok(Pool::of_server(pool, self.clone(), renewal))
    }
}

impl Pools {
    fn all(&self) -> impl Iterator<Item = &Pool> {
        [&self.writer, &self.readers, &self.background].into_iter().chain(&self.notifier).chain(&self.listener)
    }

    /// Opens every connection. Returns how many could be opened.
    async fn open_all(&self) -> u32 {
        let mut opening = JoinSet::new();
        for pool in self.all() {
            let pool = pool.connections().get_postgres_connection_pool();
            for _ in 0..pool.options().get_max_connections() {
                let pool = pool.clone();
                opening.spawn(async move { pool.acquire().await });
            }
        }
        // Held until the last one: none is counted twice.
        let opened = opening.join_all().await.into_iter().filter_map(Result::ok);
        u32::try_from(opened.collect::<Vec<_>>().len()).unwrap_or(u32::MAX)
    }

    async fn close(&self) {
        for pool in self.all() {
            pool.connections().get_postgres_connection_pool().close().await;
        }
    }
}

/// Verifies that a host can be used, for writes too if another one could be used instead. Returns why not, and whether that
/// may pass by itself.
async fn require_usable(host: &PgConnectOptions, for_writes: bool) -> Result<(), (ConnectError, bool)> {
    let two = two(host).await.map_err(|error| (ConnectError::Unusable(cause(&error)), passes(&error)));
    let (mut one, mut other) = two?;
    let judged = async {
        // Before anything is set: behind a pooler that keeps no sessions it would be set for somebody else.
        if !pooler::keeps_sessions(&mut one, &mut other).await? {
            return Ok(false);
        }
        if prepare(&mut one).await? || !for_writes { Ok(true) } else { Err(Unfit::ReadOnly) }
    };
    let judged = timeout(ACQUIRE_TIMEOUT, judged).await;
    close(one).await;
    close(other).await;
    let error = match judged {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => ConnectError::NoSessions,
        Ok(Err(unfit)) => ConnectError::Unusable(unfit.to_sentence()),
        Err(_) => ConnectError::Unusable(SILENT.to_owned()),
    };
    Err((error, false))
}

async fn two(host: &PgConnectOptions) -> Result<(PgConnection, PgConnection), sqlx::Error> {
    let connect = || async { timeout(ACQUIRE_TIMEOUT, host.connect()).await.map_err(|_| sqlx::Error::PoolTimedOut)? };
    let one = connect().await?;
    Ok((one, connect().await?))
}

/// Whether a host can be used, and accepts writes.
async fn accepts_writes(host: &PgConnectOptions) -> bool {
    matches!(timeout(ACQUIRE_TIMEOUT / 2, try_once(host)).await, Ok(Ok(true)))
}

/// Opens a usable connection, and closes it again. Returns whether it accepts writes.
async fn try_once(host: &PgConnectOptions) -> Result<bool, Unfit> {
    let mut connection = host.connect().await?;
    let prepared = prepare(&mut connection).await;
    close(connection).await;
    prepared
}

/// Whether an error while connecting can pass by itself.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("53300" | "57P03")),
        _ => false,
    }
}

async fn close(connection: PgConnection) {
    let _ = timeout(PING_TIMEOUT, connection.close()).await;
}

fn options(hosts: &Hosts, connections: u32, renewals: [&Renewal; 2]) -> ConnectOptions {
    let mut options = common(hosts.url(), connections);
    // sqlx opens none by itself: while it tries, for up to a minute, it would occupy a slot of the pool.
    options.min_connections(0).connect_lazy(true);
    let renewals = renewals.map(Clone::clone);
    let is_too_old = move |age| renewals.iter().any(|renewal| renewal.concerns(age));
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let (taken, released) = (is_too_old.clone(), is_too_old.clone());
        pool.after_connect(|connection, _| {
            Box::pin(async {
                let prepared = prepare(connection).await;
                prepared.map(drop).map_err(|unfit| sqlx::Error::Configuration(unfit.into()))
            })
        })
        .before_acquire(move |connection, meta| {
            let is_too_old = taken(meta.age);
            Box::pin(async move { Ok(!is_too_old && is_good(connection, meta.idle_for).await) })
        })
        .after_release(move |connection, meta| {
            let is_too_old = released(meta.age);
            Box::pin(async move { Ok(!is_too_old && is_outside(connection).await) })
        })
    });
    let host = hosts.current();
    options.map_sqlx_postgres_opts(move |_| host.clone());
    options
}

/// Checks that a connection is outside a transaction: only there both instants are of the same message. In a failed
/// transaction it is an error.
const IS_OUTSIDE: &str = "SELECT pg_catalog.now() = pg_catalog.statement_timestamp()";

/// Whether a connection that returns to its pool is outside a transaction; if not, it is closed. A task dropped within
/// BEGIN leaves a transaction that sqlx does not know of. Also needed because sqlx's own check has no time limit:
/// connections to a vanished host would fill the pool.
async fn is_outside(connection: &mut PgConnection) -> bool {
    let ask = async { sqlx::raw_sql(IS_OUTSIDE).fetch_one(connection).await?.try_get::<bool, _>(0) };
    matches!(timeout(ACQUIRE_TIMEOUT, ask).await, Ok(Ok(true)))
}

/// Whether a connection that was idle for a while still responds, and still leads to a primary. A connection lost
/// meanwhile, as after a server restart, would fail the caller who gets it. Connections in constant use are not
/// checked.
async fn is_good(connection: &mut PgConnection, idle_for: Duration) -> bool {
    if idle_for < PING_AFTER_IDLE {
        return true;
    }
    let ask = async { sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(connection).await?.try_get::<bool, _>(0) };
    matches!(timeout(PING_TIMEOUT, ask).await, Ok(Ok(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_remote_unless_it_is_on_this_machine() {
        for (url, expected) in [
            ("postgres://u:p@localhost/d", false),
            ("postgres://u:p@LOCALHOST:5433/d", false),
            ("postgres://u:p@127.0.0.1/d", false),
            ("postgres://u:p@127.8.0.1/d", false),
            ("postgres://u:p@[::1]:5432/d", false),
            ("postgres://u:p@[::ffff:127.0.0.1]/d", false),
            ("postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d", false),
            ("postgres:///d?host=/var/run/postgresql", false),
            ("postgres://u:p@localhost.example.org/d", true),
            ("postgres://u:p@10.0.0.1/d", true),
            ("postgres://u:p@[2001:db8::1]/d", true),
            ("postgres:///d?host=db.example.org", true),
            ("postgres://localhost/d?hostaddr=10.0.0.1", true),
        ] {
            assert_eq!(is_remote(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
