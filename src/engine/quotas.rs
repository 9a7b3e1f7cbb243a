//! Quotas of no-fault cancellations within a batch: what sellers have taken of theirs, as the commands of the batch leave it.

use std::collections::{HashMap, HashSet};

use crate::domain::UserId;
use crate::repository::QuotasTaken;

/// What the sellers of a batch have taken.
#[derive(Default)]
pub(super) struct Quotas {
    used: HashMap<UserId, u32>,
    /// Those of whom another transaction may be taking a place: nothing is judged now that needs one.
    busy: HashSet<UserId>,
    /// Those of whom this batch has taken or freed a place.
    changed: HashSet<UserId>,
}

impl Quotas {
    /// What was found of them.
    pub(super) fn add(&mut self, QuotasTaken { used, busy }: QuotasTaken) {
        self.used.extend(used);
        self.busy.extend(busy);
    }

    /// How many places a seller has taken; 0 where nothing needs to know.
    pub(super) fn used(&self, seller: &UserId) -> u32 {
        self.used.get(seller).copied().unwrap_or_default()
    }

    /// An order of a seller had so many of its places, and now has so many.
    pub(super) fn moves(&mut self, seller: &UserId, before: u32, after: u32) {
        if before == after {
            return;
        }
        self.changed.insert(seller.clone());
        if let Some(used) = self.used.get_mut(seller) {
            *used = used.saturating_add(after).saturating_sub(before);
        }
    }

    /// A seller has taken so many places.
    pub(super) fn know(&mut self, seller: UserId, used: u32) {
        self.used.insert(seller, used);
    }

    pub(super) fn is_busy(&self, seller: &UserId) -> bool {
        self.busy.contains(seller)
    }

    /// Whether it is known what a seller has taken. It is not of an order that was imported in this batch.
    pub(super) fn is_known(&self, seller: &UserId) -> bool {
        self.used.contains_key(seller)
    }

    /// The sellers of whom a place was taken or freed.
    pub(super) fn changed(&self) -> &HashSet<UserId> {
        &self.changed
    }
}
