//! The handlers of `disputes.v1.DisputeService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::requests::IdempotentCommand;
use super::{
    Shared, auth, encoded, lists, requests, responses,
    status::Failure,
    transport,
    violations::{Violations, is_of_the_list},
    watch,
};
use crate::domain::{Caller, Currency, DisputeId, OrderId, Subject, options};
use crate::engine::OptionsFound;
use crate::proto::Money as ProtoMoney;
use crate::proto::server::dispute_service_server::DisputeService;
use crate::proto::v1;

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
    async fn command(&self, caller: Caller, command: IdempotentCommand) -> Result<Option<v1::Dispute>, Status> {
        let (command, once) = command;
        self.shared.rates.admit_texts(&caller, command.text_bytes())?;
        let amount = requests::field_of_the_amount(&command);
        let done = self.shared.committer.dispute(caller.clone(), command, once, transport::trace()).await;
        let view = done.map_err(|error| Failure::from(error).of_amount(amount))?;
        Ok(Some(responses::dispute_for(&view, &caller)))
    }

    /// The currency of the order that an amount is about, where the amount cannot be read without, and if the caller may
    /// see the order: nobody else learns of it.
    async fn currency(
        &self,
        caller: &Caller,
        amount: Option<(&ProtoMoney, Subject)>,
    ) -> Result<Option<Currency>, Failure> {
        let Some((_, subject)) = amount.filter(|(amount, _)| !is_of_the_list(amount)) else { return Ok(None) };
        Ok(self.shared.reads.currency(caller, subject).await?)
    }

    async fn get(&self, caller: &Caller, id: &str) -> Result<v1::GetDisputeResponse, Failure> {
        let mut violations = Violations::default();
        let id = violations.dispute_id("dispute_id", id);
        let id = violations.finish(id)?;
        let found = self.shared.reads.dispute(caller, id).await?;
        let now = self.shared.clock.now();
        Ok(v1::GetDisputeResponse {
            dispute: Some(responses::shown_to(&found.shown(caller, &self.shared.policy, now), caller)),
            server_time: Some(responses::timestamp(now)),
        })
    }

    async fn options(
        &self,
        caller: &Caller,
        request: &v1::GetDisputeOptionsRequest,
    ) -> Result<v1::GetDisputeOptionsResponse, Failure> {
        let Shared { reads, policy, support_url, translations, .. } = &*self.shared;
        let mut violations = Violations::default();
        let id = violations.order_id("order_id", &request.order_id);
        let id = violations.finish(id)?;
        let OptionsFound { aggregate, role, standing, now } = reads.options(caller, id).await?;
        let texts = translations.of(&request.language_code);
        let options = options(&aggregate, role, standing.as_ref(), policy, now);
        let shown = |dispute| Some(responses::shown_to(&aggregate.show(dispute, caller, policy, now)?, caller));
        Ok(v1::GetDisputeOptionsResponse {
            role: v1::PartyRole::from(role).into(),
            options: options.iter().map(|option| responses::option(option, role, texts, policy)).collect(),
            advice: texts.advice(role).to_owned(),
            support: Some(v1::SupportContact { url: support_url.clone(), text: texts.support().to_owned() }),
            open_disputes: aggregate.order_view().open_disputes.into_iter().filter_map(shown).collect(),
            server_time: Some(responses::timestamp(now)),
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
        Ok(Response::new(self.options(&caller, request.get_ref()).await?))
    }

    async fn list_reasons(
        &self,
        request: Request<v1::ListReasonsRequest>,
    ) -> Result<Response<v1::ListReasonsResponse>, Status> {
        auth::caller(&request)?;
        let texts = self.shared.translations.of(&request.get_ref().language_code);
        Ok(Response::new(v1::ListReasonsResponse { reasons: responses::all_reasons(texts) }))
    }

    async fn offer_partial_refund(
        &self,
        request: Request<v1::OfferPartialRefundRequest>,
    ) -> Result<Response<v1::OfferPartialRefundResponse>, Status> {
        let caller = auth::caller(&request)?;
        let asked = request.get_ref();
        let named = asked.amount.as_ref().zip(OrderId::parse(&asked.order_id).ok().map(Subject::Order));
        let currency = self.currency(&caller, named).await?;
        let command = requests::offer_partial_refund(&caller, asked, currency)?;
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

    async fn request_delivery_extension(
        &self,
        request: Request<v1::RequestDeliveryExtensionRequest>,
    ) -> Result<Response<v1::RequestDeliveryExtensionResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::request_delivery_extension(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::RequestDeliveryExtensionResponse { dispute }))
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

    async fn escalate_dispute(
        &self,
        request: Request<v1::EscalateDisputeRequest>,
    ) -> Result<Response<v1::EscalateDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::escalate_dispute(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::EscalateDisputeResponse { dispute }))
    }

    async fn decide_dispute(
        &self,
        request: Request<v1::DecideDisputeRequest>,
    ) -> Result<Response<v1::DecideDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        let asked = request.get_ref();
        let refund = match &asked.decision {
            Some(v1::decide_dispute_request::Decision::Refund(refund)) => Some(refund),
            Some(_) | None => None,
        };
        let dispute = asked.dispute_id.parse().ok().map(|id| Subject::Dispute(DisputeId(id)));
        let currency = self.currency(&caller, refund.zip(dispute)).await?;
        let command = requests::decide_dispute(&caller, asked, currency)?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::DecideDisputeResponse { dispute }))
    }

    async fn postpone_deadline(
        &self,
        request: Request<v1::PostponeDeadlineRequest>,
    ) -> Result<Response<v1::PostponeDeadlineResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::postpone_deadline(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::PostponeDeadlineResponse { dispute }))
    }

    async fn report_settlement(
        &self,
        request: Request<v1::ReportSettlementRequest>,
    ) -> Result<Response<v1::ReportSettlementResponse>, Status> {
        let caller = auth::caller(&request)?;
        let command = requests::report_settlement(&caller, request.get_ref())?;
        let dispute = self.command(caller, command).await?;
        Ok(Response::new(v1::ReportSettlementResponse { dispute }))
    }

    async fn get_dispute(
        &self,
        request: Request<v1::GetDisputeRequest>,
    ) -> Result<Response<v1::GetDisputeResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(self.get(&caller, &request.get_ref().dispute_id).await?))
    }

    async fn list_disputes(
        &self,
        request: Request<v1::ListDisputesRequest>,
    ) -> Result<Response<v1::ListDisputesResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(lists::disputes(&self.shared, &caller, &request.into_inner()).await?))
    }

    async fn list_dispute_events(
        &self,
        request: Request<v1::ListDisputeEventsRequest>,
    ) -> Result<Response<encoded::ListDisputeEventsResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(lists::events(&self.shared, &caller, request.get_ref()).await?))
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
