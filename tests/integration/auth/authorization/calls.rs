//! Each RPC, called about an order or a dispute.

use dispute_service::domain::Operation;
use dispute_service::proto::{testing, v1};
use tonic::codegen::tokio_stream::once;
use tonic::{Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb;

use super::Outcome;
use super::world::{Caller, ELSEWHERE, Stage, Subject};
use crate::support::callers::facts;
use crate::support::messages::{
    accept, answer, cancellation, counter, decline, escalate, extension, no_action, offer, order as new_order,
    postpone, refund_request, settled, update, withdraw,
};

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rpc {
    /// One of ours.
    Ours(Operation),
    /// A list or a stream of ours, with a filter that names the order or its buyer.
    Filtered(Operation),
    HealthCheck,
    HealthWatch,
    Reflection,
    ReflectionAlpha,
}

/// On an order without a dispute.
pub(super) const OTHERS: [(Rpc, &str); 9] = [
    (Rpc::Ours(Operation::UpsertOrder), ""),
    (Rpc::Ours(Operation::BatchUpsertOrders), ""),
    (Rpc::Ours(Operation::GetOrder), ""),
    (Rpc::Ours(Operation::GetDisputeOptions), ""),
    (Rpc::Ours(Operation::OfferPartialRefund), ""),
    (Rpc::Ours(Operation::RequestPartialRefund), ""),
    (Rpc::Ours(Operation::RequestCancellation), ""),
    (Rpc::Ours(Operation::RequestOrderUpdate), ""),
    (Rpc::Ours(Operation::RequestDeliveryExtension), ""),
];

/// On an order with a pending dispute.
pub(super) const READS: [(Rpc, &str); 17] = [
    (Rpc::Ours(Operation::GetDispute), ""),
    (Rpc::Ours(Operation::ListOrders), ""),
    (Rpc::Filtered(Operation::ListOrders), "`party_id` names the buyer"),
    (Rpc::Ours(Operation::ListDisputes), ""),
    (Rpc::Filtered(Operation::ListDisputes), "`order_id` names the order"),
    (Rpc::Ours(Operation::ListDisputeEvents), ""),
    (Rpc::Filtered(Operation::ListDisputeEvents), "the filter names the order"),
    (Rpc::Ours(Operation::WatchDisputes), ""),
    (Rpc::Filtered(Operation::WatchDisputes), "the filter names the order"),
    (Rpc::Ours(Operation::GetSellerStanding), ""),
    (Rpc::Ours(Operation::ListReasons), ""),
    (Rpc::Ours(Operation::GetClock), "without `--clock manual`"),
    (Rpc::Ours(Operation::AdvanceClock), "without `--clock manual`"),
    (Rpc::HealthCheck, ""),
    (Rpc::HealthWatch, ""),
    (Rpc::Reflection, ""),
    (Rpc::ReflectionAlpha, ""),
];

/// On a dispute.
pub(super) const COMMANDS: [(Operation, Stage); 13] = [
    (Operation::AcceptDispute, Stage::Pending),
    (Operation::DeclineDispute, Stage::Pending),
    (Operation::CounterOffer, Stage::Pending),
    (Operation::AnswerOrderUpdate, Stage::Question),
    (Operation::WithdrawDispute, Stage::Pending),
    (Operation::WithdrawDispute, Stage::EscalatedByOpener),
    (Operation::WithdrawDispute, Stage::EscalatedByResponder),
    (Operation::WithdrawDispute, Stage::EscalatedBySupport),
    (Operation::EscalateDispute, Stage::Pending),
    (Operation::EscalateDispute, Stage::Declined),
    (Operation::DecideDispute, Stage::EscalatedByOpener),
    (Operation::PostponeDeadline, Stage::Pending),
    (Operation::ReportSettlement, Stage::Refunded),
];

impl Rpc {
    /// Its name, and what is to be said of the call.
    pub(super) fn title(self, note: &str) -> String {
        let name = match self {
            Self::Ours(operation) | Self::Filtered(operation) => format!("`{operation:?}`"),
            Self::HealthCheck => "`grpc.health.v1.Health/Check`".to_owned(),
            Self::HealthWatch => "`grpc.health.v1.Health/Watch`".to_owned(),
            Self::Reflection => "`grpc.reflection.v1.ServerReflection/ServerReflectionInfo`".to_owned(),
            Self::ReflectionAlpha => "`grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo`".to_owned(),
        };
        if note.is_empty() { name } else { format!("{name}, {note}") }
    }

    /// The right that the code declares.
    pub(super) fn right(self) -> String {
        match self {
            Self::Ours(operation) | Self::Filtered(operation) => format!("{:?}", operation.right()),
            Self::HealthCheck | Self::HealthWatch | Self::Reflection | Self::ReflectionAlpha => "–".to_owned(),
        }
    }
}

/// Makes a call.
pub(super) async fn call(rpc: Rpc, caller: &mut Caller, subject: &Subject) -> Outcome {
    let result = match rpc {
        Rpc::Ours(operation) => ours(operation, caller, subject, false).await,
        Rpc::Filtered(operation) => ours(operation, caller, subject, true).await,
        Rpc::HealthCheck | Rpc::HealthWatch | Rpc::Reflection | Rpc::ReflectionAlpha => others(rpc, caller).await,
    };
    result.unwrap_or_else(|status| Outcome::Refused(facts(&status)))
}

async fn ours(
    operation: Operation,
    caller: &mut Caller,
    subject: &Subject,
    is_filtered: bool,
) -> Result<Outcome, Status> {
    let Subject { order: order_id, dispute: dispute_id } = subject.clone();
    let (order, dispute) = (order_id.as_str(), dispute_id.as_str());
    let Caller { party, .. } = caller;
    let (orders, disputes, clock) = (&mut party.orders, &mut party.disputes, &mut party.clock);
    match operation {
        Operation::UpsertOrder => {
            done(orders.upsert_order(v1::UpsertOrderRequest { order: Some(new_order(order)) }).await)
        }
        Operation::BatchUpsertOrders => {
            let request = v1::BatchUpsertOrdersRequest { orders: vec![new_order(order)] };
            done(orders.batch_upsert_orders(request).await)
        }
        Operation::GetOrder => read(orders.get_order(v1::GetOrderRequest { order_id }).await),
        Operation::GetSellerStanding => {
            read(orders.get_seller_standing(v1::GetSellerStandingRequest { seller_id: "bob".to_owned() }).await)
        }
        Operation::GetDispute => read(disputes.get_dispute(v1::GetDisputeRequest { dispute_id }).await),
        Operation::GetDisputeOptions => {
            let request = v1::GetDisputeOptionsRequest { order_id, ..Default::default() };
            read(disputes.get_dispute_options(request).await)
        }
        Operation::ListReasons => read(disputes.list_reasons(v1::ListReasonsRequest::default()).await),
        Operation::OfferPartialRefund => done(disputes.offer_partial_refund(offer(order, 100)).await),
        Operation::RequestPartialRefund => done(disputes.request_partial_refund(refund_request(order, 100)).await),
        Operation::CounterOffer => done(disputes.counter_offer(counter(dispute, 200)).await),
        Operation::RequestCancellation => done(disputes.request_cancellation(cancellation(order)).await),
        Operation::RequestOrderUpdate => done(disputes.request_order_update(update(order)).await),
        Operation::RequestDeliveryExtension => {
            done(disputes.request_delivery_extension(extension(order, 30 * 86_400)).await)
        }
        Operation::AcceptDispute => done(disputes.accept_dispute(accept(dispute)).await),
        Operation::DeclineDispute => done(disputes.decline_dispute(decline(dispute)).await),
        Operation::AnswerOrderUpdate => done(disputes.answer_order_update(answer(dispute)).await),
        Operation::WithdrawDispute => done(disputes.withdraw_dispute(withdraw(dispute)).await),
        Operation::EscalateDispute => done(disputes.escalate_dispute(escalate(dispute)).await),
        Operation::DecideDispute => done(disputes.decide_dispute(no_action(dispute)).await),
        Operation::PostponeDeadline => done(disputes.postpone_deadline(postpone(dispute, 30 * 86_400)).await),
        Operation::ReportSettlement => done(disputes.report_settlement(settled(dispute, "pay-1")).await),
        Operation::GetClock => read(clock.get_clock(testing::GetClockRequest {}).await),
        Operation::AdvanceClock => done(clock.advance_clock(nothing()).await),
        Operation::ListOrders | Operation::ListDisputes | Operation::ListDisputeEvents | Operation::WatchDisputes => {
            listed(operation, caller, subject, is_filtered).await
        }
    }
}

/// The clock stays where it is.
fn nothing() -> testing::AdvanceClockRequest {
    testing::AdvanceClockRequest { target: Some(testing::advance_clock_request::Target::By(Default::default())) }
}

fn done<T>(result: Result<Response<T>, Status>) -> Result<Outcome, Status> {
    result.map(|_| Outcome::Done)
}

fn read<T>(result: Result<Response<T>, Status>) -> Result<Outcome, Status> {
    result.map(|_| Outcome::Read(""))
}

/// What a list or a stream is of: the order and its parties.
struct Listed {
    order: String,
    parties: [String; 2],
}

impl Listed {
    fn dispute(dispute: v1::Dispute) -> Self {
        Self { order: dispute.order_id, parties: [dispute.buyer_id, dispute.seller_id] }
    }

    fn event(event: v1::DisputeEvent) -> Self {
        Self::dispute(event.dispute.unwrap())
    }
}

async fn listed(
    operation: Operation,
    caller: &mut Caller,
    subject: &Subject,
    is_filtered: bool,
) -> Result<Outcome, Status> {
    let (orders, disputes) = (&mut caller.party.orders, &mut caller.party.disputes);
    let filter =
        is_filtered.then(|| v1::DisputeEventFilter { order_ids: vec![subject.order.clone()], ..Default::default() });
    let rows: Vec<Listed> = match operation {
        Operation::ListOrders => {
            let party_id = if is_filtered { "ann".to_owned() } else { String::new() };
            let request = v1::ListOrdersRequest { party_id, page_size: 500, ..Default::default() };
            let listed = orders.list_orders(request).await?.into_inner().orders.into_iter();
            listed.map(|order| Listed { order: order.order_id, parties: [order.buyer_id, order.seller_id] }).collect()
        }
        Operation::ListDisputes => {
            let order_id = if is_filtered { subject.order.clone() } else { String::new() };
            let request = v1::ListDisputesRequest { order_id, page_size: 500, ..Default::default() };
            let listed = disputes.list_disputes(request).await?.into_inner().disputes.into_iter();
            listed.map(Listed::dispute).collect()
        }
        Operation::ListDisputeEvents => {
            let start = Some(v1::list_dispute_events_request::Start::FromBeginning(true));
            let request = v1::ListDisputeEventsRequest { filter, start, page_size: 500 };
            let listed = disputes.list_dispute_events(request).await?.into_inner().events.into_iter();
            listed.map(Listed::event).collect()
        }
        Operation::WatchDisputes => {
            let request = v1::WatchDisputesRequest { filter, include_snapshot: true, ..Default::default() };
            let mut stream = disputes.watch_disputes(request).await?.into_inner();
            let mut listed = Vec::new();
            loop {
                let message = stream.message().await?.unwrap();
                listed.extend(message.events.into_iter().map(Listed::event));
                if message.checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {
                    break listed;
                }
            }
        }
        other => panic!("{other:?} lists nothing"),
    };
    Ok(Outcome::Read(seen(&rows, caller, subject, is_filtered)))
}

/// What rows these are, as seen from the caller: either all that there are, or all that are the caller's.
fn seen(rows: &[Listed], caller: &Caller, subject: &Subject, is_filtered: bool) -> &'static str {
    let is_own = |row: &Listed| row.parties.iter().any(|party| party == caller.user);
    let has = |order: &str| rows.iter().any(|row| row.order == order);
    if rows.is_empty() {
        "nothing"
    } else if rows.iter().all(is_own) {
        // The order at hand, or the stranger's own.
        assert!(has(if caller.title == "stranger" { ELSEWHERE } else { &subject.order }));
        "its own"
    } else {
        assert!(!rows.iter().any(is_own), "some are the caller's");
        assert!(has(&subject.order) && has(ELSEWHERE) != is_filtered, "all that match");
        "all"
    }
}

/// What others have made, on the same port.
async fn others(rpc: Rpc, caller: &Caller) -> Result<Outcome, Status> {
    let (channel, identity) = (caller.channel.clone(), caller.identity.clone());
    /// A question to either version of reflection, which have the same messages under different names.
    macro_rules! reflect {
        ($version:ident) => {{
            let question = pb::$version::server_reflection_request::MessageRequest::ListServices(String::new());
            let request =
                pb::$version::ServerReflectionRequest { message_request: Some(question), ..Default::default() };
            let mut client =
                pb::$version::server_reflection_client::ServerReflectionClient::with_interceptor(channel, identity);
            let mut answers = client.server_reflection_info(once(request)).await?.into_inner();
            answers.message().await?.map(drop)
        }};
    }
    let answer = match rpc {
        Rpc::HealthCheck => {
            let mut health = HealthClient::with_interceptor(channel, identity);
            Some(health.check(HealthCheckRequest::default()).await.map(drop)?)
        }
        Rpc::HealthWatch => {
            let mut health = HealthClient::with_interceptor(channel, identity);
            let mut stream = health.watch(HealthCheckRequest::default()).await?.into_inner();
            stream.message().await?.map(drop)
        }
        Rpc::Reflection => reflect!(v1),
        Rpc::ReflectionAlpha => reflect!(v1alpha),
        Rpc::Ours(operation) | Rpc::Filtered(operation) => panic!("{operation:?} is ours"),
    };
    assert!(answer.is_some(), "there is an answer");
    Ok(Outcome::Read(""))
}
