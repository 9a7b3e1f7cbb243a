//! Trying a command out: it is judged as it would be, on what is stored at one moment, and nothing comes of it.

use std::collections::HashMap;

use super::error::Error;
use super::judge::Judge;
use super::queue::RequestKey;
use super::unit_of_work::UnitOfWork;
use super::wanted::Wanted;
use crate::domain::{Caller, Command, ConfidentialReason, DisputeView, ShownDispute};
use crate::repository::{Peeked, ReadClass};

impl Judge {
    /// What a command would be answered now. Also returns the confidential reason that the answer shows.
    pub(super) async fn try_out(
        &self,
        caller: &Caller,
        command: &Command,
        request: Option<RequestKey>,
    ) -> Result<(DisputeView, Option<ConfidentialReason>), Error> {
        let mut wanted = Wanted::default();
        wanted.add(command, request, &self.policy);
        let (disputes, attempted, keys) = wanted.lists();
        let reader = self.repository.reader(ReadClass::Single, caller).await?;
        let peeked = reader.peek(&wanted.orders, &disputes, &attempted, &keys, &self.clock).await?;
        let Peeked { found, times: (asked, times), records, done } = peeked;
        let (now, event_time) = self.times(asked, times)?;
        let stored = found.aggregates.iter().flat_map(|aggregate| &aggregate.disputes);
        let revisions: HashMap<_, _> = stored.map(|dispute| (dispute.id, dispute.revision)).collect();
        let mut work = UnitOfWork::of(found);
        work.remembers(records);
        work.add_disputes(done);
        work.set_time(now, event_time);
        if let Some(seller) = work.seller_of_quota_of(command).cloned() {
            let used = reader.no_fault_taken(&seller, work.taken(&self.policy)).await?;
            work.quotas.know(seller, used);
        }
        drop(reader);
        let view = work.judge(caller, command, request, &self.policy)?;
        let shown = ConfidentialReason::shown_by(&ShownDispute::Judged(Box::new(view.clone())), caller);
        // The audit names the dispute as it is, not as it would be.
        let as_stored = |reason: ConfidentialReason| {
            let revision = revisions.get(&reason.dispute).copied().unwrap_or(reason.revision);
            ConfidentialReason { revision, ..reason }
        };
        Ok((view, shown.map(as_stored)))
    }
}
