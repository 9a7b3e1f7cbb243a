//! How much of something there is for all, and how much of it one can take. What is free is shared by all who come: one
//! takes at most as much as it leaves free. So even while many take all that they can, something is left for the next.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that is bounded, and who has how much of it.
#[derive(Debug)]
pub(super) struct Shares<K> {
    /// How much there is; 0 for no bound.
    most: usize,
    /// The most that one can have, while it leaves as much free.
    most_of_one: usize,
    /// What everyone can have, whatever is left.
    always: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    by_all: usize,
    by_key: HashMap<K, usize>,
}

/// What one has of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Share<K: Clone + Eq + Hash> {
    shares: Arc<Shares<K>>,
    key: K,
    amount: usize,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// So much of it (0 for no bound), so much at the most for one, and so much for everyone, whatever is left.
    pub(super) fn new(most: usize, most_of_one: usize, always: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { by_all: 0, by_key: HashMap::new() });
        Arc::new(Self { most, most_of_one, always, taken })
    }

    /// A share of `key`, with nothing in it so far.
    pub(super) fn share(self: &Arc<Self>, key: K) -> Share<K> {
        Share { shares: self.clone(), key, amount: 0 }
    }

    /// A share of one, if `key` can have one more.
    pub(super) fn one(self: &Arc<Self>, key: K) -> Option<Share<K>> {
        let mut share = self.share(key);
        share.grow_to(1).then_some(share)
    }
}

impl<K: Clone + Eq + Hash> Share<K> {
    /// Takes what is missing to `amount`; returns whether that could be had.
    pub(super) fn grow_to(&mut self, amount: usize) -> bool {
        let more = amount.saturating_sub(self.amount);
        if more == 0 || self.shares.most == 0 {
            return true;
        }
        let Shares { most, most_of_one, always, taken } = &*self.shares;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_key.get(&self.key).copied().unwrap_or_default().saturating_add(more);
        let by_all = taken.by_all.saturating_add(more);
        // Whoever takes the last bit leaves nothing free: one is forgiven.
        let leaves = most.checked_sub(by_all).map(|free| free.saturating_add(1));
        if own > *always && leaves.is_none_or(|leaves| own > leaves.min(*most_of_one)) {
            return false;
        }
        taken.by_all = by_all;
        taken.by_key.insert(self.key.clone(), own);
        self.amount = amount;
        true
    }
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.by_all = taken.by_all.saturating_sub(self.amount);
        if let Some(own) = taken.by_key.get_mut(&self.key) {
            *own = own.saturating_sub(self.amount);
            if *own == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_no_more_than_its_part_and_leaves_as_much_free() {
        let shares = Shares::new(64, 16, 0);
        let mut ann = shares.share("ann");
        assert!(ann.grow_to(16) && !ann.grow_to(17));
        assert!(shares.one("ann").is_none(), "all shares of one count together");
        let mut others: Vec<_> = ["bob", "cid", "dan"].map(|name| shares.share(name)).into();
        assert!(others.iter_mut().map(|share| share.grow_to(16)).eq([true, true, false]), "16 would not leave as much");
        assert!(others[2].grow_to(8) && !others[2].grow_to(9));
        let late = shares.one("eve");
        assert!(late.is_some(), "there is something for whoever comes late");
        drop((ann, others, late));
        let taken = shares.taken.lock().unwrap();
        assert!(taken.by_all == 0 && taken.by_key.is_empty());
    }

    #[test]
    fn some_are_for_everyone_and_without_a_bound_nothing_is_counted() {
        let shares = Shares::new(2, 2, 1);
        let held: Vec<_> = (0..100).map(|key| shares.one(key).unwrap()).collect();
        assert!(shares.one(0).is_none() && shares.one(100).is_some());
        drop(held);
        assert!(shares.one(0).is_some());
        let unbounded = Shares::new(0, 0, 0);
        let held: Vec<_> = (0..100).map(|_| unbounded.one(0).unwrap()).collect();
        assert!(unbounded.taken.lock().unwrap().by_key.is_empty());
        drop(held);
    }
}
