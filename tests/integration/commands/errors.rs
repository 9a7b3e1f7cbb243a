//! Errors: each with its code, reason and facts, also those that the transport makes.

use dispute_service::proto::v1;
use http::uri::PathAndQuery;
use prost::Message;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::callers::{Party, facts, invalid, refusal};
use crate::support::h2_client::H2Client;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_stranger_learns_nothing_from_any_rpc,
    a_caller_must_say_who_it_is,
    feeding_orders_in_needs_a_scope,
    a_scope_is_judged_before_the_message,
    a_caller_with_a_scope_is_never_a_party,
    every_violation_of_a_command_is_named_at_once,
    a_refusal_has_its_facts,
    more_violations_than_25_are_counted,
    the_transports_errors_have_details_too,
    a_clients_deadline_ends_what_takes_longer,
    a_full_day_of_texts_keeps_its_bounds,
);

async fn a_stranger_learns_nothing_from_any_rpc(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    let opened = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    let id = opened.dispute_id.as_str();
    let no_order = refusal(Code::NotFound, "ORDER_NOT_FOUND", &[("orderId", "o1")]);
    let no_dispute = refusal(Code::NotFound, "DISPUTE_NOT_FOUND", &[("disputeId", id)]);
    let mut eve = service.user("eve");
    let options = v1::GetDisputeOptionsRequest { order_id: "o1".to_owned(), ..Default::default() };
    assert_eq!(facts(&eve.disputes.get_dispute_options(options).await.unwrap_err()), no_order);
    assert_eq!(facts(&eve.disputes.offer_partial_refund(offer("o1", 1)).await.unwrap_err()), no_order);
    assert_eq!(facts(&eve.disputes.request_cancellation(cancellation("o1")).await.unwrap_err()), no_order);
    assert_eq!(facts(&eve.disputes.request_order_update(update("o1")).await.unwrap_err()), no_order);
    let get = v1::GetOrderRequest { order_id: "o1".to_owned() };
    assert_eq!(facts(&eve.orders.get_order(get).await.unwrap_err()), no_order);
    assert_eq!(facts(&eve.disputes.accept_dispute(accept(id)).await.unwrap_err()), no_dispute);
    assert_eq!(facts(&eve.disputes.decline_dispute(decline(id)).await.unwrap_err()), no_dispute);
    assert_eq!(facts(&eve.disputes.withdraw_dispute(withdraw(id)).await.unwrap_err()), no_dispute);
    assert_eq!(facts(&eve.disputes.answer_order_update(answer(id)).await.unwrap_err()), no_dispute);
    let get = v1::GetDisputeRequest { dispute_id: id.to_owned() };
    assert_eq!(facts(&eve.disputes.get_dispute(get).await.unwrap_err()), no_dispute);

    // Naming another's things gives fewer rows, never an error.
    let orders = v1::ListOrdersRequest { party_id: "ann".to_owned(), ..Default::default() };
    assert_eq!(eve.orders.list_orders(orders).await.unwrap().into_inner().orders, []);
    for request in [
        v1::ListDisputesRequest::default(),
        v1::ListDisputesRequest { order_id: "o1".to_owned(), ..Default::default() },
        v1::ListDisputesRequest { party_id: "bob".to_owned(), ..Default::default() },
    ] {
        assert_eq!(eve.disputes.list_disputes(request).await.unwrap().into_inner().disputes, []);
    }
    assert_eq!(eve.events().await, []);
    // A stranger's stream is open and empty: what it hears of first is its own.
    let filter =
        Some(v1::DisputeEventFilter { order_ids: vec!["o1".to_owned(), "o2".to_owned()], ..Default::default() });
    let start = Some(v1::watch_disputes_request::Start::FromBeginning(true));
    let mut watch = eve.watch(v1::WatchDisputesRequest { filter, start, ..Default::default() }).await;
    service.platform().upsert(v1::Order { buyer_id: "eve".to_owned(), ..order("o2") }).await;
    bob.disputes.offer_partial_refund(offer("o2", 100)).await.unwrap();
    assert_eq!(watch.event().await.dispute.unwrap().order_id, "o2");
}

async fn a_caller_must_say_who_it_is(service: Service) {
    let get = || v1::GetOrderRequest { order_id: "o1".to_owned() };
    let mut anonymous = v1::order_service_client::OrderServiceClient::new(service.channel());
    let missing = refusal(Code::Unauthenticated, "CREDENTIAL_MISSING", &[]);
    assert_eq!(facts(&anonymous.get_order(get()).await.unwrap_err()), missing);
    let watch = v1::dispute_service_client::DisputeServiceClient::new(service.channel())
        .watch_disputes(v1::WatchDisputesRequest::default())
        .await;
    assert_eq!(facts(&watch.unwrap_err()), missing);
    let malformed = refusal(Code::Unauthenticated, "CREDENTIAL_INVALID", &[]);
    for (user, scope) in [("a b", None), ("", None), ("a", Some("")), ("a", Some("admin")), ("a", Some("Support"))] {
        let mut caller = Party::new(service.channel(), user, scope);
        assert_eq!(facts(&caller.orders.get_order(get()).await.unwrap_err()), malformed, "{user:?} {scope:?}");
    }
}

async fn feeding_orders_in_needs_a_scope(service: Service) {
    let missing = refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", "platform")]);
    for mut caller in [service.user("ann"), service.support()] {
        // The scope comes before everything that is wrong with the message.
        let one = v1::UpsertOrderRequest { order: None };
        assert_eq!(facts(&caller.orders.upsert_order(one).await.unwrap_err()), missing);
        let many = v1::BatchUpsertOrdersRequest { orders: vec![order("o1")] };
        assert_eq!(facts(&caller.orders.batch_upsert_orders(many).await.unwrap_err()), missing);
    }
    assert_eq!(service.number("SELECT count(*) FROM orders").await, 0);
}

async fn a_scope_is_judged_before_the_message(service: Service) {
    let client = H2Client::connect(&service.address.to_string()).await;
    for (path, scope) in [
        ("/disputes.v1.OrderService/UpsertOrder", "platform"),
        ("/disputes.v1.OrderService/BatchUpsertOrders", "platform"),
        ("/disputes.v1.DisputeService/ReportSettlement", "platform"),
        ("/disputes.v1.DisputeService/DecideDispute", "support"),
        ("/disputes.v1.DisputeService/PostponeDeadline", "support"),
    ] {
        let missing = refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", scope)]);
        let other = if scope == "support" { "platform" } else { "support" };
        for headers in [&[("x-user-id", "ann")][..], &[("x-user-id", "ann"), ("x-scope", other)]] {
            // Nothing, a part of a message, what is no message, one that is too large: none of it is waited for.
            for body in [&b""[..], b"\x00\x00\x00\x00\x09\x08", b"\x07", b"\x00\x7f\xff\xff\xff"] {
                let status = client.call(path, headers, body).unfinished().await;
                assert_eq!(facts(&status), missing, "{path} {headers:?} {body:?}");
            }
        }
        let missing = refusal(Code::Unauthenticated, "CREDENTIAL_MISSING", &[]);
        assert_eq!(facts(&client.call(path, &[], b"\x00").unfinished().await), missing, "{path}");
    }
    let unknown = refusal(Code::Unimplemented, "METHOD_UNKNOWN", &[]);
    for path in ["/disputes.v1.OrderService/Nonsense", "/nonsense"] {
        assert_eq!(facts(&client.call(path, &[], b"\x00").unfinished().await), unknown, "{path}");
    }
}

async fn a_caller_with_a_scope_is_never_a_party(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    let opened = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    let wrong_role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    for scope in ["support", "platform"] {
        // The id is the buyer's.
        let mut caller = Party::new(service.channel(), "ann", Some(scope));
        assert_eq!(facts(&caller.disputes.accept_dispute(accept(&opened.dispute_id)).await.unwrap_err()), wrong_role);
        assert_eq!(facts(&caller.disputes.request_cancellation(cancellation("o1")).await.unwrap_err()), wrong_role);
        let options = v1::GetDisputeOptionsRequest { order_id: "o1".to_owned(), ..Default::default() };
        assert_eq!(facts(&caller.disputes.get_dispute_options(options).await.unwrap_err()), wrong_role);
        assert_eq!(caller.dispute(&opened.dispute_id).await.dispute_id, opened.dispute_id, "but it sees everything");
    }
}

async fn every_violation_of_a_command_is_named_at_once(service: Service) {
    let mut bob = service.user("bob");
    let request = v1::OfferPartialRefundRequest {
        order_id: "not an id".to_owned(),
        amount: None,
        message: "x".repeat(2_001),
        reason: 99,
        reason_detail: String::new(),
        request_id: "no uuid".to_owned(),
        validate_only: false,
    };
    let status = bob.disputes.offer_partial_refund(request).await.unwrap_err();
    assert_eq!(facts(&status), invalid(&["order_id", "amount", "message", "reason", "request_id"]));
    assert!(!format!("{status:?}").contains("no uuid"), "values are never repeated");

    let detail = |reason: v1::Reason, detail: &str| v1::OfferPartialRefundRequest {
        reason: reason.into(),
        reason_detail: detail.to_owned(),
        ..offer("o1", 100)
    };
    for request in [
        detail(v1::Reason::Other, ""),
        detail(v1::Reason::Other, &"x".repeat(501)),
        detail(v1::Reason::Goodwill, "a detail"),
    ] {
        let status = bob.disputes.offer_partial_refund(request).await.unwrap_err();
        assert_eq!(facts(&status), invalid(&["reason_detail"]));
    }
    let status = bob.disputes.answer_order_update(v1::AnswerOrderUpdateRequest::default()).await.unwrap_err();
    assert_eq!(facts(&status), invalid(&["message", "dispute_id"]));
    let status = bob.disputes.list_disputes(v1::ListDisputesRequest {
        order_id: "a b".to_owned(),
        party_id: "c d".to_owned(),
        side: 9,
        kinds: vec![1, 0],
        statuses: vec![99],
        page_size: -1,
        ..Default::default()
    });
    let fields = ["order_id", "party_id", "side", "kinds[1]", "statuses[0]", "page_size"];
    assert_eq!(facts(&status.await.unwrap_err()), invalid(&fields));
    let many = v1::DisputeEventFilter { order_ids: vec!["o1".to_owned(); 101], ..Default::default() };
    for seconds in [0, 61] {
        let heartbeat_interval = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = v1::WatchDisputesRequest { filter: Some(many.clone()), heartbeat_interval, ..Default::default() };
        let status = bob.disputes.watch_disputes(request).await.unwrap_err();
        assert_eq!(facts(&status), invalid(&["filter.order_ids", "heartbeat_interval"]));
    }
}

async fn a_refusal_has_its_facts(service: Service) {
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    platform.upsert(v1::Order { price: Some(usd(1)), ..order("o-small") }).await;
    platform.upsert(v1::Order { status: v1::OrderStatus::Completed.into(), ..order("o-done") }).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let offer_refused =
        async |request| facts(&service.user("bob").disputes.offer_partial_refund(request).await.unwrap_err());

    let range = [("minAmount", "0.01"), ("maxAmount", "60.00"), ("currency", "USD")];
    assert_eq!(
        offer_refused(offer("o1", 6_001)).await,
        refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &range).about("amount")
    );
    let small = refusal(Code::FailedPrecondition, "REFUND_CAP_BELOW_MINIMUM", &[("cap", "0.00")]);
    assert_eq!(offer_refused(offer("o-small", 1)).await, small);
    let done = refusal(Code::FailedPrecondition, "ORDER_STATUS_NOT_ALLOWED", &[("status", "COMPLETED")]);
    assert_eq!(offer_refused(offer("o-done", 1)).await, done);
    let eur = dispute_service::proto::Money { currency_code: "EUR".to_owned(), ..usd(100) };
    let foreign = v1::OfferPartialRefundRequest { amount: Some(eur), ..offer("o1", 1) };
    assert_eq!(offer_refused(foreign).await, invalid(&["amount.currency_code"]));
    let wrong = v1::OfferPartialRefundRequest { reason: v1::Reason::LateDelivery.into(), ..offer("o1", 1) };
    assert_eq!(offer_refused(wrong).await, refusal(Code::InvalidArgument, "REASON_NOT_VALID", &[]).about("reason"));
    let silent = v1::RequestCancellationRequest { message: String::new(), ..cancellation("o1") };
    assert_eq!(facts(&ann.disputes.request_cancellation(silent).await.unwrap_err()), invalid(&["message"]));

    let asked = ann.disputes.request_order_update(update("o1")).await.unwrap().into_inner().dispute.unwrap();
    let kind = refusal(Code::FailedPrecondition, "WRONG_KIND", &[("kind", "ORDER_UPDATE")]);
    assert_eq!(facts(&bob.disputes.accept_dispute(accept(&asked.dispute_id)).await.unwrap_err()), kind);
    let role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    assert_eq!(facts(&bob.disputes.withdraw_dispute(withdraw(&asked.dispute_id)).await.unwrap_err()), role);
    let status = bob.disputes.offer_partial_refund(offer("o-done", 1)).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&status);
    let preconditions = &details.precondition_failure().unwrap().violations;
    assert_eq!(preconditions[0].r#type, "ORDER_STATUS_NOT_ALLOWED");
}

async fn more_violations_than_25_are_counted(service: Service) {
    let orders = (0..40).map(|number| v1::Order { status: 0, ..order(&format!("o{number}")) }).collect();
    let request = v1::BatchUpsertOrdersRequest { orders };
    let status = service.platform().orders.batch_upsert_orders(request).await.unwrap_err();
    let facts = facts(&status);
    assert_eq!(facts.fields.len(), 26);
    assert_eq!(facts.fields[0], "orders[0].status");
    let details = tonic_types::StatusExt::get_error_details(&status);
    assert_eq!(details.bad_request().unwrap().field_violations[25].description, "15 more");
}

/// Sends bytes as they are.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, bytes::Buf::remaining(buffer)).to_vec()))
    }
}

pub async fn raw(service: &Service, path: &'static str, message: Vec<u8>) -> Status {
    let mut client = Grpc::new(service.channel());
    client.ready().await.unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-user-id", "ann".parse().unwrap());
    client.unary(request, PathAndQuery::from_static(path), Raw).await.unwrap_err()
}

async fn the_transports_errors_have_details_too(service: Service) {
    let malformed = refusal(Code::InvalidArgument, "MESSAGE_MALFORMED", &[]);
    let get = "/disputes.v1.DisputeService/GetDispute";
    assert_eq!(facts(&raw(&service, get, vec![0xff, 0xff, 0xff]).await), malformed);
    let watch = "/disputes.v1.DisputeService/WatchDisputes";
    assert_eq!(facts(&raw(&service, watch, vec![0xff, 0xff, 0xff]).await), malformed);
    let large = refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    assert_eq!(facts(&raw(&service, get, vec![0; 5 * 1024 * 1024]).await), large);
    let unknown = refusal(Code::Unimplemented, "METHOD_UNKNOWN", &[]);
    assert_eq!(facts(&raw(&service, "/disputes.v1.DisputeService/Nonsense", Vec::new()).await), unknown);
    assert_eq!(facts(&raw(&service, "/nonsense.Service/Nonsense", Vec::new()).await), unknown);
}

const ANN: &[(&str, &str)] = &[("x-user-id", "ann")];

/// What the server itself says of an RPC with a deadline: no client library that has a timer of its own.
pub async fn with_deadline(
    service: &Service,
    identity: &[(&str, &str)],
    path: &str,
    message: &impl Message,
    timeout: &str,
) -> Status {
    let socket = tokio::net::TcpStream::connect(service.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::post(format!("http://{}{path}", service.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout);
    let request =
        identity.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap();
    let (response, mut body) = client.send_request(request, false).unwrap();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    frame.extend(message.encode_to_vec());
    // A deadline that passes at once is answered before the message is sent: then there is nothing to send it to.
    let _ = body.send_data(frame.into(), true);
    let response = response.await.unwrap();
    let status = Status::from_header_map(response.headers());
    let mut body = response.into_body();
    while body.data().await.is_some() {}
    let trailers = body.trailers().await.unwrap();
    connection.abort();
    status.or_else(|| Status::from_header_map(&trailers?)).unwrap()
}

async fn a_clients_deadline_ends_what_takes_longer(service: Service) {
    service.platform().upsert(order("o1")).await;
    let late = refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    let list = "/disputes.v1.DisputeService/ListReasons";
    assert_eq!(facts(&with_deadline(&service, ANN, list, &v1::ListReasonsRequest::default(), "1n").await), late);
    // A command that has to wait for somebody else's lock.
    let database = service.database().await;
    let blocker = database.begin().await.unwrap();
    blocker.execute_unprepared("UPDATE orders SET title = title").await.unwrap();
    let command = "/disputes.v1.DisputeService/RequestOrderUpdate";
    assert_eq!(facts(&with_deadline(&service, ANN, command, &update("o1"), "200m").await), late);
    blocker.rollback().await.unwrap();
    // A stream's deadline is that of the whole stream.
    let watch = "/disputes.v1.DisputeService/WatchDisputes";
    assert_eq!(facts(&with_deadline(&service, ANN, watch, &v1::WatchDisputesRequest::default(), "200m").await), late);
}

async fn a_full_day_of_texts_keeps_its_bounds(service: Service) {
    // The longest texts of four bytes a character: a page ends before it is too large for a client.
    let text = "\u{1F600}".repeat(2_000);
    let orders = (0..300).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    for number in 0..300 {
        let mut ann = service.user("ann");
        let request = v1::RequestOrderUpdateRequest { message: text.clone(), ..update(&format!("o{number}")) };
        let opened = ann.disputes.request_order_update(request).await.unwrap().into_inner().dispute.unwrap();
        let answer = v1::AnswerOrderUpdateRequest { message: text.clone(), ..answer(&opened.dispute_id) };
        service.user("bob").disputes.answer_order_update(answer).await.unwrap();
    }
    let mut platform = service.platform();
    let mut token = String::new();
    let mut seen = 0;
    loop {
        let request = v1::ListDisputesRequest { page_size: 500, page_token: token, ..Default::default() };
        let page = platform.disputes.list_disputes(request).await.unwrap().into_inner();
        assert!(!page.disputes.is_empty());
        seen += page.disputes.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 300);
    assert_eq!(platform.events().await.len(), 600);
    let start = Some(v1::watch_disputes_request::Start::FromBeginning(true));
    let mut watch = platform.watch(v1::WatchDisputesRequest { start, ..Default::default() }).await;
    assert_eq!(watch.take(600).await.len(), 600);
}
