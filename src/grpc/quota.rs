//! How many streams there can be: for each caller, and for all together, so that none of them takes what the others need.
//!
//! A stream with a large filter counts as several: a permit is room for [`IDS_PER_PLACE`] ids to filter by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::Caller;

/// This part of all places is kept for those who have few: those who have more can have only what is free beside it.
const KEPT: usize = 4;

/// Few is this part of all places: fifty of twenty thousand, and one in any case.
const FEW: usize = 400;

/// So many ids of a filter take as much memory as a stream does.
const IDS_PER_PLACE: usize = 10;

/// Counts the streams that are open.
#[derive(Debug)]
pub struct Quota {
    per_process: usize,
    per_caller: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    streams: usize,
    places: usize,
    by_caller: HashMap<Caller, usize>,
}

/// The right to one stream; given back when dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    quota: Arc<Quota>,
    caller: Caller,
    places: usize,
}

impl Quota {
    /// So many streams at the most.
    pub fn new(per_process: usize, per_caller: usize) -> Self {
        Self { per_process, per_caller, open: Mutex::default() }
    }

    /// How many streams are open.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).streams
    }

    /// A stream more for a caller, which filters by so many ids, if there can be one. Beyond a few, a caller can have no
    /// more than what is free beside a part that is kept: so those who open as many as they can leave room for others.
    pub(super) fn acquire(self: &Arc<Self>, caller: &Caller, ids: usize) -> Option<StreamPermit> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.by_caller.get(caller).copied().unwrap_or_default();
        let free = self.per_process.saturating_sub(open.places);
        let places = ids.div_ceil(IDS_PER_PLACE).max(1);
        // The first one is had whatever it filters by.
        let places = if before == 0 { places.min(self.per_caller).min(free.max(1)) } else { places };
        let own = before.saturating_add(places);
        let are_few = before == 0 || own <= self.per_process / FEW;
        let leave_room = own <= free.saturating_sub(self.per_process / KEPT);
        if places > free || own > self.per_caller || !(are_few || leave_room) {
            return None;
        }
        open.streams = open.streams.saturating_add(1);
        open.places = open.places.saturating_add(places);
        open.by_caller.insert(caller.clone(), own);
        Some(StreamPermit { quota: self.clone(), caller: caller.clone(), places })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.quota.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.streams = open.streams.saturating_sub(1);
        open.places = open.places.saturating_sub(self.places);
        if let Some(own) = open.by_caller.get_mut(&self.caller) {
            *own = own.saturating_sub(self.places);
            if *own == 0 {
                open.by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Scope, UserId};

    fn caller(name: &str, scope: Option<Scope>) -> Caller {
        Caller { user: UserId::parse(name).unwrap(), scope }
    }

    /// As many as a caller can have.
    fn all(quota: &Arc<Quota>, name: &str, ids: usize) -> Vec<StreamPermit> {
        std::iter::from_fn(|| quota.acquire(&caller(name, None), ids)).collect()
    }

    #[test]
    fn streams_are_counted_for_each_caller_and_for_all() {
        let (ann, bob, agent) = (caller("ann", None), caller("bob", None), caller("ann", Some(Scope::Support)));
        let quota = Arc::new(Quota::new(4, 2));
        let first = quota.acquire(&ann, 0);
        let second = quota.acquire(&ann, 0);
        assert!(first.is_some() && second.is_some());
        assert!(quota.acquire(&ann, 0).is_none(), "her own are all taken");
        let others = [quota.acquire(&agent, 0), quota.acquire(&bob, 0)];
        assert!(others.iter().all(Option::is_some), "an agent of the same name is another caller");
        assert!(quota.acquire(&bob, 0).is_none(), "all are taken");
        drop(first);
        assert!(quota.acquire(&caller("eve", None), 0).is_some(), "one is free again");
        drop((second, others));
        let open = quota.open.lock().unwrap();
        assert!(open.places == 0 && open.by_caller.is_empty());
    }

    #[test]
    fn those_who_open_all_that_they_can_leave_room_however_many_they_are() {
        let quota = Arc::new(Quota::new(20_000, 2_000));
        let floods: Vec<_> = (0..50).map(|flooder| all(&quota, &format!("eve{flooder}"), 0)).collect();
        let counts: Vec<_> = floods.iter().map(Vec::len).collect();
        assert_eq!(counts[..8], [2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 1_500, 750]);
        assert!(counts.iter().all(|count| *count >= 50), "{counts:?}");
        for innocent in 0..20 {
            let name = format!("innocent{innocent}");
            let own: Vec<_> = (0..50).map_while(|_| quota.acquire(&caller(&name, None), 0)).collect();
            assert_eq!(own.len(), 50, "{name}");
        }
        drop(floods);
        assert_eq!(all(&quota, "ann", 0).len(), 2_000);
    }

    #[test]
    fn a_large_filter_counts_as_several_streams_but_for_the_first() {
        let quota = Arc::new(Quota::new(1_000, 100));
        assert_eq!(all(&quota, "ann", 10).len(), 100);
        assert_eq!(all(&quota, "ann", 11).len(), 50);
        assert_eq!(all(&quota, "ann", 200).len(), 5);
        for (per_process, per_caller) in [(1, 1), (5, 2), (10, 100)] {
            assert_eq!(all(&Arc::new(Quota::new(per_process, per_caller)), "ann", 200).len(), 1);
        }
    }
}
