//! A semaphore that grants its permits in turn: to lanes, within a lane to callers, and to each caller in the order of
//! its requests. However much one of them requests, the others wait for about one of its permits, not for all.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// How many lanes a semaphore has.
pub(super) const LANES: usize = 5;

/// How many requests can wait in a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct QueueBounds {
    /// For one caller, while others leave room.
    pub(super) per_caller: usize,
    /// For all callers. No caller can have more requests waiting than are free, so that callers who request everything
    /// they can get always leave room for the next one.
    pub(super) in_all: usize,
}

/// Why there is no permit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::repository) enum NoPermit {
    /// The maximum number of requests is waiting.
    QueueFull,
    /// The request was not granted in time.
    TimedOut,
}

/// Grants permits. The lanes and callers' queues contain only callers that wait or hold a permit.
#[derive(Debug)]
pub(super) struct FairSemaphore {
    /// How many permits one caller can hold in a lane: one less than the total, if there is more than one.
    share: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    lanes: [Lane; LANES],
    /// The next lane in turn.
    turn: usize,
    /// Numbers requests and turns.
    last: u64,
}

#[derive(Default, Debug)]
struct Lane {
    callers: BTreeMap<u64, Line>,
    /// The round: the callers that wait and hold less than their share, by when they joined.
    round: BTreeMap<u64, u64>,
    waiting: usize,
}

/// The permits and requests of one caller.
#[derive(Default, Debug)]
struct Line {
    held: usize,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    /// Its position in the round.
    place: Option<u64>,
}

/// A permit, or a waiting request for one. When dropped, the permit goes to the next in turn, or the request is
/// cancelled.
#[derive(Debug)]
pub(in crate::repository) struct Permit {
    semaphore: Arc<FairSemaphore>,
    lane: usize,
    caller: u64,
    /// The number of the request, as long as it may be waiting.
    request: Option<u64>,
}

impl FairSemaphore {
    /// A semaphore with this many permits, at least one.
    pub(super) fn new(permits: usize) -> Arc<Self> {
        let state = State { free: permits, lanes: Default::default(), turn: 0, last: 0 };
        Arc::new(Self { share: permits.saturating_sub(1).max(1), state: Mutex::new(state) })
    }

    /// Waits for a permit, without limit or for at most `patience`. Cancel safe: a dropped future no longer waits, and
    /// a permit granted at that moment goes to the next request.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        lane: usize,
        caller: u64,
        bounds: QueueBounds,
        patience: Option<Duration>,
    ) -> Result<Permit, NoPermit> {
        let (mut permit, granted) = self.request(lane, caller, bounds)?;
        if let Some(granted) = granted {
            // The sender is kept until it has sent: receiving cannot fail.
            match patience {
                Some(patience) => drop(timeout(patience, granted).await.map_err(|_| NoPermit::TimedOut)?),
                None => drop(granted.await),
            }
        }
        permit.request = None;
        Ok(permit)
    }

    /// A permit, or a waiting request with a receiver that signals the grant.
    fn request(
        self: &Arc<Self>,
        lane: usize,
        caller: u64,
        bounds: QueueBounds,
    ) -> Result<(Permit, Option<oneshot::Receiver<()>>), NoPermit> {
        let mut state = self.lock();
        let granted = state.request(lane, caller, self.share, bounds)?;
        let (request, granted) = granted.unzip();
        Ok((Permit { semaphore: self.clone(), lane, caller, request }, granted))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.semaphore.lock();
        state.end(self.lane, self.caller, self.request, self.semaphore.share);
    }
}

impl State {
    /// Grants a request at once, or queues it: returns its number, and a receiver that signals the grant.
    fn request(
        &mut self,
        lane: usize,
        caller: u64,
        share: usize,
        bounds: QueueBounds,
    ) -> Result<Option<(u64, oneshot::Receiver<()>)>, NoPermit> {
        self.last = self.last.saturating_add(1);
        let request = self.last;
        let Some(lane) = self.lanes.get_mut(lane) else { return Err(NoPermit::QueueFull) };
        let room = bounds.in_all.saturating_sub(lane.waiting).min(bounds.per_caller);
        let (held, waiting) = lane.callers.get(&caller).map_or((0, 0), |line| (line.held, line.waiting.len()));
        // While a permit is free, no eligible caller waits.
        let is_granted = self.free > 0 && held < share;
        if !is_granted && waiting >= room {
            return Err(NoPermit::QueueFull);
        }
        let line = lane.callers.entry(caller).or_default();
        if is_granted {
            line.held = line.held.saturating_add(1);
            self.free = self.free.saturating_sub(1);
            return Ok(None);
        }
        let (grant, granted) = oneshot::channel();
        line.waiting.insert(request, grant);
        lane.waiting = lane.waiting.saturating_add(1);
        lane.place(caller, share, request);
        Ok(Some((request, granted)))
    }

    /// Ends a request: removes it from its queue, or takes its permit back.
    fn end(&mut self, lane: usize, caller: u64, request: Option<u64>, share: usize) {
        self.last = self.last.saturating_add(1);
        let place = self.last;
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let Some(line) = lane.callers.get_mut(&caller) else { return };
        if request.is_some_and(|request| line.waiting.remove(&request).is_some()) {
            lane.waiting = lane.waiting.saturating_sub(1);
        } else {
            line.held = line.held.saturating_sub(1);
            self.free = self.free.saturating_add(1);
        }
        lane.place(caller, share, place);
        self.grant(share);
    }

    /// Grants the free permits to the next callers in turn.
    fn grant(&mut self, share: usize) {
        while self.free > 0 {
            let (before, from) = self.lanes.split_at_mut(self.turn.min(LANES));
            let mut in_turn = from.iter_mut().chain(before).enumerate();
            let Some((passed_over, lane)) = in_turn.find(|(_, lane)| !lane.round.is_empty()) else { return };
            self.turn = self.turn.saturating_add(passed_over).saturating_add(1).rem_euclid(LANES);
            self.last = self.last.saturating_add(1);
            if lane.grant(share, self.last) {
                self.free = self.free.saturating_sub(1);
            }
        }
    }
}

impl Lane {
    /// Grants a permit to the next caller, for its first request.
    fn grant(&mut self, share: usize, place: u64) -> bool {
        let Some((_, caller)) = self.round.pop_first() else { return false };
        let Some(line) = self.callers.get_mut(&caller) else { return false };
        line.place = None;
        let Some((_, grant)) = line.waiting.pop_first() else { return false };
        line.held = line.held.saturating_add(1);
        self.waiting = self.waiting.saturating_sub(1);
        self.place(caller, share, place);
        // A caller that has gone away returns it: its request is no longer in the queue.
        let _ = grant.send(());
        true
    }

    /// Appends a waiting and eligible caller to the round, or removes one that is not; drops a caller that neither
    /// waits nor holds a permit.
    fn place(&mut self, caller: u64, share: usize, place: u64) {
        let Some(line) = self.callers.get_mut(&caller) else { return };
        let has_turn = !line.waiting.is_empty() && line.held < share;
        match line.place {
            None if has_turn => {
                line.place = Some(place);
                self.round.insert(place, caller);
            }
            Some(place) if !has_turn => {
                line.place = None;
                self.round.remove(&place);
            }
            None | Some(_) => {}
        }
        if line.held == 0 && line.waiting.is_empty() {
            self.callers.remove(&caller);
        }
    }
}
