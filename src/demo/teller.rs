//! Tells the story to the service, by the calls that its clients make.

use std::collections::HashMap;

use http::Uri;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Status};

use super::story::{Deed, Order, Step, Story, When};
use crate::domain::Timestamp;
use crate::proto::testing::advance_clock_request::Target;
use crate::proto::testing::test_clock_service_client::TestClockServiceClient;
use crate::proto::v1::decide_dispute_request::Decision;
use crate::proto::v1::dispute_service_client::DisputeServiceClient;
use crate::proto::v1::order_service_client::OrderServiceClient;
use crate::proto::v1::report_settlement_request::Result as Report;
use crate::proto::{testing, v1};
use crate::server::InProcess;

/// The user id of the order system, which also moves the clock.
pub(super) const ORDER_SYSTEM: &str = "shop";

/// The user id of the support agent.
const AGENT: &str = "sam";

/// Why the story cannot be told: it is not one that the rules allow.
#[derive(Debug, thiserror::Error)]
#[error("the story of the demo cannot be told: {what}: {} ({:?})", refusal.message(), refusal.code())]
pub(super) struct Interrupted {
    /// The step.
    what: String,
    refusal: Box<Status>,
}

/// Calls the service in the names of everybody in the story.
pub(super) struct Teller {
    orders: OrderServiceClient<InProcess>,
    disputes: DisputeServiceClient<InProcess>,
    clock: TestClockServiceClient<InProcess>,
    end: Timestamp,
    /// The last version of each order that was reported.
    versions: HashMap<String, i64>,
    /// The newest dispute of each order.
    newest: HashMap<String, String>,
}

impl Teller {
    /// A teller of a story that ends at `end`.
    pub(super) fn new(service: InProcess, end: Timestamp) -> Self {
        // What the host of a request must be with `--auth dev`.
        let host = Uri::from_static("http://localhost");
        Self {
            orders: OrderServiceClient::with_origin(service.clone(), host.clone()),
            disputes: DisputeServiceClient::with_origin(service.clone(), host.clone()),
            clock: TestClockServiceClient::with_origin(service, host),
            end,
            versions: HashMap::new(),
            newest: HashMap::new(),
        }
    }

    /// Tells the whole story, step by step. The clock, which stands at its beginning, is left at its end.
    pub(super) async fn tell(mut self, story: &Story) -> Result<(), Interrupted> {
        for (instant, order, step) in story.steps(self.end) {
            let interrupted = |refusal| {
                let what = format!("{:?} of {} on {} at {instant}", step.does, step.who, order.id);
                Interrupted { what, refusal: Box::new(refusal) }
            };
            self.advance_to(instant).await.map_err(interrupted)?;
            self.perform(order, step).await.map_err(interrupted)?;
        }
        let interrupted = |refusal| Interrupted { what: "its end".to_owned(), refusal: Box::new(refusal) };
        self.advance_to(self.end).await.map_err(interrupted)
    }

    /// Lets time pass, with everything that falls due meanwhile.
    async fn advance_to(&mut self, instant: Timestamp) -> Result<(), Status> {
        let request = testing::AdvanceClockRequest { target: Some(Target::To(timestamp(instant))) };
        self.clock.advance_clock(called_by(ORDER_SYSTEM, request)?).await?;
        Ok(())
    }

    async fn perform(&mut self, order: &Order, step: &Step) -> Result<(), Status> {
        if step.does == Deed::ReportStatus {
            return self.report_status(order, step).await;
        }
        let dispute = self.dispute_after(order, step).await?;
        let dispute = dispute.ok_or_else(|| Status::internal("the response has no dispute"))?;
        self.newest.insert(order.id.clone(), dispute.dispute_id);
        Ok(())
    }

    async fn report_status(&mut self, order: &Order, step: &Step) -> Result<(), Status> {
        let version = self.versions.entry(order.id.clone()).or_default();
        *version = version.saturating_add(1);
        let instant = |when: Option<When>| when.map(|when| timestamp(when.from(self.end)));
        let order = v1::Order {
            order_id: order.id.clone(),
            buyer_id: order.parties.buyer.clone(),
            seller_id: order.parties.seller.clone(),
            title: order.title.clone(),
            price: Some(order.price.clone()),
            status: step.status.into(),
            create_time: instant(order.placed),
            due_time: instant(order.due),
            end_time: instant(order.ended),
            source_version: *version,
            ..v1::Order::default()
        };
        let request = v1::UpsertOrderRequest { order: Some(order) };
        self.orders.upsert_order(called_by(&step.who, request)?).await?;
        Ok(())
    }

    /// Does what the step says. Returns the dispute as it is then.
    async fn dispute_after(&mut self, order: &Order, step: &Step) -> Result<Option<v1::Dispute>, Status> {
        /// Calls an RPC in the name of whoever does the step; fields that are not given have their defaults.
        macro_rules! call {
            ($rpc:ident($request:ident { $($field:ident $(: $value:expr)?),+ $(,)? })) => {{
                let request = v1::$request { $($field $(: $value)?,)+ ..v1::$request::default() };
                self.disputes.$rpc(called_by(&step.who, request)?).await?.into_inner().dispute
            }};
        }
        let Step { at: _, who: _, does, status: _, reason, says, until, no_fault, .. } = step;
        let order_id = order.id.clone();
        let dispute_id = self.newest.get(&order.id).cloned().unwrap_or_default();
        let amount = step.amount(order);
        let (message, reason, no_fault) = (says.clone(), (*reason).into(), *no_fault);
        let until = until.map(|until| timestamp(until.from(self.end)));
        Ok(match does {
            Deed::ReportStatus => None,
            Deed::OfferRefund => {
                call!(offer_partial_refund(OfferPartialRefundRequest { order_id, amount, message, reason }))
            }
            Deed::RequestRefund => {
                call!(request_partial_refund(RequestPartialRefundRequest { order_id, amount, message, reason }))
            }
            Deed::RequestCancellation => {
                call!(request_cancellation(RequestCancellationRequest { order_id, message, reason, no_fault }))
            }
            Deed::RequestUpdate => call!(request_order_update(RequestOrderUpdateRequest { order_id, message })),
            Deed::RequestExtension => call!(request_delivery_extension(RequestDeliveryExtensionRequest {
                order_id,
                new_due_time: until,
                message,
                reason,
            })),
            Deed::Accept => call!(accept_dispute(AcceptDisputeRequest { dispute_id })),
            Deed::Decline => call!(decline_dispute(DeclineDisputeRequest { dispute_id, message })),
            Deed::Counter => call!(counter_offer(CounterOfferRequest { dispute_id, amount, message })),
            Deed::Answer => call!(answer_order_update(AnswerOrderUpdateRequest { dispute_id, message })),
            Deed::Withdraw => call!(withdraw_dispute(WithdrawDisputeRequest { dispute_id })),
            Deed::Escalate => call!(escalate_dispute(EscalateDisputeRequest { dispute_id, message })),
            Deed::Postpone => {
                call!(postpone_deadline(PostponeDeadlineRequest { dispute_id, respond_by: until, message }))
            }
            Deed::DecideRefund => {
                let decision = amount.map(Decision::Refund);
                call!(decide_dispute(DecideDisputeRequest { dispute_id, message, decision }))
            }
            Deed::ReportSettled => {
                let result = Some(Report::Settled(v1::Settled { reference: message }));
                call!(report_settlement(ReportSettlementRequest { dispute_id, result }))
            }
            Deed::ReportFailed => {
                let result = Some(Report::Failed(v1::Failed { detail: message }));
                call!(report_settlement(ReportSettlementRequest { dispute_id, result }))
            }
            Deed::ReportReturned => {
                let result = Some(Report::Returned(v1::Returned { detail: message }));
                call!(report_settlement(ReportSettlementRequest { dispute_id, result }))
            }
            Deed::ReportVoided => {
                let result = Some(Report::Voided(v1::Voided { detail: message }));
                call!(report_settlement(ReportSettlementRequest { dispute_id, result }))
            }
        })
    }
}

/// A request with the headers by which `--auth dev` knows its caller.
fn called_by<T>(who: &str, message: T) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let user = who.parse().map_err(|_| Status::internal("no user id of the story has other characters"))?;
    request.metadata_mut().insert("x-user-id", user);
    let scope = match who {
        ORDER_SYSTEM => Some("platform"),
        AGENT => Some("support"),
        _ => None,
    };
    if let Some(scope) = scope {
        request.metadata_mut().insert("x-scope", AsciiMetadataValue::from_static(scope));
    }
    Ok(request)
}

fn timestamp(instant: Timestamp) -> prost_types::Timestamp {
    const PER_SECOND: i64 = 1_000_000;
    let (seconds, micros) = (instant.micros().div_euclid(PER_SECOND), instant.micros().rem_euclid(PER_SECOND));
    prost_types::Timestamp { seconds, nanos: i32::try_from(micros.saturating_mul(1_000)).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::future::pending;

    use super::*;
    use crate::config::CommandLine;
    use crate::server::{self, ServeError};

    /// Ana accepts what only the seller can.
    const IMPOSSIBLE: &str = r#"
        [[orders]]
        id = "order-1"
        title = "A logo"
        parties = { buyer = "ana", seller = "lumen" }
        price = "100.00 USD"
        steps = [
            { at = "3h ago", status = "IN_PROGRESS" },
            { at = "2h ago", who = "ana", does = "request_cancellation", reason = "LATE_DELIVERY", says = "It is late." },
            { at = "1h ago", who = "ana", does = "accept" },
        ]"#;

    #[tokio::test]
    async fn a_step_that_the_rules_refuse_ends_the_demo_and_is_named() {
        let story = Story::parse(IMPOSSIBLE).unwrap();
        let end: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.toml");
        std::fs::write(&policy, "").unwrap();
        let arguments = ["dispute-service", "demo", "--listen", "127.0.0.1:0"].map(OsString::from);
        let config = CommandLine::read(arguments).unwrap().config;
        let config = config.for_demo(&folder.path().join("disputes.db"), &policy, story.beginning(end));
        let (listener, clock) = (server::listen(&config).await.unwrap(), server::clock(&config));
        let run = server::run_prepared(&config, listener, clock, pending(), async |service| {
            Teller::new(service, end).tell(&story).await.map_err(ServeError::preparation)?;
            Ok(String::new())
        });
        let said = run.await.unwrap_err().to_string();
        assert!(said.contains("Accept of ana on order-1 at 2026-03-01T11:00:00.000000Z"), "{said}");
        assert!(said.contains("PermissionDenied"), "{said}");
    }
}
