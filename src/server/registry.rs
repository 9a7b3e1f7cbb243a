//! The open connections: how many there may be, and which one has to close to make room for a new one.
//!
//! At the limit, an active client must not wait for inactive ones. So a new connection replaces one that has not
//! started HTTP; else one that never made a call; else one that has made none for long. Only if every connection has
//! calls in flight, the new one is refused, at once.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::calls::Calls;
use crate::clock::{RealInstant, real_now};

/// How long a connection without a call is kept: a client that has just connected is about to make one.
const SETTLING: Duration = Duration::from_secs(1);

/// How long a connection is kept after its last call.
const RESTING: Duration = Duration::from_secs(10);

/// All connections are scanned no more often than this.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// How many established connections are ended at once to make room; this many may be open beyond the limit meanwhile.
const ENDED_AT_ONCE: usize = 64;

/// A lack of room is logged again after there was none for this long.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// The maximum number of connections; 0 for no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionBounds {
    /// In total.
    pub(super) all: usize,
    /// Per address.
    pub(super) per_address: usize,
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Crowded {
    /// The total limit is reached, and all connections are in use.
    All,
    /// The limit of its address is reached.
    Address,
}

/// The open connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    bounds: ConnectionBounds,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    members: HashMap<u64, Arc<Member>>,
    addresses: HashMap<IpAddr, usize>,
    /// Those that had not started HTTP when they arrived, in that order.
    silent: VecDeque<u64>,
    next_id: u64,
    /// How many were told to close and are still open.
    going: usize,
    searched: Option<RealInstant>,
    crowded: Option<RealInstant>,
    refused: u64,
    replaced: u64,
}

#[derive(Debug)]
struct Member {
    address: IpAddr,
    has_begun: AtomicBool,
    has_to_go: AtomicBool,
    go: Notify,
    calls: Calls,
}

/// The right to one connection; released when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    id: u64,
    member: Arc<Member>,
    registry: Registry,
}

impl Registry {
    pub(super) fn new(bounds: ConnectionBounds) -> Self {
        Self { bounds, table: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection from `address`, if necessary by closing another one.
    pub(super) fn enter(&self, address: IpAddr) -> Result<ConnectionPermit, Crowded> {
        let mut table = self.table();
        let now = real_now();
        let from_there = table.addresses.get(&address).copied().unwrap_or_default();
        if self.bounds.per_address > 0 && from_there >= self.bounds.per_address {
            table.refuse(now, "--max-connections-per-address is reached for an address: refusing more from it");
            return Err(Crowded::Address);
        }
        if self.bounds.all > 0 && table.staying() >= self.bounds.all && !table.make_room(now) {
            table.refuse(now, "--max-connections is reached and all are in use: refusing new ones");
            return Err(Crowded::All);
        }
        let id = table.next_id;
        table.next_id += 1;
        let member = Arc::new(Member {
            address,
            has_begun: AtomicBool::default(),
            has_to_go: AtomicBool::default(),
            go: Notify::new(),
            calls: Calls::new(now),
        });
        table.members.insert(id, member.clone());
        *table.addresses.entry(address).or_default() += 1;
        table.silent.push_back(id);
        Ok(ConnectionPermit { id, member, registry: self.clone() })
    }

    /// Closes one or more idle connections if the machine has no resources for another one.
    pub(super) fn make_room(&self) {
        self.table().make_room(real_now());
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.table().members.len()
    }

    /// How many connections were refused, and how many were replaced.
    pub(super) fn refused_and_replaced(&self) -> (u64, u64) {
        let table = self.table();
        (table.refused, table.replaced)
    }
}

impl Table {
    /// How many connections remain once those told to close have closed.
    fn staying(&self) -> usize {
        self.members.len().saturating_sub(self.going)
    }

    fn refuse(&mut self, now: RealInstant, what: &'static str) {
        self.refused += 1;
        self.tell(now, what);
    }

    /// Logs once for as long as it lasts.
    fn tell(&mut self, now: RealInstant, what: &'static str) {
        let is_told = self.crowded.is_some_and(|last| now.saturating_duration_since(last) < QUIET_AFTER);
        self.crowded = Some(now);
        if !is_told {
            tracing::warn!(
                connections = self.members.len(),
                refused = self.refused,
                replaced = self.replaced,
                "{what}"
            );
        }
    }

    /// Tells at least one connection to close. `false` if all are in use.
    fn make_room(&mut self, now: RealInstant) -> bool {
        let is_made = self.end_silent() || self.end_idle(now);
        if is_made {
            self.tell(
                now,
                "--max-connections is reached: closing silent and idle connections to make room for new ones",
            );
        }
        is_made
    }

    /// Closes the connection that has waited longest to start HTTP.
    fn end_silent(&mut self) -> bool {
        while let Some(id) = self.silent.pop_front() {
            let silent = self.members.get(&id).filter(|member| !member.has_begun.load(Ordering::Acquire)).cloned();
            if let Some(member) = silent {
                return self.end(&member);
            }
        }
        false
    }

    /// Closes connections that never made a call, or have made none for long, the longest idle first.
    fn end_idle(&mut self, now: RealInstant) -> bool {
        let is_too_soon = |last| now.saturating_duration_since(last) < SEARCH_INTERVAL;
        if self.searched.is_some_and(is_too_soon) || self.going >= ENDED_AT_ONCE {
            return false;
        }
        self.searched = Some(now);
        let mut idle: Vec<_> = self.members.values().filter_map(|member| Some((member.rank(now)?, member))).collect();
        let wanted = ENDED_AT_ONCE.saturating_sub(self.going);
        if idle.len() > wanted {
            idle.select_nth_unstable_by_key(wanted, |(rank, _)| *rank);
            idle.truncate(wanted);
        }
        let idle: Vec<_> = idle.into_iter().map(|(_, member)| member.clone()).collect();
        let ended = idle.iter().filter(|member| self.end(member)).count();
        ended > 0
    }

    fn end(&mut self, member: &Member) -> bool {
        let is_new = !member.has_to_go.swap(true, Ordering::AcqRel);
        if is_new {
            self.going += 1;
            self.replaced += 1;
            member.go.notify_one();
        }
        is_new
    }
}

impl Member {
    /// The order of closing, least first; `None` for a connection in use.
    fn rank(&self, now: RealInstant) -> Option<(bool, RealInstant)> {
        if self.has_to_go.load(Ordering::Acquire) {
            return None;
        }
        let (has_called, last) = self.calls.idle_since()?;
        let patience = if has_called { RESTING } else { SETTLING };
        (now.saturating_duration_since(last) >= patience).then_some((has_called, last))
    }
}

impl ConnectionPermit {
    /// HTTP has started on this connection.
    pub(super) fn begun(&self) {
        self.member.has_begun.store(true, Ordering::Release);
    }

    /// Returns when this connection has to close. Cancel safe.
    pub(super) async fn has_to_go(&self) {
        self.member.go.notified().await;
    }

    /// The calls of this connection.
    pub(super) fn calls(&self) -> &Calls {
        &self.member.calls
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut table = self.registry.table();
        table.members.remove(&self.id);
        if self.member.has_to_go.load(Ordering::Acquire) {
            table.going = table.going.saturating_sub(1);
        }
        let Some(from_there) = table.addresses.get_mut(&self.member.address) else { return };
        *from_there = from_there.saturating_sub(1);
        if *from_there == 0 {
            table.addresses.remove(&self.member.address);
        }
        // Established and closed ones are skipped one by one; when they are the majority, all are removed at once.
        if table.silent.len() > 2 * table.members.len() + 1_024 {
            let Table { silent, members, .. } = &mut *table;
            silent.retain(|id| members.get(id).is_some_and(|member| !member.has_begun.load(Ordering::Acquire)));
        }
    }
}
