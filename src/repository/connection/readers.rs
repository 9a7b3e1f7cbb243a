//! Which caller reads when: each class of reads has its own connections, which its callers use in turn.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::fair::{FairSemaphore, NoPermit, Permit, QueueBounds};
use crate::domain::Caller;

/// The class of a read. However much is read in one class, the other classes do not wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadClass {
    /// A read of one item by its key: takes about a millisecond.
    Single,
    /// A page of a list: takes a hundred times as long.
    List,
    /// The start of an event stream: as quick as a single read. Many arrive at once when a replica is gone, so they
    /// share the connections of streams in turn with running ones.
    Start,
    /// A later read of an event stream, from a snapshot or the log. It waits for its turn without a limit: each stream
    /// has at most one waiting read, and the number of streams is limited.
    Stream,
}

/// How many reads of a class can wait. They cost little meanwhile; a read at the end of one caller's queue would wait
/// longer than a caller does.
const SINGLES: QueueBounds = QueueBounds { per_caller: 4_096, in_all: 16_384 };
const LISTS: QueueBounds = QueueBounds { per_caller: 256, in_all: 4_096 };
const STARTS: QueueBounds = SINGLES;
const STREAMS: QueueBounds = QueueBounds { per_caller: usize::MAX, in_all: usize::MAX };

/// There are only a few statements with gathered reads.
const STATEMENTS: QueueBounds = STREAMS;

/// How many single reads can be gathered: several statements full of them. What one caller leaves of that, however much
/// it reads, is for the others.
const GATHERED: usize = 512;

/// How many connections each class has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReaderShares {
    /// For single reads.
    pub(super) singles: usize,
    /// For lists.
    pub(super) lists: usize,
    /// For streams, including their start.
    pub(super) streams: usize,
}

impl ReaderShares {
    /// Allots this many connections, three or more. A list takes many round trips: a caller that requests fifty needs
    /// more than one connection, so that the last one does not wait too long.
    fn of(connections: usize) -> Self {
        let streams = (connections / 5).max(1);
        let lists = (connections.saturating_mul(2) / 5).max(1);
        Self { singles: connections.saturating_sub(streams).saturating_sub(lists), lists, streams }
    }
}

/// Grants the connections to the classes of reads, and to callers in turn.
#[derive(Debug)]
pub(in crate::repository) struct ReaderPermits {
    singles: Arc<FairSemaphore>,
    lists: Arc<FairSemaphore>,
    streams: Arc<FairSemaphore>,
    /// For single reads that are gathered into statements. Each statement has a permit of `singles` itself.
    gathered: Arc<FairSemaphore>,
    /// How long a caller waits for its turn; `None` for no limit.
    patience: Option<Duration>,
    /// Distinguishes callers by numbers that nobody can choose.
    callers: RandomState,
}

impl ReaderPermits {
    /// For this many connections in all, at least one. Of two, single reads have one. A single one is used by all
    /// classes in turn: no read waits for more than one of each other class.
    pub(super) fn for_connections(connections: u32, patience: Option<Duration>) -> Self {
        match usize::try_from(connections).unwrap_or(usize::MAX) {
            0 | 1 => {
                let all = FairSemaphore::new(1);
                Self::new([all.clone(), all.clone(), all], patience)
            }
            2 => {
                let slow = FairSemaphore::new(1);
                Self::new([FairSemaphore::new(1), slow.clone(), slow], patience)
            }
            connections => Self::with_shares(ReaderShares::of(connections), patience),
        }
    }

    /// With as many connections per class as given.
    pub(super) fn with_shares(shares: ReaderShares, patience: Option<Duration>) -> Self {
        let ReaderShares { singles, lists, streams } = shares;
        Self::new([singles, lists, streams].map(FairSemaphore::new), patience)
    }

    fn new([singles, lists, streams]: [Arc<FairSemaphore>; 3], patience: Option<Duration>) -> Self {
        let gathered = FairSemaphore::new(GATHERED);
        Self { singles, lists, streams, gathered, patience, callers: RandomState::new() }
    }

    /// Waits until it is a caller's turn to have a single read gathered.
    pub(in crate::repository) async fn acquire_gathered(&self, caller: &Caller) -> Result<Permit, NoPermit> {
        let caller = self.callers.hash_one(caller);
        let permit = self.gathered.acquire(0, caller, SINGLES, self.patience).await;
        permit.inspect_err(|why| tell(ReadClass::Single, *why))
    }

    /// Waits until it is the turn of the statements with gathered reads, which take turns with all other reads.
    pub(in crate::repository) async fn acquire_for_gathered(&self) -> Result<Permit, NoPermit> {
        let permit = self.singles.acquire(4, 0, STATEMENTS, self.patience).await;
        permit.inspect_err(|why| tell(ReadClass::Single, *why))
    }

    /// Waits until it is a caller's turn to read. The database has not been used by then.
    pub(in crate::repository) async fn acquire(&self, class: ReadClass, caller: &Caller) -> Result<Permit, NoPermit> {
        let (semaphore, lane, bounds, patience) = match class {
            ReadClass::Single => (&self.singles, 0, SINGLES, self.patience),
            ReadClass::List => (&self.lists, 1, LISTS, self.patience),
            ReadClass::Stream => (&self.streams, 2, STREAMS, None),
            ReadClass::Start => (&self.streams, 3, STARTS, self.patience),
        };
        let caller = self.callers.hash_one(caller);
        let permit = semaphore.acquire(lane, caller, bounds, patience).await;
        permit.inspect_err(|why| tell(class, *why))
    }
}

/// Called for every read that did not get its turn.
fn tell(class: ReadClass, why: NoPermit) {
    tracing::debug!(?class, ?why, "a read did not get its turn");
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::domain::UserId;

    fn caller(id: &str) -> Caller {
        Caller { user: UserId::parse(id).unwrap(), scope: None }
    }

    #[test]
    fn connections_are_shared_out_to_the_last() {
        for connections in 3..100 {
            let ReaderShares { singles, lists, streams } = ReaderShares::of(connections);
            assert_eq!(singles + lists + streams, connections);
            assert!(lists >= 1 && streams >= 1 && singles >= lists.max(streams), "{connections}");
        }
        assert_eq!(ReaderShares::of(10), ReaderShares { singles: 4, lists: 4, streams: 2 });
    }

    #[test]
    fn a_class_never_holds_what_another_one_needs() {
        use ReadClass::{List, Single, Start, Stream};
        // How many reads of each class can run at once, from many callers, while no other class reads; and whether
        // single reads can run while all possible lists and streams do.
        for (connections, most, goes_on) in
            [(1, [1; 4], false), (2, [1; 4], true), (3, [1; 4], true), (10, [4, 4, 2, 2], true)]
        {
            let read = |permits: &ReaderPermits, class| {
                let readers = (0..20).map(|number| caller(&format!("c{number}")));
                let reading = readers.filter_map(|caller| permits.acquire(class, &caller).now_or_never());
                reading.map(Result::unwrap).collect::<Vec<_>>()
            };
            let new = || ReaderPermits::for_connections(connections, None);
            assert_eq!([Single, List, Stream, Start].map(|class| read(&new(), class).len()), most, "{connections}");
            let permits = new();
            let _slow = (read(&permits, List), read(&permits, Stream));
            assert_eq!(!read(&permits, Single).is_empty(), goes_on, "{connections}");
        }
    }

    #[test]
    fn with_a_scope_a_caller_is_another_one() {
        let permits = ReaderPermits::for_connections(5, None);
        let read = |caller: &Caller| permits.acquire(ReadClass::List, caller).now_or_never().map(Result::unwrap);
        let ann = caller("ann");
        let support = Caller { scope: Some(crate::domain::Scope::Support), ..ann.clone() };
        let _first = read(&ann).unwrap();
        assert!(read(&ann).is_none(), "one of two is left to others");
        assert!(read(&support).is_some());
    }
}
