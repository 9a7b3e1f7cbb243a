//! A clock that is moved by hand: for integrators, who try 48 hours in a moment.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::committer::Committer;
use super::deadlines::{Passed, pass_one_by_one};
use super::error::Error;
use super::feed::history::end_of;
use super::feed::token::Position;
use crate::clock::{ManualClock, pause};
use crate::domain::{DisputeId, OrderId, Timestamp};
use crate::repository::{Deadline, Repository};

/// How many deadlines are read at a time.
const PAGE: u64 = 512;

/// How long to wait for orders that somebody else has locked.
const CONTENTION_DELAY: std::time::Duration = std::time::Duration::from_millis(5);

/// The clock of a service that is tried out.
#[derive(Debug)]
pub struct TestClock(Mutex<Hands>);

/// What moves it.
#[derive(Debug)]
pub struct Hands {
    clock: ManualClock,
    repository: Arc<Repository>,
    committer: Committer,
}

/// What the clock does not stop for again.
#[derive(Default)]
struct Done {
    /// Orders that nobody can judge here.
    left: HashSet<OrderId>,
    /// What was found done, or cannot be done, at an instant.
    instants: HashSet<(OrderId, Timestamp)>,
}

impl Done {
    fn has(&self, Deadline { time, order, .. }: &Deadline) -> bool {
        self.left.contains(order) || self.instants.contains(&(order.clone(), *time))
    }
}

impl TestClock {
    /// The clock that these hands move.
    pub fn new(clock: ManualClock, repository: Arc<Repository>, committer: Committer) -> Self {
        Self(Mutex::new(Hands { clock, repository, committer }))
    }

    /// One at a time moves it.
    pub async fn turn(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().await
    }
}

impl Hands {
    /// Advances the clock to `to`, which is not earlier than it shows. It stops at each instant at which something falls due
    /// until that is in the log. Returns the end of the log then.
    pub async fn advance_to(&mut self, to: Timestamp) -> Result<Position, Error> {
        let mut done = Done::default();
        while let Some((instant, orders)) = self.next_due(to, &done).await? {
            self.clock.advance_to(instant);
            match self.committer.pass_time(orders.clone()).await {
                Ok(passed) => {
                    done.left.extend(passed.left.into_iter().map(|(order, _)| order));
                    if !passed.busy.is_empty() {
                        pause(CONTENTION_DELAY).await;
                    } else if passed.events == 0 {
                        // The sweep or a command was first, or nothing can be done at this instant.
                        done.instants.extend(orders.into_iter().map(|order| (order, instant)));
                    }
                }
                // One of them makes no sense as it is stored: each by itself.
                Err(Error::Internal(_)) => {
                    let failed = |passed| match passed {
                        Passed::Failed(order, _) => Some(order),
                        Passed::Done(_) => None,
                    };
                    let passed = pass_one_by_one(&self.committer, orders).await?;
                    done.left.extend(passed.into_iter().filter_map(failed));
                }
                Err(error) => return Err(error),
            }
        }
        self.clock.advance_to(to);
        Ok(end_of(&self.repository.log().await?))
    }

    /// The first instant up to `to` at which something falls due that is not done, and the orders.
    async fn next_due(&self, to: Timestamp, done: &Done) -> Result<Option<(Timestamp, Vec<OrderId>)>, Error> {
        let mut after = (Timestamp::MIN, DisputeId(Uuid::nil()));
        loop {
            let page = self.repository.next_deadlines(after, PAGE).await?;
            let Some(last) = page.last().map(|last| (last.time, last.dispute)) else { return Ok(None) };
            let mut due = page.into_iter().filter(|deadline| deadline.time <= to && !done.has(deadline));
            let Some(Deadline { time, order, .. }) = due.next() else {
                if last.0 > to {
                    return Ok(None);
                }
                after = last;
                continue;
            };
            let mut orders = vec![order];
            for same in due.take_while(|deadline| deadline.time == time) {
                if !orders.contains(&same.order) {
                    orders.push(same.order);
                }
            }
            return Ok(Some((time, orders)));
        }
    }
}
