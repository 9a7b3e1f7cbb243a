//! How many streams there can be: for each caller, and for all together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::Caller;

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
    by_caller: HashMap<Caller, usize>,
}

/// The right to one stream; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    quota: Arc<Quota>,
    caller: Caller,
}

impl Quota {
    /// So many streams at the most.
    pub fn new(per_process: usize, per_caller: usize) -> Self {
        Self { per_process, per_caller, open: Mutex::default() }
    }

    /// A stream more for a caller, if there can be one.
    pub(super) fn take(self: &Arc<Self>, caller: &Caller) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.by_caller.get(caller).copied().unwrap_or_default();
        if open.streams >= self.per_process || own >= self.per_caller {
            return None;
        }
        open.streams = open.streams.saturating_add(1);
        open.by_caller.insert(caller.clone(), own.saturating_add(1));
        Some(Place { quota: self.clone(), caller: caller.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.quota.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.streams = open.streams.saturating_sub(1);
        if let Some(own) = open.by_caller.get_mut(&self.caller) {
            *own = own.saturating_sub(1);
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

    #[test]
    fn streams_are_counted_for_each_caller_and_for_all() {
        let caller = |name, scope| Caller { user: UserId::parse(name).unwrap(), scope };
        let (ann, bob, agent) = (caller("ann", None), caller("bob", None), caller("ann", Some(Scope::Support)));
        let quota = Arc::new(Quota::new(4, 2));
        let first = quota.take(&ann);
        let second = quota.take(&ann);
        assert!(first.is_some() && second.is_some());
        assert!(quota.take(&ann).is_none(), "her own are all taken");
        let others = [quota.take(&agent), quota.take(&bob)];
        assert!(others.iter().all(Option::is_some), "an agent of the same name is another caller");
        assert!(quota.take(&bob).is_none(), "all are taken");
        drop(first);
        assert!(quota.take(&bob).is_some(), "one is free again");
        drop((second, others));
        let open = quota.open.lock().unwrap();
        assert!(open.streams == 0 && open.by_caller.is_empty());
    }
}
