//! The handlers of `disputes.v1.DisputeService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::pages::Binding;
use super::requests::OnceCommand;
use super::{Shared, auth, encoded, requests, responses, status::Failure, violations::Violations, watch};
use crate::domain::{Caller, Dispute, DisputeId, Refusal, expire_overdue, options};
use crate::proto::server::dispute_service_server::DisputeService;
use crate::proto::v1;
use crate::repository::{DisputeQuery, Side};

/// A page of disputes ends before it is too large for clients, whatever its size in rows.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// `disputes.v1.DisputeService`.
#[derive(Debug)]
pub struct DisputeHandlers {
    shared: Arc<Shared>,
}

impl DisputeHandlers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Has a command done. Answers the dispute as the caller may see it.
    async fn command(&self, caller: Caller, command: OnceCommand) -> Result<Option<v1::Dispute>, Status> {
        let (command, once) = command;
        let dispute = self.shared.committer.dispute(caller.clone(), command, once).await?;
        Ok(Some(responses::dispute_for(&dispute, &caller)))
    }

    async fn get(&self, caller: &Caller, id: &str) -> Result<Dispute, Failure> {
        let mut violations = Violations::default();
        let id = violations.dispute_id("dispute_id", id);
        let id = violations.finish(id)?;
        let dispute = self.shared.repository.dispute(id).await?;
        let visible = dispute.filter(|dispute| dispute.parties.may_be_seen_by(caller));
        visible.ok_or_else(|| Refusal::DisputeNotFound { dispute: id }.into())
    }

    async fn options(&self, caller: &Caller, id: &str) -> Result<v1::GetDisputeOptionsResponse, Failure> {
        let mut violations = Violations::default();
        let id = violations.order_id("order_id", id);
        let id = violations.finish(id)?;
        let case = self.shared.repository.case(&id).await?;
        let Some(case) = case.filter(|case| case.order.parties.may_be_seen_by(caller)) else {
            return Err(Refusal::OrderNotFound { order: id }.into());
        };
        let Some(role) = case.order.parties.role_of(caller) else {
            return Err(Refusal::WrongRole.into());
        };
        let now = self.shared.clock.now();
        // What is overdue is shown as it will be judged, whether or not that has been recorded yet.
        let case = expire_overdue(&case, now).map_or(case, |decision| decision.case);
        let open = case.disputes.iter().filter(|dispute| dispute.is_pending());
        Ok(v1::GetDisputeOptionsResponse {
            role: v1::PartyRole::from(role).into(),
            options: options(&case, role, &self.shared.policy)
                .iter()
                .map(|option| responses::option(option, role))
                .collect(),
            open_disputes: open.map(|dispute| responses::dispute_for(dispute, caller)).collect(),
            server_time: Some(responses::timestamp(now)),
        })
    }

    async fn list(
        &self,
        caller: Caller,
        request: v1::ListDisputesRequest,
    ) -> Result<v1::ListDisputesResponse, Failure> {
        let mut violations = Violations::default();
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
            violations.add("side", "needs a party_id");
        }
        let kinds =
            violations.list("kinds", &request.kinds, |v, field, kind| v.value(field, *kind, v1::DisputeKind::known));
        let statuses = violations
            .list("statuses", &request.statuses, |v, field, status| v.value(field, *status, v1::DisputeStatus::known));
        let size = violations.page_size(request.page_size);
        let fields = || Some((order?, party?, side?, size?));
        let (order, party, side, size) = violations.finish(fields())?;
        let filter = v1::ListDisputesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let binding = Binding::new("disputes", &filter);
        let before = binding.key(&request.page_token, |id| Uuid::parse_str(id).map(DisputeId).ok())?;
        let query = DisputeQuery {
            visible_to: caller.scope.is_none().then(|| caller.user.clone()),
            order,
            party,
            side,
            kinds: kinds.into_iter().collect(),
            statuses: statuses.into_iter().collect(),
            before,
            limit: size.saturating_add(1) as u64,
        };
        let found = self.shared.repository.disputes(&query).await?;
        let mut disputes = Vec::with_capacity(found.len().min(size));
        let mut bytes = 0_usize;
        for dispute in found.iter().take(size) {
            let message = responses::dispute_for(dispute, &caller);
            bytes = bytes.saturating_add(prost::Message::encoded_len(&message));
            if bytes > PAGE_BYTES && !disputes.is_empty() {
                break;
            }
            disputes.push(message);
        }
        let last =
            disputes.len().checked_sub(1).and_then(|last| found.get(last)).filter(|_| found.len() > disputes.len());
        let next_page_token = last.map(|last| binding.token(last.create_time, &last.id.to_string()));
        Ok(v1::ListDisputesResponse {
            disputes,
            next_page_token: next_page_token.unwrap_or_default(),
            server_time: Some(responses::timestamp(self.shared.clock.now())),
        })
    }

    async fn list_events(
        &self,
        caller: &Caller,
        request: &v1::ListDisputeEventsRequest,
    ) -> Result<encoded::ListDisputeEventsResponse, Failure> {
        use v1::list_dispute_events_request::Start;
        let mut violations = Violations::default();
        let filter = requests::event_filter(&mut violations, caller, request.filter.as_ref());
        let size = violations.page_size(request.page_size);
        let (filter, size) = violations.finish(filter.zip(size))?;
        let (token, from_beginning) = match &request.start {
            Some(Start::ResumeToken(token)) => (Some(token.as_str()), false),
            Some(Start::FromBeginning(from_beginning)) => (None, *from_beginning),
            None => (None, false),
        };
        let feed = &self.shared.feed;
        let start = feed.start(requests::start(token, from_beginning)?).await?;
        let page = feed.list(start, &filter, size).await?;
        Ok(encoded::ListDisputeEventsResponse {
            events: page.events.iter().map(|event| event.payload.clone()).collect(),
            resume_token: feed.token(page.position).encode(),
            more: page.more,
        })
    }
}

#[tonic::async_trait]
impl DisputeService for DisputeHandlers {
    async fn get_dispute_options(
        &self,
        request: Request<v1::GetDisputeOptionsRequest>,
    ) -> Result<Response<v1::GetDisputeOptionsResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(self.options(&caller, &request.get_ref().order_id).await?))
    }

    async fn list_reasons(
        &self,
        request: Request<v1::ListReasonsRequest>,
    ) -> Result<Response<v1::ListReasonsResponse>, Status> {
        auth::caller(&request)?;
        Ok(Response::new(v1::ListReasonsResponse { reasons: responses::all_reasons() }))
    }

    async fn offer_partial_refund(
        &self,
        request: Request<v1::OfferPartialRefundRequest>,
    ) -> Result<Response<v1::OfferPartialRefundResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::offer_partial_refund(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::OfferPartialRefundResponse { dispute }))
    }

    async fn request_cancellation(
        &self,
        request: Request<v1::RequestCancellationRequest>,
    ) -> Result<Response<v1::RequestCancellationResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::request_cancellation(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::RequestCancellationResponse { dispute }))
    }

    async fn request_order_update(
        &self,
        request: Request<v1::RequestOrderUpdateRequest>,
    ) -> Result<Response<v1::RequestOrderUpdateResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::request_order_update(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::RequestOrderUpdateResponse { dispute }))
    }

    async fn accept_dispute(
        &self,
        request: Request<v1::AcceptDisputeRequest>,
    ) -> Result<Response<v1::AcceptDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::accept_dispute(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::AcceptDisputeResponse { dispute }))
    }

    async fn decline_dispute(
        &self,
        request: Request<v1::DeclineDisputeRequest>,
    ) -> Result<Response<v1::DeclineDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::decline_dispute(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::DeclineDisputeResponse { dispute }))
    }

    async fn answer_order_update(
        &self,
        request: Request<v1::AnswerOrderUpdateRequest>,
    ) -> Result<Response<v1::AnswerOrderUpdateResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::answer_order_update(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::AnswerOrderUpdateResponse { dispute }))
    }

    async fn withdraw_dispute(
        &self,
        request: Request<v1::WithdrawDisputeRequest>,
    ) -> Result<Response<v1::WithdrawDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::withdraw_dispute(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::WithdrawDisputeResponse { dispute }))
    }

    async fn get_dispute(
        &self,
        request: Request<v1::GetDisputeRequest>,
    ) -> Result<Response<v1::GetDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        let dispute = self.get(&caller, &request.get_ref().dispute_id).await?;
        Ok(Response::new(v1::GetDisputeResponse {
            dispute: Some(responses::dispute_for(&dispute, &caller)),
            server_time: Some(responses::timestamp(self.shared.clock.now())),
        }))
    }

    async fn list_disputes(
        &self,
        request: Request<v1::ListDisputesRequest>,
    ) -> Result<Response<v1::ListDisputesResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(self.list(caller, request.into_inner()).await?))
    }

    async fn list_dispute_events(
        &self,
        request: Request<v1::ListDisputeEventsRequest>,
    ) -> Result<Response<encoded::ListDisputeEventsResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(self.list_events(&caller, request.get_ref()).await?))
    }

    type WatchDisputesStream = watch::Events;

    async fn watch_disputes(
        &self,
        request: Request<v1::WatchDisputesRequest>,
    ) -> Result<Response<Self::WatchDisputesStream>, Status> {
        let caller = auth::caller(&request)?;
        let events = watch::watch(self.shared.clone(), &caller, &request).await?;
        Ok(Response::new(events))
    }
}
