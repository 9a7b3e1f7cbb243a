//! Judges a batch: in the transaction that will write it, or ahead, while the batch before it is being written and committed.
//!
//! What is judged ahead does not know what the batch before it has written. So submissions that touch an order of that one
//! are left out, no event is dated before its last one, and all of it counts only if that batch is committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::committer::EncodeEvent;
use super::queue::{Submission, Waiting};
use super::unit_of_work::{Reply, UnitOfWork};
use crate::chance::mint_id;
use crate::clock::{Asked, Clock, RealInstant, Uncertain, real_now};
use crate::domain::{EventId, OrderId, Policy, Timestamp, UserId};
use crate::repository::{Changes, Repository, StorageError, Times, Transaction, Version, in_time};

/// What batches are judged with.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) repository: Arc<Repository>,
    pub(super) clock: Clock,
    pub(super) policy: Arc<Policy>,
    pub(super) encode: EncodeEvent,
}

/// What came of a submission.
pub(super) enum Judgement {
    /// It was judged.
    Judged(Reply),
    /// Another transaction has locked its order.
    Locked,
    /// The batch before it changes its order, and is being written.
    Ahead,
}

/// A judged batch, before it is written.
pub(super) struct Judged {
    /// One per submission.
    pub(super) judgements: Vec<Judgement>,
    /// What is to be written.
    pub(super) changes: Changes,
    /// The earliest instant at which time will bring something on what is pending after it.
    pub(super) earliest_deadline: Option<Timestamp>,
    /// What the next batch does not see until this one is committed.
    pub(super) unseen: Unseen,
}

/// What a batch changes that is not committed yet.
#[derive(Clone, Default)]
pub(super) struct Unseen {
    /// The orders that it changes, or of which it changes a dispute. Others that it has only looked at can be judged: otherwise
    /// two commands on one order could keep each other waiting from batch to batch.
    orders: HashSet<OrderId>,
    /// The sellers of whose quota it takes or frees a place.
    sellers: HashSet<UserId>,
    /// The time of its last event.
    last_event: Option<Timestamp>,
}

/// A batch that is next, and what was judged of it ahead, if anything.
pub(super) struct Next {
    pub(super) batch: Vec<Waiting>,
    pub(super) ahead: Option<Ahead>,
}

/// A batch that was judged ahead, in a transaction that has not written yet.
pub(super) struct Ahead {
    pub(super) transaction: Transaction,
    pub(super) judged: Judged,
    /// The state of the database that it is based on.
    pub(super) version: Version,
    /// How long that took.
    pub(super) took: Duration,
    /// When it was done.
    pub(super) ready: RealInstant,
}

impl Judge {
    /// Judges a batch while the one before it is being written. If that fails, for whatever reason, nothing is judged:
    /// it is then done in its turn.
    pub(super) async fn judge_ahead(self: Arc<Self>, batch: Vec<Waiting>, unseen: Unseen, version: Version) -> Next {
        let began = real_now();
        let judge = async {
            let transaction = self.repository.begin_ahead().await?;
            let judged = self.judge(&transaction, &batch, &unseen).await?;
            Ok((transaction, judged))
        };
        let ahead = match in_time(judge).await {
            Ok((transaction, Ok(judged))) => {
                Some(Ahead { transaction, judged, version, took: began.elapsed(), ready: real_now() })
            }
            Ok((_, Err(Uncertain))) | Err(_) => None,
        };
        Next { batch, ahead }
    }

    /// Judges a batch; [`Uncertain`] if there is no certain time to judge it by.
    pub(super) async fn judge(
        &self,
        transaction: &Transaction,
        batch: &[Waiting],
        unseen: &Unseen,
    ) -> Result<Result<Judged, Uncertain>, StorageError> {
        let (mut work, keys, known) = UnitOfWork::load(transaction, batch, &self.policy).await?;
        // After the locks: a command that waited for one must not be judged by an older time.
        let asked = self.clock.ask();
        let (times, records) = match known {
            Some(known) => known,
            None => transaction.times_and_records(&keys).await?,
        };
        let times = self.times(asked, Times { last_event: times.last_event.max(unseen.last_event), ..times });
        work.add_records(transaction, records).await?;
        let (now, event_time) = match times {
            Ok(times) => times,
            // Nothing is judged or dated by it: entries carry the time that the service shows.
            Err(Uncertain) if batch.iter().all(is_disclosure) => (self.clock.now(), Timestamp::MIN),
            Err(uncertain) => return Ok(Err(uncertain)),
        };
        work.set_time(now, event_time);
        work.load_quotas(transaction, batch, &self.policy).await?;
        let judged = batch.iter().map(|Waiting { submission, .. }| self.judge_one(&mut work, submission, unseen));
        let judgements = judged.collect();
        let earliest_deadline = work.earliest_deadline();
        let (last_event, sellers) = (work.last_event(), work.quotas.changed().clone());
        let changes = work.into_changes(|recorded, trace| {
            let id = EventId(mint_id());
            (id, (self.encode)(id, recorded, trace))
        });
        let unseen = Unseen { orders: changes.orders().cloned().collect(), sellers, last_event };
        Ok(Ok(Judged { judgements, changes, earliest_deadline, unseen }))
    }

    fn judge_one(&self, work: &mut UnitOfWork, submission: &Submission, unseen: &Unseen) -> Judgement {
        let seller = work.seller_of_quota(submission);
        if work.touches(submission, &unseen.orders) || seller.is_some_and(|seller| unseen.sellers.contains(seller)) {
            return Judgement::Ahead;
        }
        if work.is_busy(submission) || seller.is_some_and(|seller| work.quotas.is_busy(seller)) {
            return Judgement::Locked;
        }
        if seller.is_some_and(|seller| !work.quotas.is_known(seller)) {
            return Judgement::Ahead;
        }
        Judgement::Judged(match submission {
            Submission::Dispute { caller, command, request, trace, .. } => {
                work.set_trace(*trace);
                Reply::Dispute(Box::new(work.judge(caller, command, *request, &self.policy)))
            }
            Submission::Orders { caller, reports, trace, .. } => {
                work.set_trace(*trace);
                Reply::Orders(work.judge_orders(caller, reports, &self.policy))
            }
            Submission::Disclosure { caller, reasons, .. } => {
                work.record_disclosure(caller, reasons);
                Reply::Recorded
            }
            Submission::PassTime { orders, .. } => {
                work.set_trace(None);
                Reply::TimePassed(work.pass_time(orders, &self.policy))
            }
        })
    }

    /// Returns the time that commands are judged by (the database's, if replicas share one) and the earliest time of
    /// new events. The latter is after the last event of the log, even if the clock was set back, so that every change
    /// after a listing is later than everything it showed. Only a manual clock can stand still; several events then
    /// have the same time. The clock must be certain at this very instant: it can jump between two checks of its
    /// watchers.
    pub(super) fn times(&self, asked: Asked, times: Times) -> Result<(Timestamp, Timestamp), Uncertain> {
        let now = self.clock.certain(asked, times.clock)?;
        let stands_still = self.clock.is_manual() && times.last_event == Some(now);
        let after_the_last = times.last_event.filter(|_| !stands_still).map(Timestamp::next);
        Ok((now, after_the_last.map_or(now, |after| after.max(now))))
    }
}

/// Whether a submission only records what a caller is shown.
pub(super) fn is_disclosure(waiting: &Waiting) -> bool {
    matches!(waiting.submission, Submission::Disclosure { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::queue::tests::import;

    #[tokio::test]
    async fn what_a_batch_only_leaves_to_the_next_one_keeps_nothing_from_that() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
        let repository = Arc::new(Repository::connect(&url).await.unwrap());
        repository.migrate().await.unwrap();
        let (clock, _manual) = Clock::manual(Timestamp::MIN);
        let policy = Arc::new(Policy::default());
        let judge = Judge { repository: repository.clone(), clock, policy, encode: |_, _, _| Vec::new() };

        let first = repository.begin().await.unwrap();
        let Ok(Ok(judged)) = judge.judge(&first, &[Waiting::new(import(1, 1))], &Unseen::default()).await else {
            panic!()
        };
        let order = OrderId::parse("o0").unwrap();
        assert!(judged.unseen.orders.contains(&order), "it has changed the order");
        first.commit(judged.changes).await.unwrap();

        // The next batch was judged before that, and has to leave the order to the one after it.
        let second = repository.begin_ahead().await.unwrap();
        let Ok(Ok(left)) = judge.judge(&second, &[Waiting::new(import(1, 1))], &judged.unseen).await else { panic!() };
        assert!(matches!(left.judgements[..], [Judgement::Ahead]));
        assert!(left.unseen.orders.is_empty(), "which must not leave it to yet another one");

        drop(second);
        let third = repository.begin_ahead().await.unwrap();
        let Ok(Ok(done)) = judge.judge(&third, &[Waiting::new(import(1, 1))], &left.unseen).await else { panic!() };
        assert!(matches!(done.judgements[..], [Judgement::Judged(_)]));
    }
}
