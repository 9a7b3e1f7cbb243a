//! What is fuzzed of this layer; see `crate::fuzzing`.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::order_reports::BATCH_ORDERS;
use super::pages::{Binding, Page};
use super::rpc::{PARSERS, Pages, Rpc};
use super::status::Failure;
use super::transport;
use super::violations::FILTER_VALUES;
use crate::domain::{Caller, DisputeId, Scope, UserId};
use crate::fuzzing::LOG;
use crate::proto::v1;

/// A request is read, is written as it was read, and is understood, or refused with all that is wrong with it. The first byte
/// says which RPC it is of.
pub fn requests(data: &[u8]) {
    let (Some((number, body)), Ok(user)) = (data.split_first(), UserId::parse("fuzz")) else { return };
    let Some((rpc, parse)) = PARSERS.get(usize::from(*number) % PARSERS.len()) else { return };
    if rpc.path.ends_with("/BatchUpsertOrders") {
        count_orders(rpc, body);
    }
    for scope in [None, Some(Scope::Support), Some(Scope::Platform)] {
        parse(body, &Caller { user: user.clone(), scope });
    }
}

/// The elements of whatever comes are counted before it is decoded, and none is missed.
fn count_orders(rpc: &Rpc, body: &[u8]) {
    let message = Bytes::from([&[0; 5], body].concat());
    let counted = transport::count_elements(std::iter::once(&message), rpc.lists);
    let Ok(request) = v1::BatchUpsertOrdersRequest::decode(body) else { return };
    let ignored = |order: &v1::Order| order.open_dispute_ids.len() > FILTER_VALUES;
    let is_too_long = request.orders.len() > BATCH_ORDERS || request.orders.iter().any(ignored);
    assert_eq!(counted.is_err(), is_too_long, "{} orders: {counted:?}", request.orders.len());
}

/// Reads a request by the parser of its RPC.
pub(super) fn read<M, T>(body: &[u8], understand: impl Fn(&M) -> Result<T, Failure>)
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
    let _ = Pages::decode(&cursor_state);
    let of_another_list = Binding::new("orders", &v1::ListDisputesRequest::default());
    assert!(of_another_list.page(LOG, &again, read).is_err(), "it is bound to its list");
}
