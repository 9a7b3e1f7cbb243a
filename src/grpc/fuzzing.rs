//! What is fuzzed of this layer; see `crate::fuzzing`.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::pages::{Binding, Page};
use super::requests::Currencies;
use super::status::Failure;
use super::violations::{FILTER_VALUES, Violations};
use super::{lists, orders, requests, rpcs, transport};
use crate::domain::{Caller, DisputeId, Scope, UserId};
use crate::fuzzing::LOG;
use crate::proto::v1;

/// A request is read, is written as it was read, and is understood, or refused with all that is wrong with it. The first byte
/// says which RPC it is of.
pub fn requests(data: &[u8]) {
    let (Some((rpc, body)), Ok(user)) = (data.split_first(), UserId::parse("fuzz")) else { return };
    for scope in [None, Some(Scope::Support), Some(Scope::Platform)] {
        request(*rpc, body, &Caller { user: user.clone(), scope });
    }
}

fn request(rpc: u8, body: &[u8], caller: &Caller) {
    let none = Currencies::new();
    match rpc % 23 {
        0 => read(body, |request| requests::upsert_order(request, &none)),
        1 => {
            count_orders(body);
            read(body, |request| requests::batch_upsert_orders(request, &none));
        }
        2 => read(body, |request| requests::offer_partial_refund(caller, request, None)),
        3 => read(body, |request| requests::request_cancellation(caller, request)),
        4 => read(body, |request| requests::request_order_update(caller, request)),
        5 => read(body, |request| requests::request_delivery_extension(caller, request)),
        6 => read(body, |request| requests::accept_dispute(caller, request)),
        7 => read(body, |request| requests::decline_dispute(caller, request)),
        8 => read(body, |request| requests::answer_order_update(caller, request)),
        9 => read(body, |request| requests::withdraw_dispute(caller, request)),
        10 => read(body, |request| requests::escalate_dispute(caller, request)),
        11 => read(body, |request| requests::decide_dispute(caller, request, None)),
        12 => read(body, |request| requests::postpone_deadline(caller, request)),
        13 => read(body, |request| requests::report_settlement(caller, request)),
        14 => read(body, |request| lists::query(caller, request)),
        15 => read(body, |request| orders::query(caller, request)),
        16 => read(body, |request: &v1::GetDisputeRequest| {
            one(|violations| violations.dispute_id("dispute_id", &request.dispute_id))
        }),
        17 => read(body, |request: &v1::GetDisputeOptionsRequest| {
            one(|violations| violations.order_id("order_id", &request.order_id))
        }),
        18 => read(body, |request: &v1::GetOrderRequest| {
            one(|violations| violations.order_id("order_id", &request.order_id))
        }),
        19 => read(body, |request: &v1::GetSellerStandingRequest| {
            one(|violations| violations.user_id("seller_id", &request.seller_id))
        }),
        20 => read(body, |_: &v1::ListReasonsRequest| Ok(())),
        21 => read(body, |request: &v1::ListDisputeEventsRequest| {
            one(|violations| {
                let filter = requests::event_filter(violations, caller, request.filter.as_ref());
                filter.zip(violations.page_size(request.page_size))
            })
        }),
        _ => read(body, |request: &v1::WatchDisputesRequest| {
            one(|violations| {
                let filter = requests::event_filter(violations, caller, request.filter.as_ref());
                filter.zip(violations.heartbeat(request.heartbeat_interval))
            })
        }),
    }
}

/// The elements of whatever comes are counted before it is decoded, and none is missed.
fn count_orders(body: &[u8]) {
    let Some(rpc) = rpcs::find("/disputes.v1.OrderService/BatchUpsertOrders") else { return };
    let message = Bytes::from([&[0; 5], body].concat());
    let counted = transport::count_elements(std::iter::once(&message), rpc.lists);
    let Ok(request) = v1::BatchUpsertOrdersRequest::decode(body) else { return };
    let ignored = |order: &v1::Order| order.open_dispute_ids.len() > FILTER_VALUES;
    let is_too_long = request.orders.len() > requests::BATCH_ORDERS || request.orders.iter().any(ignored);
    assert_eq!(counted.is_err(), is_too_long, "{} orders: {counted:?}", request.orders.len());
}

fn one<T>(read: impl FnOnce(&mut Violations) -> Option<T>) -> Result<T, Failure> {
    let mut violations = Violations::default();
    let value = read(&mut violations);
    violations.finish(value)
}

fn read<M, T>(body: &[u8], understand: impl Fn(&M) -> Result<T, Failure>)
where
    M: Message + Default + PartialEq + Debug,
{
    let Ok(request) = M::decode(body) else { return };
    assert_eq!(M::decode(&*request.encode_to_vec()).as_ref(), Ok(&request), "it is written as it was read");
    let Err(refusal) = understand(&request) else { return };
    let status = Status::from(refusal);
    assert_eq!(status.code(), Code::InvalidArgument, "{request:?}: {status:?}");
    let details = status.get_error_details();
    let violations = details.bad_request().map_or(0, |bad| bad.field_violations.len());
    assert!((1..=26).contains(&violations), "{request:?}: {status:?}");
    assert!(status.details().len() <= 4_096, "{request:?}: {} bytes of details", status.details().len());
}

/// Anything can be sent as a page token; and whatever was sealed is read as something that is written the same.
pub fn page_token(data: &[u8]) {
    let binding = Binding::new("disputes", &v1::ListDisputesRequest::default());
    let read = |id: &str| Uuid::parse_str(id).map(DisputeId).ok();
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(!matches!(binding.page(LOG, text, read), Ok(Some(_))), "it was never sealed");
    }
    let mut plain = data.to_vec();
    let sealed = binding.seal(LOG, &mut plain);
    let Ok(Some(Page { after: (time, id), cursor_state })) = binding.page(LOG, &sealed, read) else { return };
    let again = binding.token(LOG, time, &id.to_string(), &cursor_state);
    let is_the_same = |page: Page<DisputeId>| page.after == (time, id) && page.cursor_state == cursor_state;
    assert!(
        binding.page(LOG, &again, read).is_ok_and(|page| page.is_some_and(is_the_same)),
        "it is written as it was read"
    );
    let _ = lists::Pages::decode(&cursor_state);
    let of_another_list = Binding::new("orders", &v1::ListDisputesRequest::default());
    assert!(of_another_list.page(LOG, &again, read).is_err(), "it is bound to its list");
}
