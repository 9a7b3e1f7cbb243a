//! A confidential reason is seen by its opener and by support, and is nowhere else.

use dispute_service::chance::mint_id;
use dispute_service::proto::v1;
use tonic::transport::Endpoint;

use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::{database, postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confidential_reason_is_nowhere_else_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    search_everywhere(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confidential_reason_is_nowhere_else_on_postgres() {
    if let Some(url) = postgres::new_database().await {
        search_everywhere(&url).await;
    }
}

/// Everything that is answered, collected as text.
#[derive(Default)]
struct Heard(String);

impl Heard {
    fn note<T: std::fmt::Debug, E: std::fmt::Debug>(&mut self, answer: Result<tonic::Response<T>, E>) {
        self.0.push_str(&format!("{answer:?}\n"));
    }
}

async fn search_everywhere(url: &str) {
    let marker = format!("marker{}", mint_id().simple());
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), url, "trace,h2=info,hyper=info,tower=info");
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let caller = |user: &str, scope| Party::new(channel.clone(), user, scope);
    let (mut ann, mut bob) = (caller("ann", None), caller("bob", None));
    let (mut platform, mut support) = (caller("shop", Some("platform")), caller("agent", Some("support")));
    let mut eve = caller("eve", None);
    for id in ["o1", "o2"] {
        platform.upsert(order(id)).await;
    }
    let mut watch = platform.watch(v1::WatchDisputesRequest::default()).await;
    let mut heard = Heard::default();

    // The seller's reason for an offer, and the buyer's for a cancellation; and attempts that are refused.
    let other = v1::Reason::Other.into();
    let offer = v1::OfferPartialRefundRequest {
        reason: other,
        reason_detail: marker.clone(),
        request_id: mint_id().to_string(),
        ..offer("o1", 100)
    };
    let cancel = v1::RequestCancellationRequest { reason: other, reason_detail: marker.clone(), ..cancellation("o2") };
    let offered = bob.disputes.offer_partial_refund(offer.clone()).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(offered.reason_detail, marker, "its opener sees it");
    let asked = ann.disputes.request_cancellation(cancel.clone()).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(support.dispute(&asked.dispute_id).await.reason_detail, marker, "support sees it");
    heard.note(
        bob.disputes
            .offer_partial_refund(v1::OfferPartialRefundRequest { amount: Some(usd(9)), ..offer.clone() })
            .await,
    );
    heard.note(
        bob.disputes
            .offer_partial_refund(v1::OfferPartialRefundRequest {
                amount: Some(usd(999_999)),
                request_id: String::new(),
                ..offer.clone()
            })
            .await,
    );
    heard.note(eve.disputes.offer_partial_refund(offer.clone()).await);
    heard.note(ann.disputes.request_cancellation(cancel.clone()).await);
    heard.note(
        bob.disputes
            .offer_partial_refund(v1::OfferPartialRefundRequest { reason_detail: marker.repeat(30), ..offer })
            .await,
    );
    heard.note(bob.disputes.request_cancellation(v1::RequestCancellationRequest { reason: 99, ..cancel }).await);

    let etag = ann.dispute(&offered.dispute_id).await.etag;
    assert_eq!(etag, offered.etag, "nothing is derived from it");
    // Everybody else reads everything there is.
    for (order, dispute, viewers) in [
        ("o1", &offered.dispute_id, [ann.clone(), platform.clone(), eve.clone()]),
        ("o2", &asked.dispute_id, [bob.clone(), platform.clone(), eve.clone()]),
    ] {
        for mut viewer in viewers {
            heard.note(viewer.disputes.get_dispute(v1::GetDisputeRequest { dispute_id: dispute.clone() }).await);
            let list = v1::ListDisputesRequest { order_id: order.to_owned(), ..Default::default() };
            heard.note(viewer.disputes.list_disputes(list).await);
            let options = v1::GetDisputeOptionsRequest { order_id: order.to_owned(), ..Default::default() };
            heard.note(viewer.disputes.get_dispute_options(options).await);
            heard.0.push_str(&format!("{:?}\n", viewer.events().await));
        }
    }
    heard.note(platform.disputes.list_disputes(v1::ListDisputesRequest::default()).await);
    heard.note(ann.disputes.decline_dispute(decline(&offered.dispute_id)).await);
    heard.note(bob.disputes.accept_dispute(accept(&asked.dispute_id)).await);
    heard.0.push_str(&format!("{:?}\n", watch.take(4).await));
    // It goes to support, who sees the reason, decides, and the money moves.
    heard.note(ann.disputes.escalate_dispute(escalate(&offered.dispute_id)).await);
    let include_snapshot = true;
    let mut shown = ann.watch(v1::WatchDisputesRequest { include_snapshot, ..Default::default() }).await;
    heard.0.push_str(&format!("{:?}\n", shown.message().await.unwrap()));
    let decided = support.decide(refund(&offered.dispute_id, 100)).await.unwrap();
    assert_eq!((decided.reason_detail.as_str(), decided.decided_by.as_str()), (marker.as_str(), "agent"));
    heard.note(ann.disputes.get_dispute(v1::GetDisputeRequest { dispute_id: offered.dispute_id.clone() }).await);
    heard.note(platform.disputes.report_settlement(settled(&offered.dispute_id, "pay-1")).await);
    heard.0.push_str(&format!("{:?}\n", watch.take(3).await));
    assert!(heard.0.len() > 5_000, "something was heard");
    assert!(!heard.0.contains(&marker), "it was answered to somebody else");
    assert!(!heard.0.contains("\"agent\""), "nor who decided");

    let (ended, log) = {
        drop((watch, shown));
        server.terminate()
    };
    assert!(ended);
    assert!(log.contains("OfferPartialRefund"), "the log says which RPCs were called");
    for written in [marker.as_str(), "Sorry for the delay", "Let us cancel"] {
        assert!(!log.contains(written), "the log repeats what a party wrote");
    }
    let count = async |sql: String| database::number(url, &sql).await;
    assert_eq!(count(format!("SELECT count(*) FROM disputes WHERE reason_detail = '{marker}'")).await, 2);
    let hex: String = marker.bytes().map(|byte| format!("{byte:02x}")).collect();
    let payload = if url.starts_with("postgres") { "encode(payload, 'hex')" } else { "lower(hex(payload))" };
    assert_eq!(count(format!("SELECT count(*) FROM events WHERE {payload} LIKE '%{hex}%'")).await, 0);
    assert_eq!(
        count(format!("SELECT count(*) FROM events WHERE {payload} LIKE '%536f727279%'")).await,
        5,
        "texts are shared"
    );
}
