//! The handlers of `disputes.v1.OrderService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::pages::Binding;
use super::requests::Currencies;
use super::{Shared, auth, requests, responses, status::Failure, transport, violations::Violations};
use crate::domain::{Caller, OrderId, OrderView, Scope};
use crate::engine::OrderQuery;
use crate::proto::server::order_service_server::OrderService;
use crate::proto::v1;

/// `disputes.v1.OrderService`.
#[derive(Debug)]
pub struct OrderHandlers {
    shared: Arc<Shared>,
}

impl OrderHandlers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn get(&self, caller: &Caller, id: &str) -> Result<OrderView, Failure> {
        let mut violations = Violations::default();
        let id = violations.order_id("order_id", id);
        let id = violations.finish(id)?;
        Ok(self.shared.reads.order(caller, id).await?)
    }

    /// The currencies of the stored orders whose amounts cannot be read without: there are few, if any.
    async fn currencies(
        &self,
        caller: &Caller,
        orders: impl Iterator<Item = &v1::Order> + Send,
    ) -> Result<Currencies, Failure> {
        let orders = orders.take(requests::BATCH_ORDERS).filter(|order| requests::needs_its_currency(order));
        let ids: Vec<OrderId> = orders.filter_map(|order| OrderId::parse(&order.order_id).ok()).collect();
        if ids.is_empty() {
            return Ok(Currencies::new());
        }
        Ok(self.shared.reads.currencies(caller, &ids).await?)
    }

    async fn list(&self, caller: Caller, request: v1::ListOrdersRequest) -> Result<v1::ListOrdersResponse, Failure> {
        let (mut query, size) = query(&caller, &request)?;
        let filter = v1::ListOrdersRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let binding = Binding::new("orders", &filter);
        let page = binding.page(self.shared.feed.log_id(), &request.page_token, |id| Some(OrderId::stored(id)))?;
        query.after = page.map(|page| page.after);
        let mut orders = self.shared.reads.orders(&caller, &query).await?;
        let more = orders.len() > size;
        orders.truncate(size);
        let last = orders.last().map(|row| &row.key).filter(|_| more);
        let next_page_token = last.map(|(time, id)| binding.token(self.shared.feed.log_id(), *time, id.as_str(), &[]));
        let orders = orders.iter().filter_map(|row| row.found.as_ref());
        Ok(v1::ListOrdersResponse {
            orders: orders.map(|aggregate| responses::order(&aggregate.order_view())).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }
}

/// What a request for orders looks for, and how many are wanted.
pub(super) fn query(caller: &Caller, request: &v1::ListOrdersRequest) -> Result<(OrderQuery, usize), Failure> {
    let mut violations = Violations::default();
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
        visible_to: caller.scope.is_none().then(|| caller.user.clone()),
        party,
        role,
        statuses: statuses.into_iter().collect(),
        has_open_dispute: request.has_open_dispute,
        after: None,
        limit: size.saturating_add(1) as u64,
    };
    Ok((query, size))
}

/// How a seller stands: for that seller, and for whoever has a scope.
async fn standing(
    shared: &Shared,
    caller: &Caller,
    request: &v1::GetSellerStandingRequest,
) -> Result<v1::SellerStanding, Failure> {
    let mut violations = Violations::default();
    let seller = violations.user_id("seller_id", &request.seller_id);
    let seller = violations.finish(seller)?;
    if caller.scope.is_none() && caller.user != seller {
        return Err(Failure::scope_missing(Scope::Support));
    }
    Ok(responses::standing(&shared.reads.seller_standing(caller, &seller).await?))
}

#[tonic::async_trait]
impl OrderService for OrderHandlers {
    async fn upsert_order(
        &self,
        request: Request<v1::UpsertOrderRequest>,
    ) -> Result<Response<v1::UpsertOrderResponse>, Status> {
        let caller = auth::caller(&request)?;
        let currencies = self.currencies(&caller, request.get_ref().order.iter()).await?;
        let report = requests::upsert_order(request.get_ref(), &currencies)?;
        let orders = self.shared.committer.orders(caller, vec![report], transport::trace()).await?;
        Ok(Response::new(v1::UpsertOrderResponse { order: orders.first().map(responses::order) }))
    }

    async fn batch_upsert_orders(
        &self,
        request: Request<v1::BatchUpsertOrdersRequest>,
    ) -> Result<Response<v1::BatchUpsertOrdersResponse>, Status> {
        let caller = auth::caller(&request)?;
        let currencies = self.currencies(&caller, request.get_ref().orders.iter()).await?;
        let reports = requests::batch_upsert_orders(request.get_ref(), &currencies)?;
        let orders = self.shared.committer.orders(caller, reports, transport::trace()).await?;
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

    async fn get_seller_standing(
        &self,
        request: Request<v1::GetSellerStandingRequest>,
    ) -> Result<Response<v1::GetSellerStandingResponse>, Status> {
        let caller = auth::caller(&request)?;
        let standing = standing(&self.shared, &caller, request.get_ref()).await?;
        Ok(Response::new(v1::GetSellerStandingResponse { standing: Some(standing) }))
    }
}
