//! `GetSellerStanding`: how a seller stands, for that seller, and for whoever has a scope.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, SellerStanding, UserId};
use crate::grpc::responses::timestamp;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.OrderService/GetSellerStanding", Class::Read, Operation::GetSellerStanding);

pub(super) fn parse(
    mut violations: Violations,
    _: &Caller,
    request: &v1::GetSellerStandingRequest,
) -> Result<UserId, Failure> {
    let seller = violations.user_id("seller_id", &request.seller_id);
    violations.finish(seller)
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::GetSellerStandingRequest,
) -> Result<v1::GetSellerStandingResponse, Failure> {
    let Call { shared, caller, .. } = call;
    let seller = parse(Violations::default(), &caller, &request)?;
    Operation::GetSellerStanding.require_scope_about(&caller, &seller).map_err(Failure::scope_missing)?;
    let standing = shared.reads.seller_standing(&caller, &seller).await?;
    Ok(v1::GetSellerStandingResponse { standing: Some(encoded(&standing)) })
}

fn encoded(standing: &SellerStanding) -> v1::SellerStanding {
    let count = |orders: u64| i64::try_from(orders).unwrap_or(i64::MAX);
    v1::SellerStanding {
        seller_id: standing.seller.to_string(),
        completed: count(standing.completed),
        cancelled: count(standing.cancelled),
        cancelled_not_counted: count(standing.cancelled_not_counted),
        completion_rate_bps: standing.completion_rate_bps().and_then(|bps| i32::try_from(bps).ok()),
        window_start_time: Some(timestamp(standing.window_start)),
        window_end_time: Some(timestamp(standing.window_end)),
    }
}
