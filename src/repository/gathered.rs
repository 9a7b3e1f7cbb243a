//! Reads of single disputes on PostgreSQL, gathered into statements: while some are under way, the next ones gather.
//! There is no timer: a read that comes alone is alone in its statement.
//!
//! A statement costs PostgreSQL and us far more than one more dispute in it: it is planned, sent, answered, and its
//! connection is pinged when it returns to the pool.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::connection::{Permit, Pool, ReaderPermits};
use super::error::StorageError;
use super::one_dispute::{Rows, on_postgres};

/// How many statements are under way at once: two, so that the server has one while we read the results of another.
const STATEMENTS: usize = 2;

/// How many reads are in one statement at most. Larger ones save nothing any more.
const READS: usize = 128;

/// The reads that wait, and the statements under way.
#[derive(Debug)]
pub(super) struct Gathered {
    pool: Pool,
    permits: Arc<ReaderPermits>,
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    waiting: VecDeque<Wanted>,
    statements: usize,
}

#[derive(Debug)]
struct Wanted {
    id: Uuid,
    reply: oneshot::Sender<Result<Rows, StorageError>>,
    /// The caller's, until the read is done, whether or not anybody waits for it.
    _permit: Permit,
}

/// One of the statements that can be under way.
struct Statement {
    gathered: Arc<Gathered>,
    has_ended: bool,
}

impl Gathered {
    /// Reads by connections of this pool, with permits for them.
    pub(super) fn new(pool: Pool, permits: Arc<ReaderPermits>) -> Arc<Self> {
        Arc::new(Self { pool, permits, state: Mutex::default() })
    }

    /// Reads the rows of one dispute.
    pub(super) async fn read(self: &Arc<Self>, permit: Permit, id: Uuid) -> Result<Rows, StorageError> {
        let (reply, rows) = oneshot::channel();
        if let Some(statement) = self.push(Wanted { id, reply, _permit: permit }) {
            tokio::spawn(statement.run());
        }
        rows.await.unwrap_or_else(|_| Err(StorageError::Failed("a read ended without a result".to_owned())))
    }

    /// Adds a read. Returns the statement that has to be run for it, unless enough are under way.
    fn push(self: &Arc<Self>, wanted: Wanted) -> Option<Statement> {
        let mut state = self.lock();
        state.waiting.push_back(wanted);
        (state.statements < STATEMENTS).then(|| {
            state.statements = state.statements.saturating_add(1);
            Statement { gathered: self.clone(), has_ended: false }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Statement {
    /// Runs until no read waits.
    async fn run(mut self) {
        loop {
            // What waits is taken as late as possible.
            let permit = self.gathered.pool.permitted(self.gathered.permits.acquire_for_gathered()).await;
            let wanted = self.next();
            if wanted.is_empty() {
                return;
            }
            let ids: Arc<Vec<_>> = Arc::new(wanted.iter().map(|wanted| wanted.id).collect());
            let found = match permit {
                Ok(_permit) => self.gathered.pool.read(|connection| on_postgres(connection, ids.clone())).await,
                Err(error) => Err(error),
            };
            reply(wanted, found);
        }
    }

    /// The next reads. If there are none, this has ended: a read that comes later starts another one.
    fn next(&mut self) -> Vec<Wanted> {
        let mut state = self.gathered.lock();
        let count = state.waiting.len().min(READS);
        let wanted: Vec<_> = state.waiting.drain(..count).collect();
        if wanted.is_empty() {
            state.statements = state.statements.saturating_sub(1);
            self.has_ended = true;
        }
        wanted
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.gathered.lock();
            state.statements = state.statements.saturating_sub(1);
        }
    }
}

/// Replies to each read. Several can be of the same dispute.
fn reply(mut wanted: Vec<Wanted>, mut found: Result<HashMap<Uuid, Rows>, StorageError>) {
    wanted.sort_unstable_by_key(|wanted| wanted.id);
    let mut wanted = wanted.into_iter().peekable();
    while let Some(Wanted { id, reply, _permit }) = wanted.next() {
        let is_last = wanted.peek().is_none_or(|next| next.id != id);
        let rows = match &mut found {
            Ok(found) if is_last => Ok(found.remove(&id).unwrap_or_default()),
            Ok(found) => Ok(found.get(&id).cloned().unwrap_or_default()),
            Err(error) => Err(error.clone()),
        };
        // Somebody may no longer wait for it.
        let _ = reply.send(rows);
    }
}
