//! `ListDisputes`: pages of disputes, and where they go on.

use uuid::Uuid;

use super::{Call, Class, Rpc};
use crate::domain::{Caller, ConfidentialReason, DisputeId, Operation};
use crate::engine::{DisputePage, DisputeQuery, Fitting, Found, Position, ResumeToken, Side, Sort};
use crate::grpc::pages::Binding;
use crate::grpc::responses;
use crate::grpc::rpc::declaration::numbers;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new("/disputes.v1.DisputeService/ListDisputes", Class::List, Operation::ListDisputes)
    .lists(&[numbers(4, "kinds"), numbers(5, "statuses"), numbers(6, "settlement_statuses")]);

/// A page of disputes ends before it is too large for clients, whatever its size in rows.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// What is looked for, and how many are wanted.
pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::ListDisputesRequest,
) -> Result<(DisputeQuery, usize), Failure> {
    let order = if request.order_id.is_empty() {
        Some(None)
    } else {
        violations.order_id("order_id", &request.order_id).map(Some)
    };
    let party = violations.optional_user_id("party_id", &request.party_id);
    let side = violations.optional_value("side", request.side, |side: v1::DisputeSide| match side {
        v1::DisputeSide::Unspecified => None,
        v1::DisputeSide::Opener => Some(Side::Opener),
        v1::DisputeSide::Responder => Some(Side::Responder),
    });
    if caller.scope.is_some() && request.side != 0 && request.party_id.is_empty() {
        violations.add("side", "requires a party_id");
    }
    let kinds =
        violations.list("kinds", &request.kinds, |v, field, kind| v.value(field, *kind, v1::DisputeKind::known));
    let statuses = violations
        .list("statuses", &request.statuses, |v, field, status| v.value(field, *status, v1::DisputeStatus::known));
    let settlement_statuses =
        violations.list("settlement_statuses", &request.settlement_statuses, |v, field, status| {
            v.value(field, *status, v1::SettlementStatus::known)
        });
    let updated_after = violations.instant("updated_after", request.updated_after.as_ref());
    let size = violations.page_size(request.page_size);
    let fields = || Some((order?, party?, side?, updated_after?, size?));
    let (order, party, side, updated_after, size) = violations.finish(fields())?;
    let query = DisputeQuery {
        visible_to: caller.sees_only().cloned(),
        disputes: Vec::new(),
        orders: order.into_iter().collect(),
        party,
        side,
        kinds: kinds.into_iter().collect(),
        statuses: statuses.into_iter().collect(),
        settlement_statuses: settlement_statuses.into_iter().collect(),
        open: false,
        updated_after,
        sort: if request.order_by_respond_by { Sort::MostUrgentFirst } else { Sort::NewestFirst },
        after: None,
        up_to: None,
        limit: size.saturating_add(1) as u64,
    };
    Ok((query, size))
}

pub(super) async fn run(call: Call<'_>, request: v1::ListDisputesRequest) -> Result<v1::ListDisputesResponse, Failure> {
    let Call { shared, caller, .. } = call;
    let (mut query, size) = parse(Violations::default(), &caller, &request)?;
    let filter = v1::ListDisputesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let binding = Binding::new("disputes", &filter);
    let page = binding.page(shared.feed.log_id(), &request.page_token, |id| Uuid::parse_str(id).map(DisputeId).ok())?;
    let before = page.map(|page| {
        query.after = Some(page.after);
        Pages::decode(&page.cursor_state).ok_or_else(Failure::page_token_invalid)
    });
    let before = before.transpose()?;
    let DisputePage { rows: found, log, end } =
        shared.reads.disputes(&caller, &query, before.as_ref().map(|pages| pages.last)).await?;
    let pages = Pages { first: before.map_or(end, |pages| pages.first), last: end };
    let now = shared.clock.now();
    let wanted = found.get(..size).unwrap_or(&found);
    let encode = |found: &Found| {
        let shown = found.shown(&caller, &shared.policy, now);
        (responses::shown_to(&shown, &caller), ConfidentialReason::shown_by(&shown, &caller))
    };
    let Fitting { messages, rows: seen, last } =
        Fitting::of(wanted, PAGE_BYTES, encode, |(dispute, _)| prost::Message::encoded_len(dispute));
    let (disputes, reasons): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    shared.committer.disclose(&caller, reasons.into_iter().flatten().collect()).await?;
    let last = last.filter(|_| found.len() > seen);
    let next_page_token = last.map(|(time, id)| binding.token(log, time, &id.to_string(), &pages.encode()));
    Ok(v1::ListDisputesResponse {
        disputes,
        next_page_token: next_page_token.unwrap_or_default(),
        resume_token: ResumeToken::of(log, pages.first).encode(),
        server_time: Some(responses::timestamp(now)),
    })
}

/// What the pages of a list leave to the next one.
pub(in crate::grpc) struct Pages {
    /// Where the log was at the moment of the first page: whatever it does not show comes after that.
    first: Position,
    /// Where it was at the moment of the last one.
    last: Position,
}

impl Pages {
    fn encode(&self) -> Vec<u8> {
        let Self { first, last } = self;
        [first.seq.cast_unsigned(), first.check, last.seq.cast_unsigned(), last.check].map(u64::to_be_bytes).concat()
    }

    pub(in crate::grpc) fn decode(cursor_state: &[u8]) -> Option<Self> {
        let (words, []) = cursor_state.as_chunks::<8>() else { return None };
        let [first, first_check, last, last_check] = words.as_array().copied()?.map(u64::from_be_bytes);
        let place = |seq: u64, check| Position { seq: seq.cast_signed(), check };
        Some(Self { first: place(first, first_check), last: place(last, last_check) })
    }
}
