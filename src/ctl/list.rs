//! `list`: the disputes that an agent must look at, or that the filters name.

use std::collections::HashSet;
use std::io::Write;

use prost_types::Timestamp;

use super::error::CtlError;
use super::json::Json;
use super::service::Service;
use super::table;
use super::words::{awaiting, deadline, on_the_table, settlement_status, word};
use crate::config::ListFlags;
use crate::proto::v1::{self, DisputeStatus};
use crate::stderr;

/// The statuses in the order in which they are read: each group newest first, but pending disputes the most urgent first, and
/// all that are escalated. A dispute that moves on meanwhile is found in the next group.
const GROUPS: [&[DisputeStatus]; 3] = [
    &[DisputeStatus::Pending],
    &[DisputeStatus::Escalated],
    &[
        DisputeStatus::Accepted,
        DisputeStatus::Declined,
        DisputeStatus::Answered,
        DisputeStatus::Withdrawn,
        DisputeStatus::Expired,
        DisputeStatus::Superseded,
        DisputeStatus::Decided,
    ],
];

/// The most disputes on a page.
const PAGE: usize = 500;

/// Prints the disputes.
pub(super) async fn run(
    service: &Service,
    flags: &ListFlags,
    json: Option<&Json>,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let limit = usize::try_from(flags.limit).unwrap_or(usize::MAX);
    let mut groups: [Found; 3] = Default::default();
    for (found, statuses) in groups.iter_mut().zip(GROUPS) {
        let statuses: Vec<_> = statuses.iter().copied().filter(|status| is_wanted(flags, *status)).collect();
        if !statuses.is_empty() {
            // One more than is shown: so it is known whether there are more.
            let room = if statuses == [DisputeStatus::Escalated] { usize::MAX } else { limit.saturating_add(1) };
            found.read(service, request(flags, &statuses), room).await?;
        }
    }
    // What has waited longest comes first, and is what nobody may miss.
    let [_, escalated, _] = &mut groups;
    escalated.disputes.sort_by_key(|dispute| dispute.update_time.map(|time| (time.seconds, time.nanos)));
    let mut found = Found::listed(groups);
    let has_more = found.disputes.len() > limit;
    found.disputes.truncate(limit);
    match json {
        Some(json) => {
            for dispute in &found.disputes {
                writeln!(out, "{}", json.line("Dispute", dispute)?)?;
            }
        }
        None if found.disputes.is_empty() => writeln!(out, "No such disputes.")?,
        None => print(&found, out)?,
    }
    if has_more {
        stderr::say(&format!("More disputes match than the {limit} that --limit allows."));
    }
    Ok(())
}

/// Whether disputes in this status are listed.
fn is_wanted(flags: &ListFlags, status: DisputeStatus) -> bool {
    let is_open = matches!(status, DisputeStatus::Escalated | DisputeStatus::Pending);
    match flags.statuses.as_slice() {
        // Only a resolved dispute has a settlement.
        [] => is_open || flags.all || !flags.settlement_statuses.is_empty(),
        statuses => statuses.contains(&status),
    }
}

fn request(flags: &ListFlags, statuses: &[DisputeStatus]) -> v1::ListDisputesRequest {
    v1::ListDisputesRequest {
        order_id: flags.order_id.clone().unwrap_or_default(),
        party_id: flags.party_id.clone().unwrap_or_default(),
        kinds: flags.kinds.iter().map(|kind| (*kind).into()).collect(),
        statuses: statuses.iter().map(|status| (*status).into()).collect(),
        settlement_statuses: flags.settlement_statuses.iter().map(|status| (*status).into()).collect(),
        order_by_respond_by: statuses == [DisputeStatus::Pending],
        ..Default::default()
    }
}

/// What was read so far.
#[derive(Default)]
struct Found {
    disputes: Vec<v1::Dispute>,
    server_time: Option<Timestamp>,
}

impl Found {
    /// The groups as one list: what needs an agent first. Of a dispute that was found twice, what was read last.
    fn listed([pending, escalated, resolved]: [Self; 3]) -> Self {
        let server_time = [&resolved, &escalated, &pending].into_iter().find_map(|group| group.server_time);
        let mut later = HashSet::new();
        let mut new_in = |group: Self| -> Vec<v1::Dispute> {
            let is_new = |dispute: &v1::Dispute| later.insert(dispute.dispute_id.clone());
            group.disputes.into_iter().filter(is_new).collect()
        };
        let [resolved, escalated, pending] = [resolved, escalated, pending].map(&mut new_in);
        Self { disputes: [escalated, pending, resolved].concat(), server_time }
    }

    /// Reads pages until there is no room, or nothing more.
    async fn read(
        &mut self,
        service: &Service,
        mut request: v1::ListDisputesRequest,
        mut room: usize,
    ) -> Result<(), CtlError> {
        loop {
            request.page_size = i32::try_from(room.min(PAGE)).unwrap_or(i32::MAX);
            let page = service.disputes(async |mut client| client.list_disputes(request.clone()).await).await?;
            room = room.saturating_sub(page.disputes.len());
            self.disputes.extend(page.disputes);
            self.server_time = page.server_time;
            request.page_token = page.next_page_token;
            if room == 0 || request.page_token.is_empty() {
                return Ok(());
            }
        }
    }
}

fn print(found: &Found, out: &mut impl Write) -> Result<(), CtlError> {
    let row = |dispute: &v1::Dispute| {
        [
            dispute.dispute_id.clone(),
            dispute.order_id.clone(),
            word(dispute.kind, v1::DisputeKind::as_str_name),
            word(dispute.status, DisputeStatus::as_str_name),
            on_the_table(dispute),
            awaiting(dispute),
            respond_by(dispute, found.server_time.as_ref()),
            settlement_status(dispute.settlement.as_ref()),
        ]
    };
    let rows: Vec<_> = found.disputes.iter().map(row).collect();
    let headings = ["dispute", "order", "kind", "status", "on the table", "awaiting", "respond by", "settlement"];
    Ok(table::print(out, headings, &rows)?)
}

/// The deadline, while there is one.
fn respond_by(dispute: &v1::Dispute, now: Option<&Timestamp>) -> String {
    let respond_by = dispute.respond_by.as_ref().filter(|_| dispute.status() == DisputeStatus::Pending);
    deadline(respond_by, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> ListFlags {
        let arguments = ["dispute-service", "ctl", "list"].iter().chain(arguments);
        let line = crate::config::CommandLine::read(arguments.map(std::ffi::OsString::from)).unwrap();
        match line.action {
            Some(crate::config::Action::Ctl(flags)) => match flags.task {
                crate::config::CtlTask::List(flags) => flags,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn wanted(arguments: &[&str]) -> Vec<DisputeStatus> {
        let flags = flags(arguments);
        GROUPS.concat().into_iter().filter(|status| is_wanted(&flags, *status)).collect()
    }

    #[test]
    fn what_is_open_is_listed_unless_something_else_is_asked_for() {
        use DisputeStatus::{Decided, Escalated, Pending};
        assert_eq!(wanted(&[]), [Pending, Escalated]);
        assert_eq!(wanted(&["--status", "decided", "--status", "pending"]), [Pending, Decided]);
        assert_eq!(wanted(&["--all"]).len(), 9);
        assert_eq!(wanted(&["--settlement-status", "due"]).len(), 9);
        assert_eq!(wanted(&["--settlement-status", "due", "--status", "decided"]), [Decided]);
    }

    #[test]
    fn a_dispute_that_moves_on_while_the_list_is_read_is_listed_once_where_it_is_now() {
        let group = |ids: &[&str]| Found {
            disputes: ids.iter().map(|id| v1::Dispute { dispute_id: (*id).to_owned(), ..Default::default() }).collect(),
            server_time: None,
        };
        let listed = Found::listed([group(&["a", "b", "c"]), group(&["b", "d"]), group(&["d", "e"])]);
        let ids: Vec<_> = listed.disputes.iter().map(|dispute| dispute.dispute_id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c", "d", "e"]);
    }

    #[test]
    fn every_status_is_in_a_group() {
        let known = (1..100).filter_map(|number| DisputeStatus::try_from(number).ok());
        assert_eq!(known.filter(|status| !GROUPS.concat().contains(status)).count(), 0);
    }

    #[test]
    fn only_pending_disputes_are_ordered_by_their_deadline() {
        let flags = flags(&["--order-id", "o", "--party-id", "p", "--kind", "order-update"]);
        let [pending, escalated, _] = GROUPS.map(|statuses| request(&flags, statuses));
        assert_eq!((escalated.order_by_respond_by, pending.order_by_respond_by), (false, true));
        assert_eq!((pending.order_id.as_str(), pending.party_id.as_str()), ("o", "p"));
        assert_eq!((pending.kinds().collect(), pending.statuses), (vec![v1::DisputeKind::OrderUpdate], vec![1]));
    }
}
