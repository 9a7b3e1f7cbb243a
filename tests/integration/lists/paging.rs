//! Lists: what each caller sees, what filters do, and paging.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{Party, facts, invalid, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    filters_narrow_what_a_caller_may_see,
    who_names_somebody_else_sees_what_both_share,
    pages_follow_each_other_without_gap_or_repetition,
    a_page_token_is_bound_to_its_request,
    events_are_listed_page_by_page,
    reasons_are_listed_for_anyone_signed_in,
    health_and_reflection_are_open,
);

/// Orders of `ann` and `bob`, of `ann` and `cid`, and of `bob` (who buys) and `cid`.
async fn fixture(service: &Service) {
    let mut platform = service.platform();
    for (id, buyer, seller) in [("ab", "ann", "bob"), ("ac", "ann", "cid"), ("bc", "bob", "cid")] {
        let order = v1::Order { buyer_id: buyer.to_owned(), seller_id: seller.to_owned(), ..order(id) };
        platform.upsert(order).await;
        service.user(seller).disputes.offer_partial_refund(offer(id, 100)).await.unwrap();
        service.clock.advance(Duration::from_secs(1));
        service.user(buyer).disputes.request_order_update(update(id)).await.unwrap();
        service.clock.advance(Duration::from_secs(1));
    }
}

async fn disputes(mut caller: Party, request: v1::ListDisputesRequest) -> String {
    let page = caller.disputes.list_disputes(request).await.unwrap().into_inner();
    let name = |dispute: &v1::Dispute| {
        let kind = match dispute.kind() {
            v1::DisputeKind::PartialRefund => "refund",
            v1::DisputeKind::OrderUpdate => "update",
            v1::DisputeKind::Cancellation => "cancellation",
            v1::DisputeKind::DeliveryExtension => "extension",
            v1::DisputeKind::Unspecified => "other",
        };
        format!("{}-{kind}", dispute.order_id)
    };
    page.disputes.iter().map(name).collect::<Vec<_>>().join(" ")
}

async fn filters_narrow_what_a_caller_may_see(service: Service) {
    use v1::{DisputeKind, DisputeSide, DisputeStatus, ListDisputesRequest as List};
    fixture(&service).await;
    let all = "bc-update bc-refund ac-update ac-refund ab-update ab-refund";
    let side = |side: DisputeSide| List { side: side.into(), ..List::default() };
    let party = |party: &str| List { party_id: party.to_owned(), ..List::default() };
    let cases: Vec<(&str, Party, List, &str)> = vec![
        ("support sees all, newest first", service.support(), List::default(), all),
        ("the platform sees all", service.platform(), List::default(), all),
        ("a party sees its own", service.user("ann"), List::default(), "ac-update ac-refund ab-update ab-refund"),
        ("whatever its role", service.user("bob"), List::default(), "bc-update bc-refund ab-update ab-refund"),
        ("by another party, what both share", service.user("ann"), party("bob"), "ab-update ab-refund"),
        ("by itself, its own", service.user("ann"), party("ann"), "ac-update ac-refund ab-update ab-refund"),
        ("by a stranger, nothing", service.user("ann"), party("eve"), ""),
        ("by a party, for support", service.support(), party("cid"), "bc-update bc-refund ac-update ac-refund"),
        ("what it opened", service.user("bob"), side(DisputeSide::Opener), "bc-update ab-refund"),
        ("what it must answer", service.user("bob"), side(DisputeSide::Responder), "bc-refund ab-update"),
        (
            "what a party opened, for support",
            service.support(),
            List { party_id: "ann".to_owned(), ..side(DisputeSide::Opener) },
            "ac-update ab-update",
        ),
        (
            "what the other opened, of what both share",
            service.user("ann"),
            List { party_id: "bob".to_owned(), ..side(DisputeSide::Opener) },
            "ab-refund",
        ),
        (
            "of an order",
            service.user("ann"),
            List { order_id: "ac".to_owned(), ..List::default() },
            "ac-update ac-refund",
        ),
        (
            "of an order that is not its own",
            service.user("ann"),
            List { order_id: "bc".to_owned(), ..List::default() },
            "",
        ),
        (
            "of a kind",
            service.user("ann"),
            List { kinds: vec![DisputeKind::OrderUpdate.into()], ..List::default() },
            "ac-update ab-update",
        ),
        (
            "of several kinds",
            service.user("ann"),
            List { kinds: vec![1, 2, 3], ..List::default() },
            "ac-update ac-refund ab-update ab-refund",
        ),
        (
            "in a status",
            service.user("ann"),
            List { statuses: vec![DisputeStatus::Accepted.into()], ..List::default() },
            "",
        ),
        (
            "in several statuses",
            service.user("ann"),
            List { statuses: vec![1, 3, 4], order_id: "ab".to_owned(), ..List::default() },
            "ab-update ab-refund",
        ),
    ];
    for (name, caller, request, expected) in cases {
        assert_eq!(disputes(caller, request).await, expected, "{name}");
    }
    let aimless = service.support().disputes.list_disputes(side(DisputeSide::Opener)).await.unwrap_err();
    assert_eq!(facts(&aimless), invalid(&["side"]), "support has no side of its own");

    let orders = async |mut caller: Party, request: v1::ListOrdersRequest| caller.order_ids(request).await;
    let role = |role: v1::PartyRole| v1::ListOrdersRequest { role: role.into(), ..Default::default() };
    let party = |party: &str| v1::ListOrdersRequest { party_id: party.to_owned(), ..Default::default() };
    assert_eq!(orders(service.support(), v1::ListOrdersRequest::default()).await, "bc ac ab");
    assert_eq!(orders(service.user("bob"), v1::ListOrdersRequest::default()).await, "bc ab");
    assert_eq!(orders(service.user("bob"), role(v1::PartyRole::Buyer)).await, "bc");
    assert_eq!(orders(service.user("bob"), role(v1::PartyRole::Seller)).await, "ab");
    assert_eq!(orders(service.user("bob"), party("ann")).await, "ab");
    let ann_as_seller = v1::ListOrdersRequest { role: v1::PartyRole::Seller.into(), ..party("ann") };
    assert_eq!(orders(service.user("bob"), ann_as_seller).await, "", "the role is that of the party named");
    assert_eq!(orders(service.platform(), party("cid")).await, "bc ac");
    let ended = v1::ListOrdersRequest { statuses: vec![v1::OrderStatus::Completed.into()], ..Default::default() };
    assert_eq!(orders(service.platform(), ended).await, "");
    let aimless = service.support().orders.list_orders(role(v1::PartyRole::Buyer)).await.unwrap_err();
    assert_eq!(facts(&aimless), invalid(&["role"]));
}

/// Orders by their buyer and seller: two between `ann` and `bob`, one each way round.
const SHARED: [(&str, &str, &str); 6] = [
    ("ab", "ann", "bob"),
    ("ba", "bob", "ann"),
    ("ac", "ann", "cid"),
    ("cb", "cid", "bob"),
    ("ce", "cid", "eve"),
    ("ea", "eve", "ann"),
];

async fn who_names_somebody_else_sees_what_both_share(service: Service) {
    use v1::{DisputeSide, PartyRole};
    for (id, buyer, seller) in SHARED {
        let order = v1::Order { buyer_id: buyer.to_owned(), seller_id: seller.to_owned(), ..order(id) };
        service.platform().upsert(order).await;
        service.user(seller).offer(offer(id, 100)).await.unwrap();
        service.user(buyer).ask(update(id)).await.unwrap();
        service.clock.advance(Duration::from_secs(1));
    }
    let by_side = |party: &str, side: DisputeSide| v1::ListDisputesRequest {
        party_id: party.to_owned(),
        side: side.into(),
        ..Default::default()
    };
    let by_role = |party: &str, role: PartyRole| v1::ListOrdersRequest {
        party_id: party.to_owned(),
        role: role.into(),
        page_size: 1,
        ..Default::default()
    };
    let mut ann = service.user("ann");
    let none = DisputeSide::Unspecified;
    assert_eq!(disputes(ann.clone(), by_side("bob", none)).await, "ba-update ba-refund ab-update ab-refund");
    assert_eq!(disputes(ann.clone(), by_side("bob", DisputeSide::Opener)).await, "ba-update ab-refund");
    assert_eq!(disputes(ann.clone(), by_side("bob", DisputeSide::Responder)).await, "ba-refund ab-update");
    assert_eq!(disputes(ann.clone(), by_side("zoe", DisputeSide::Opener)).await, "");
    assert_eq!(ann.order_ids(by_role("bob", PartyRole::Unspecified)).await, "ba ab");
    assert_eq!(ann.order_ids(by_role("bob", PartyRole::Buyer)).await, "ba");
    assert_eq!(ann.order_ids(by_role("bob", PartyRole::Seller)).await, "ab");
    assert_eq!(ann.order_ids(by_role("zoe", PartyRole::Seller)).await, "");
    // Whoever asks for whomever.
    let people = ["ann", "bob", "cid", "eve", "zoe"];
    for (viewer, named) in people.iter().flat_map(|viewer| people.map(|named| (*viewer, named))) {
        let shared = SHARED
            .iter()
            .rev()
            .filter(|(_, buyer, seller)| [buyer, seller].contains(&&viewer) && [buyer, seller].contains(&&named));
        for (side, role) in [
            (DisputeSide::Unspecified, PartyRole::Unspecified),
            (DisputeSide::Opener, PartyRole::Buyer),
            (DisputeSide::Responder, PartyRole::Seller),
        ] {
            // A buyer opened the update and has to answer the offer.
            let of_the_side = shared.clone().flat_map(|(id, buyer, _)| {
                let is_asked_for =
                    |side_of_buyer| side == DisputeSide::Unspecified || (side == side_of_buyer) == (*buyer == named);
                let update = is_asked_for(DisputeSide::Opener).then(|| format!("{id}-update"));
                update.into_iter().chain(is_asked_for(DisputeSide::Responder).then(|| format!("{id}-refund")))
            });
            let expected: Vec<_> = of_the_side.collect();
            let found = disputes(service.user(viewer), by_side(named, side)).await;
            assert_eq!(found, expected.join(" "), "{viewer} asks for {named}, {side:?}");
            let of_the_role = shared.clone().filter(|(_, buyer, _)| {
                role == PartyRole::Unspecified || (role == PartyRole::Buyer) == (*buyer == named)
            });
            let expected: Vec<_> = of_the_role.map(|(id, ..)| *id).collect();
            let found = service.user(viewer).order_ids(by_role(named, role)).await;
            assert_eq!(found, expected.join(" "), "{viewer} asks for {named}, {role:?}");
        }
    }
}

async fn pages_follow_each_other_without_gap_or_repetition(service: Service) {
    let mut platform = service.platform();
    // Several share one create_time: the id decides among them, in an order that is no language's.
    let ids = |chunk: i32| ["-b", "A", "Z", "a-a", "aB", "z"].map(|suffix| format!("o{chunk}{suffix}"));
    // And everybody is the buyer of some and the seller of others, in turn.
    let parties = |id: &str| if id.len().is_multiple_of(2) { ("ann", "bob") } else { ("bob", "ann") };
    let between = |id: &String| {
        let (buyer, seller) = parties(id);
        v1::Order { buyer_id: buyer.to_owned(), seller_id: seller.to_owned(), ..order(id) }
    };
    for chunk in 0..4 {
        let orders = ids(chunk).iter().map(between).collect();
        platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
        for id in ids(chunk) {
            service.user(parties(&id).0).disputes.request_order_update(update(&id)).await.unwrap();
        }
        service.clock.advance(Duration::from_secs(1));
    }
    for mut caller in [service.user("ann"), service.user("bob"), service.support()] {
        let whole = caller.disputes.list_disputes(v1::ListDisputesRequest::default()).await.unwrap().into_inner();
        assert_eq!((whole.disputes.len(), whole.next_page_token.as_str()), (24, ""));
        let whole: Vec<_> = whole.disputes.into_iter().map(|dispute| dispute.dispute_id).collect();
        assert!(whole.is_sorted_by(|a, b| a > b), "newest first: ids are made of the time");
        for page_size in [1, 5, 6, 24] {
            let (mut paged, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = v1::ListDisputesRequest { page_size, page_token, ..Default::default() };
                let page = caller.disputes.list_disputes(request).await.unwrap().into_inner();
                paged.extend(page.disputes.into_iter().map(|dispute| dispute.dispute_id));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(paged, whole, "pages of {page_size}");
        }
        let paged = caller.order_ids(v1::ListOrdersRequest { page_size: 5, ..Default::default() }).await;
        let mut expected: Vec<_> = (0..4).flat_map(ids).collect();
        expected.reverse();
        assert_eq!(paged, expected.join(" "));
    }
    let large = v1::ListDisputesRequest { page_size: i32::MAX, ..Default::default() };
    assert_eq!(platform.disputes.list_disputes(large).await.unwrap().into_inner().disputes.len(), 24);
}

async fn a_page_token_is_bound_to_its_request(service: Service) {
    fixture(&service).await;
    let mut ann = service.user("ann");
    let first = v1::ListDisputesRequest { page_size: 1, ..Default::default() };
    let page_token = ann.disputes.list_disputes(first.clone()).await.unwrap().into_inner().next_page_token;
    let next = v1::ListDisputesRequest { page_token: page_token.clone(), page_size: 2, ..Default::default() };
    assert_eq!(ann.disputes.list_disputes(next.clone()).await.unwrap().into_inner().disputes.len(), 2);
    // Rights are judged again: the token shows a stranger nothing.
    assert_eq!(service.user("eve").disputes.list_disputes(next).await.unwrap().into_inner().disputes, []);
    let not_valid = refusal(Code::InvalidArgument, "PAGE_TOKEN_INVALID", &[]).about("page_token");
    let other = v1::ListDisputesRequest { page_token: page_token.clone(), kinds: vec![1], ..Default::default() };
    assert_eq!(facts(&ann.disputes.list_disputes(other).await.unwrap_err()), not_valid);
    for page_token in ["nonsense", "", &page_token[1..], &format!("{page_token}A")] {
        let request = v1::ListDisputesRequest { page_token: page_token.to_owned(), ..first.clone() };
        match ann.disputes.list_disputes(request).await {
            Ok(_) => assert_eq!(page_token, ""),
            Err(status) => assert_eq!(facts(&status), not_valid, "{page_token}"),
        }
    }
    let orders = v1::ListOrdersRequest { page_token, ..Default::default() };
    assert_eq!(facts(&ann.orders.list_orders(orders).await.unwrap_err()), not_valid);
}

async fn events_are_listed_page_by_page(service: Service) {
    use v1::list_dispute_events_request::Start;
    fixture(&service).await;
    let mut ann = service.user("ann");
    let list = |start: Option<Start>, page_size: i32, filter: Option<v1::DisputeEventFilter>| {
        v1::ListDisputeEventsRequest { filter, start, page_size }
    };
    let orders = |page: &v1::ListDisputeEventsResponse| {
        page.events.iter().map(|event| event.dispute.clone().unwrap().order_id).collect::<Vec<_>>().join(" ")
    };
    let first =
        ann.disputes.list_dispute_events(list(Some(Start::FromBeginning(true)), 3, None)).await.unwrap().into_inner();
    assert_eq!((orders(&first).as_str(), first.more), ("ab ab ac", true));
    let rest = list(Some(Start::ResumeToken(first.resume_token)), 3, None);
    let rest = ann.disputes.list_dispute_events(rest).await.unwrap().into_inner();
    assert_eq!((orders(&rest).as_str(), rest.more), ("ac", false), "what is not its own is passed over");
    let end = list(Some(Start::ResumeToken(rest.resume_token)), 3, None);
    assert_eq!(ann.disputes.list_dispute_events(end).await.unwrap().into_inner().events, []);
    let now = ann.disputes.list_dispute_events(list(None, 0, None)).await.unwrap().into_inner();
    assert_eq!((now.events.len(), now.more), (0, false));

    let everything = async |filter: v1::DisputeEventFilter| {
        let request = list(Some(Start::FromBeginning(true)), 500, Some(filter));
        orders(&service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner())
    };
    let filter = v1::DisputeEventFilter::default;
    assert_eq!(everything(filter()).await, "ab ab ac ac bc bc");
    assert_eq!(everything(v1::DisputeEventFilter { party_id: "cid".to_owned(), ..filter() }).await, "ac ac bc bc");
    let two = vec!["ab".to_owned(), "bc".to_owned()];
    assert_eq!(everything(v1::DisputeEventFilter { order_ids: two, kinds: vec![1], ..filter() }).await, "ab bc");
    assert_eq!(
        everything(v1::DisputeEventFilter { event_types: vec![v1::EventType::Accepted.into()], ..filter() }).await,
        ""
    );
}

async fn reasons_are_listed_for_anyone_signed_in(service: Service) {
    let reasons = service.user("nobody-yet").disputes.list_reasons(v1::ListReasonsRequest::default()).await.unwrap();
    let reasons = reasons.into_inner().reasons;
    assert_eq!(reasons.len(), 6 + 7 + 10 + 10 + 6, "also of what the policy turns off");
    for reason in reasons {
        let confidential = match (reason.kind(), reason.role()) {
            (v1::DisputeKind::PartialRefund, role) => role == v1::PartyRole::Seller,
            (v1::DisputeKind::DeliveryExtension, v1::PartyRole::Seller) => false,
            (v1::DisputeKind::Cancellation, role) => role == v1::PartyRole::Buyer,
            other => panic!("no reasons are given for {other:?}"),
        };
        assert_eq!(reason.confidential, confidential);
        assert!(!reason.label.is_empty());
    }
}

async fn health_and_reflection_are_open(service: Service) {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut health = HealthClient::new(service.channel());
    for name in ["", "disputes.v1.DisputeService", "disputes.v1.OrderService"] {
        let request = HealthCheckRequest { service: name.to_owned() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status(), ServingStatus::Serving, "{name}");
    }
    use tonic_reflection::pb::{v1 as reflection, v1alpha};
    let ask = reflection::ServerReflectionRequest {
        message_request: Some(reflection::server_reflection_request::MessageRequest::FileContainingSymbol(
            "google.rpc.ErrorInfo".to_owned(),
        )),
        ..Default::default()
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(service.channel());
    let mut answers =
        client.server_reflection_info(tonic::codegen::tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let is_file = matches!(
        answer,
        reflection::server_reflection_response::MessageResponse::FileDescriptorResponse(files)
            if files.file_descriptor_proto.iter().any(|file| String::from_utf8_lossy(file).contains("error_details.proto"))
    );
    assert!(is_file, "what errors carry is described too");
    let ask = v1alpha::ServerReflectionRequest {
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(service.channel());
    let mut answers =
        client.server_reflection_info(tonic::codegen::tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(services) = answer else {
        panic!("not a list of services");
    };
    assert!(services.service.iter().any(|service| service.name == "disputes.v1.DisputeService"));
}
