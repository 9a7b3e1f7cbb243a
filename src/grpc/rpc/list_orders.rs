//! `ListOrders`: pages of orders, and where they go on.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, OrderId};
use crate::engine::OrderQuery;
use crate::grpc::pages::Binding;
use crate::grpc::responses;
use crate::grpc::rpc::declaration::numbers;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new("/disputes.v1.OrderService/ListOrders", Class::List, Operation::ListOrders)
    .lists(&[numbers(3, "statuses")]);

/// What is looked for, and how many are wanted.
pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::ListOrdersRequest,
) -> Result<(OrderQuery, usize), Failure> {
    let party = violations.optional_user_id("party_id", &request.party_id);
    let role = violations.optional_value("role", request.role, v1::PartyRole::known);
    if caller.scope.is_some() && request.role != 0 && request.party_id.is_empty() {
        violations.add("role", "requires a party_id");
    }
    let statuses = violations
        .list("statuses", &request.statuses, |v, field, status| v.value(field, *status, v1::OrderStatus::known));
    let size = violations.page_size(request.page_size);
    let fields = || Some((party?, role?, size?));
    let (party, role, size) = violations.finish(fields())?;
    let query = OrderQuery {
        visible_to: caller.sees_only().cloned(),
        party,
        role,
        statuses: statuses.into_iter().collect(),
        has_open_dispute: request.has_open_dispute,
        after: None,
        limit: size.saturating_add(1) as u64,
    };
    Ok((query, size))
}

pub(super) async fn run(call: Call<'_>, request: v1::ListOrdersRequest) -> Result<v1::ListOrdersResponse, Failure> {
    let Call { shared, caller, .. } = call;
    let (mut query, size) = parse(Violations::default(), &caller, &request)?;
    let filter = v1::ListOrdersRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let binding = Binding::new("orders", &filter);
    let page = binding.page(shared.feed.log_id(), &request.page_token, |id| Some(OrderId::stored(id)))?;
    query.after = page.map(|page| page.after);
    let mut orders = shared.reads.orders(&caller, &query).await?;
    let more = orders.len() > size;
    orders.truncate(size);
    let last = orders.last().map(|row| &row.key).filter(|_| more);
    let next_page_token = last.map(|(time, id)| binding.token(shared.feed.log_id(), *time, id.as_str(), &[]));
    let orders = orders.iter().filter_map(|row| row.found.as_ref());
    Ok(v1::ListOrdersResponse {
        orders: orders.map(|aggregate| responses::order(&aggregate.order_view())).collect(),
        next_page_token: next_page_token.unwrap_or_default(),
    })
}
