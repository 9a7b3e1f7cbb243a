//! How everything open stands, for a subscriber who begins.
//!
//! It is read page by page, each at a moment of its own, for as long as the subscriber takes. What happened meanwhile
//! follows in the log, and must come neither twice nor be missed. With each page comes the head of the log at its
//! moment: a dispute that a page shows has every event up to that head behind it. One that no page shows was resolved
//! by then, and its events are sent. Which of the two it is the log itself tells, so that all there is to remember,
//! here and in a token, is where each page ended and when it was read.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;

use super::Shared;
use super::responses;
use super::violations::known_instant;
use crate::clock::mint_id;
use crate::domain::{DisputeId, DisputeStatus, EventId, EventType};
use crate::engine::{Error, EventFilter, Position, ShownPage, SnapshotState};
use crate::proto::v1;
use crate::repository::{DisputeQuery, LoggedEvent, Sort};

/// How many disputes one read looks at …
const PAGE: usize = 256;
/// … and the size that the disputes in one message do not exceed, unless a single one does.
const PAGE_BYTES: usize = 1024 * 1024;

/// How many events one read of the log looks for.
const EVENTS: usize = 256;

/// The snapshot of one stream.
#[derive(Default)]
pub(super) struct Snapshot {
    /// The pages that were sent, those that were read at the same head as one.
    pages: Vec<ShownPage>,
    /// Whether the last of them is the last one. What is opened from then on follows in the log.
    all_read: bool,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    /// There is more to send.
    #[default]
    Reading,
    /// Everything was sent, and can be what the log goes on with.
    Complete {
        /// Of the disputes that a page shows and that have events behind it: up to which event.
        shown: HashMap<DisputeId, i64>,
    },
    /// It was sent on another stream, which was resumed on this one.
    Resumed,
}

impl Snapshot {
    /// The rest of a snapshot that was sent on another stream.
    pub(super) fn resumed(pages: Vec<ShownPage>) -> Self {
        Self { pages, all_read: true, stage: Stage::Resumed }
    }

    /// Whether there is more to send.
    pub(super) fn is_incomplete(&self) -> bool {
        matches!(self.stage, Stage::Reading)
    }

    /// Whether it is not known yet which events it covers.
    pub(super) fn is_resumed(&self) -> bool {
        matches!(self.stage, Stage::Resumed)
    }

    /// What a token says of it.
    pub(super) fn state(&self) -> SnapshotState {
        match self.stage {
            Stage::Reading => SnapshotState::Incomplete,
            Stage::Complete { .. } | Stage::Resumed => SnapshotState::Shown(self.pages.clone()),
        }
    }

    /// Whether nothing that follows `position` can be in it.
    pub(super) fn is_over_at(&self, position: Position) -> bool {
        !self.is_incomplete() && self.pages.last().is_none_or(|last| last.head <= position.seq)
    }

    /// Whether it shows this event.
    pub(super) fn covers(&self, event: &LoggedEvent) -> bool {
        match &self.stage {
            Stage::Complete { shown } => shown.get(&event.dispute).is_some_and(|head| event.seq <= *head),
            Stage::Reading | Stage::Resumed => false,
        }
    }

    /// Reads on: the next open disputes, none if that was all.
    pub(super) async fn read_on(&mut self, shared: &Shared, filter: &EventFilter) -> Result<Vec<Bytes>, Error> {
        if self.all_read {
            return Ok(Vec::new());
        }
        let query = DisputeQuery {
            visible_to: filter.caller.scope.is_none().then(|| filter.caller.user.clone()),
            disputes: filter.disputes.iter().copied().collect(),
            orders: filter.orders.iter().cloned().collect(),
            party: filter.party.clone(),
            kinds: filter.kinds.iter().copied().collect(),
            statuses: vec![DisputeStatus::Pending, DisputeStatus::Escalated],
            sort: Sort::OldestFirst,
            after: self.pages.last().map(|last| last.up_to),
            limit: PAGE as u64,
            ..DisputeQuery::default()
        };
        let (found, head) = shared.repository.disputes_and_head(&query).await?;
        let now = shared.clock.now();
        let mut events: Vec<Bytes> = Vec::with_capacity(found.len());
        let mut bytes = 0_usize;
        let mut up_to = None;
        for (id, case) in &found {
            let Some(dispute) = case.dispute(*id) else { continue };
            let event = responses::encode_snapshot(EventId(mint_id()), case, dispute, now);
            bytes = bytes.saturating_add(event.len());
            if bytes > PAGE_BYTES && !events.is_empty() {
                break;
            }
            events.push(event.into());
            up_to = Some((dispute.create_time, *id));
        }
        self.all_read = events.len() == found.len() && found.len() < PAGE;
        if let Some(up_to) = up_to {
            match self.pages.last_mut().filter(|last| last.head == head) {
                Some(last) => last.up_to = up_to,
                None => self.pages.push(ShownPage { up_to, head }),
            }
        }
        Ok(events)
    }

    /// Finds out, once everything was sent, which of the events after `position` it covers.
    pub(super) async fn complete(
        &mut self,
        shared: &Shared,
        filter: &EventFilter,
        mut position: Position,
    ) -> Result<(), Error> {
        // Whether a dispute was open is told by events of every type.
        let filter = EventFilter { event_types: Default::default(), ..filter.clone() };
        let mut was_open: HashMap<DisputeId, (i64, bool)> = HashMap::new();
        while !self.is_read_up_to(position) {
            let page = shared.feed.list(position, &filter, EVENTS).await?;
            for event in &page.events {
                if let Some(head) = self.head_for(event).filter(|head| event.seq <= *head) {
                    was_open.insert(event.dispute, (head, leaves_open(event.event_type)));
                }
            }
            if page.position == position {
                break;
            }
            position = page.position;
        }
        let shown = was_open.into_iter().filter_map(|(dispute, (head, is_open))| is_open.then_some((dispute, head)));
        self.stage = Stage::Complete { shown: shown.collect() };
        Ok(())
    }

    fn is_read_up_to(&self, position: Position) -> bool {
        self.pages.last().is_none_or(|last| last.head <= position.seq)
    }

    /// The head at which the page was read that shows the event's dispute, if that was open then.
    fn head_for(&self, event: &LoggedEvent) -> Option<i64> {
        let payload = v1::DisputeEvent::decode(event.payload.clone()).ok()?;
        let created = payload.dispute?.create_time?;
        let key = (known_instant(&created)?, event.dispute);
        self.pages.get(self.pages.partition_point(|page| page.up_to < key)).map(|page| page.head)
    }
}

/// Whether a dispute is open after an event of this type.
fn leaves_open(event_type: EventType) -> bool {
    match event_type {
        EventType::Opened
        | EventType::DeadlineApproaching
        | EventType::DeadlineMoved
        | EventType::Escalated
        | EventType::Snapshot => true,
        EventType::Accepted
        | EventType::Declined
        | EventType::Answered
        | EventType::Withdrawn
        | EventType::DeadlineExpired
        | EventType::Superseded
        | EventType::Decided
        | EventType::Settled
        | EventType::SettlementFailed => false,
    }
}
