//! Every RPC: a file for each, in which it is declared, parsed, run and responded to; and the table of them.
//!
//! In the file of an RPC are
//! - `RPC`: what is judged of a call before its message is decoded;
//! - `parse`: what the message asks for, or everything that is wrong with it;
//! - `run`: has it done, and makes the response.
//!
//! What several of them share is beside this folder. The table, as a test prints it:
#![doc = include_str!("table.md")]

mod accept_dispute;
mod advance_clock;
mod answer_order_update;
mod batch_upsert_orders;
mod counter_offer;
mod decide_dispute;
mod declaration;
mod decline_dispute;
mod escalate_dispute;
mod get_clock;
mod get_dispute;
mod get_dispute_options;
mod get_order;
mod get_seller_standing;
mod list_dispute_events;
mod list_disputes;
mod list_orders;
mod list_reasons;
mod offer_partial_refund;
mod postpone_deadline;
mod report_settlement;
mod request_cancellation;
mod request_delivery_extension;
mod request_order_update;
mod request_partial_refund;
mod upsert_order;
mod watch_disputes;
mod withdraw_dispute;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::auth::Validity;
use super::status::Failure;
use super::transport::Deadline;
use super::{Shared, encoded};
use crate::domain::Caller;
use crate::proto::server::dispute_service_server::DisputeService;
use crate::proto::server::order_service_server::OrderService;
use crate::proto::testing_server::test_clock_service_server::TestClockService;
use crate::proto::{testing, v1};

pub(super) use self::declaration::{Class, Rpc, Shape, Size, numbers, texts};
#[cfg(feature = "fuzzing")]
pub(super) use self::list_disputes::Pages;

/// A call, with all that handlers know of it beside its message.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Arc<Shared>,
    /// Who calls.
    pub(super) caller: Caller,
    /// When the client gives up, if it said so.
    pub(super) deadline: Option<Deadline>,
    /// How long the caller's token is valid; only a stream needs it, and only one that was opened with a token has it.
    pub(super) validity: Option<Validity>,
}

impl<'a> Call<'a> {
    /// The call with its message; [`super::transport`] has recognised the caller.
    fn of<T>(shared: &'a Arc<Shared>, request: Request<T>) -> Result<(Self, T), Failure> {
        let (_, mut extensions, message) = request.into_parts();
        let caller = extensions.remove().ok_or_else(|| Failure::internal("an RPC bypassed authentication"))?;
        Ok((Self { shared, caller, deadline: extensions.remove(), validity: extensions.remove() }, message))
    }
}

/// Makes of the table the services, what calls are judged by, and the parsers to be fuzzed.
macro_rules! rpcs {
    ($(
        $Service:ident by $Handlers:ident {
            unary { $($rpc:ident($Request:ty) -> $Response:ty;)* }
            stream { $($stream:ident($StreamRequest:ty) -> $Stream:ident = $Events:ty;)* }
        }
    )*) => {
        static RPCS: &[Rpc] = &[$($($rpc::RPC,)* $($stream::RPC,)*)*];

        /// Each RPC with its parser, for the fuzzer.
        #[cfg(feature = "fuzzing")]
        pub(super) static PARSERS: &[(Rpc, fn(&[u8], &Caller))] = &[$(
            $(($rpc::RPC, |body, caller| {
                super::fuzzing::read(body, |request: &$Request| $rpc::parse(Default::default(), caller, request));
            }),)*
            $(($stream::RPC, |body, caller| {
                super::fuzzing::read(body, |request: &$StreamRequest| {
                    $stream::parse(Default::default(), caller, request)
                });
            }),)*
        )*];

        $(
            #[doc = concat!("`", stringify!($Service), "`.")]
            #[derive(Debug)]
            pub struct $Handlers {
                shared: Arc<Shared>,
            }

            impl $Handlers {
                pub(super) fn new(shared: Arc<Shared>) -> Self {
                    Self { shared }
                }
            }

            #[tonic::async_trait]
            impl $Service for $Handlers {
                $(
                    async fn $rpc(&self, request: Request<$Request>) -> Result<Response<$Response>, Status> {
                        let (call, message) = Call::of(&self.shared, request)?;
                        Ok(Response::new($rpc::run(call, message).await?))
                    }
                )*
                $(
                    type $Stream = $Events;

                    async fn $stream(
                        &self,
                        request: Request<$StreamRequest>,
                    ) -> Result<Response<Self::$Stream>, Status> {
                        let (call, message) = Call::of(&self.shared, request)?;
                        Ok(Response::new($stream::run(call, message).await?))
                    }
                )*
            }
        )*
    };
}

// The table. A new line comes last in its block; the inputs in fuzz/corpus/requests name lines by their number.
rpcs! {
    DisputeService by DisputeHandlers {
        unary {
            get_dispute(v1::GetDisputeRequest) -> v1::GetDisputeResponse;
            get_dispute_options(v1::GetDisputeOptionsRequest) -> v1::GetDisputeOptionsResponse;
            list_reasons(v1::ListReasonsRequest) -> v1::ListReasonsResponse;
            offer_partial_refund(v1::OfferPartialRefundRequest) -> v1::OfferPartialRefundResponse;
            request_cancellation(v1::RequestCancellationRequest) -> v1::RequestCancellationResponse;
            request_order_update(v1::RequestOrderUpdateRequest) -> v1::RequestOrderUpdateResponse;
            request_delivery_extension(v1::RequestDeliveryExtensionRequest) -> v1::RequestDeliveryExtensionResponse;
            accept_dispute(v1::AcceptDisputeRequest) -> v1::AcceptDisputeResponse;
            decline_dispute(v1::DeclineDisputeRequest) -> v1::DeclineDisputeResponse;
            answer_order_update(v1::AnswerOrderUpdateRequest) -> v1::AnswerOrderUpdateResponse;
            withdraw_dispute(v1::WithdrawDisputeRequest) -> v1::WithdrawDisputeResponse;
            escalate_dispute(v1::EscalateDisputeRequest) -> v1::EscalateDisputeResponse;
            decide_dispute(v1::DecideDisputeRequest) -> v1::DecideDisputeResponse;
            postpone_deadline(v1::PostponeDeadlineRequest) -> v1::PostponeDeadlineResponse;
            report_settlement(v1::ReportSettlementRequest) -> v1::ReportSettlementResponse;
            list_disputes(v1::ListDisputesRequest) -> v1::ListDisputesResponse;
            list_dispute_events(v1::ListDisputeEventsRequest) -> encoded::ListDisputeEventsResponse;
            request_partial_refund(v1::RequestPartialRefundRequest) -> v1::RequestPartialRefundResponse;
            counter_offer(v1::CounterOfferRequest) -> v1::CounterOfferResponse;
        }
        stream {
            watch_disputes(v1::WatchDisputesRequest) -> WatchDisputesStream = watch_disputes::Events;
        }
    }
    OrderService by OrderHandlers {
        unary {
            upsert_order(v1::UpsertOrderRequest) -> v1::UpsertOrderResponse;
            batch_upsert_orders(v1::BatchUpsertOrdersRequest) -> v1::BatchUpsertOrdersResponse;
            get_order(v1::GetOrderRequest) -> v1::GetOrderResponse;
            list_orders(v1::ListOrdersRequest) -> v1::ListOrdersResponse;
            get_seller_standing(v1::GetSellerStandingRequest) -> v1::GetSellerStandingResponse;
        }
        stream {}
    }
    TestClockService by TestClockHandlers {
        unary {
            get_clock(testing::GetClockRequest) -> testing::GetClockResponse;
            advance_clock(testing::AdvanceClockRequest) -> testing::AdvanceClockResponse;
        }
        stream {}
    }
}

/// The RPCs of others on the same port, which need no identity: health and reflection.
static OPEN: [Rpc; 4] = [
    Rpc::open("/grpc.health.v1.Health/Check"),
    Rpc::open("/grpc.health.v1.Health/Watch").shape(Shape::ServerStreaming),
    Rpc::open("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").shape(Shape::BidiStreaming),
    Rpc::open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo").shape(Shape::BidiStreaming),
];

/// Every RPC on the port.
fn all() -> impl Iterator<Item = &'static Rpc> {
    RPCS.iter().chain(&OPEN)
}

/// The RPC at this path.
pub(super) fn find(path: &str) -> Option<&'static Rpc> {
    all().find(|rpc| rpc.path == path)
}
