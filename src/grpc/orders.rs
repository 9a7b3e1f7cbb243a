//! The handlers of `disputes.v1.OrderService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::pages::Binding;
use super::{Shared, auth, requests, responses, status::Failure, violations::Violations};
use crate::domain::{Caller, Order, OrderId, Refusal};
use crate::proto::server::order_service_server::OrderService;
use crate::proto::v1;
use crate::repository::OrderQuery;

/// `disputes.v1.OrderService`.
#[derive(Debug)]
pub struct OrderHandlers {
    shared: Arc<Shared>,
}

impl OrderHandlers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn get(&self, caller: &Caller, id: &str) -> Result<Order, Failure> {
        let mut violations = Violations::default();
        let id = violations.order_id("order_id", id);
        let id = violations.finish(id)?;
        let order = self.shared.repository.order(&id).await?;
        let visible = order.filter(|order| order.parties.may_be_seen_by(caller));
        visible.ok_or_else(|| Refusal::OrderNotFound { order: id }.into())
    }

    async fn list(&self, caller: Caller, request: v1::ListOrdersRequest) -> Result<v1::ListOrdersResponse, Failure> {
        let mut violations = Violations::default();
        let party = violations.optional_user_id("party_id", &request.party_id);
        let role = violations.optional_value("role", request.role, v1::PartyRole::known);
        if caller.scope.is_some() && request.role != 0 && request.party_id.is_empty() {
            violations.add("role", "needs a party_id");
        }
        let statuses = violations
            .list("statuses", &request.statuses, |v, field, status| v.value(field, *status, v1::OrderStatus::known));
        let size = violations.page_size(request.page_size);
        let fields = || Some((party?, role?, size?));
        let (party, role, size) = violations.finish(fields())?;
        let filter = v1::ListOrdersRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let binding = Binding::new("orders", &filter);
        let before = binding.key(&request.page_token, |id| OrderId::parse(id).ok())?;
        let query = OrderQuery {
            visible_to: caller.scope.is_none().then_some(caller.user),
            party,
            role,
            statuses: statuses.into_iter().collect(),
            before,
            limit: size.saturating_add(1) as u64,
        };
        let mut orders = self.shared.repository.orders(&query).await?;
        let more = orders.len() > size;
        orders.truncate(size);
        let last = orders.last().filter(|_| more);
        let next_page_token = last.map(|last| binding.token(last.create_time, last.id.as_str()));
        Ok(v1::ListOrdersResponse {
            orders: orders.iter().map(responses::order).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl OrderService for OrderHandlers {
    async fn upsert_order(
        &self,
        request: Request<v1::UpsertOrderRequest>,
    ) -> Result<Response<v1::UpsertOrderResponse>, Status> {
        let caller = auth::platform(&request)?;
        let report = requests::upsert_order(request.get_ref())?;
        let orders = self.shared.committer.orders(caller, vec![report]).await?;
        Ok(Response::new(v1::UpsertOrderResponse { order: orders.first().map(responses::order) }))
    }

    async fn batch_upsert_orders(
        &self,
        request: Request<v1::BatchUpsertOrdersRequest>,
    ) -> Result<Response<v1::BatchUpsertOrdersResponse>, Status> {
        let caller = auth::platform(&request)?;
        let reports = requests::batch_upsert_orders(request.get_ref())?;
        let orders = self.shared.committer.orders(caller, reports).await?;
        Ok(Response::new(v1::BatchUpsertOrdersResponse { orders: orders.iter().map(responses::order).collect() }))
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::GetOrderResponse>, Status> {
        let caller = auth::caller(&request)?;
        let order = self.get(&caller, &request.get_ref().order_id).await?;
        Ok(Response::new(v1::GetOrderResponse { order: Some(responses::order(&order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let caller = auth::caller(&request)?;
        Ok(Response::new(self.list(caller, request.into_inner()).await?))
    }
}
