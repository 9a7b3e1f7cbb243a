//! What people write, end to end: every text of every request is judged alike.

use dispute_service::proto::v1;

use crate::support::callers::{Facts, facts, invalid};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_text_that_must_be_there_must_be_seen,
    a_text_that_may_be_left_out_is_empty_if_nothing_of_it_is_seen,
    overrides_of_direction_are_refused_in_every_text,
    a_title_loses_what_cannot_be_shown,
);

const INVISIBLE: [&str; 8] =
    ["\u{200b}", "\u{3164}", "\u{2800}", "\u{ad} \u{2060}", "\u{feff}\n", "\u{115f}\u{1160}", "\u{fe0f}", "\u{e0041}"];
const OVERRIDES: [&str; 2] = ["\u{202d}", "\u{202e}"];

/// Who writes each text that must be there, and the refusal or the dispute that comes of it. All texts are those of one
/// order with a dispute of each kind that it takes; a refused one changes nothing.
struct Story {
    service: Service,
    offered: String,
    asked: String,
}

impl Story {
    async fn new(service: Service) -> Self {
        service.platform().upsert(order("o2")).await;
        let offered = service.order_with_offer("o1", 100).await.dispute_id;
        let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
        Self { service, offered, asked }
    }

    /// Every text that must be there, with this one in its place: the field, and what comes of it.
    async fn required(&self, text: &str) -> Vec<(&'static str, Result<v1::Dispute, Facts>)> {
        let message = || text.to_owned();
        let (mut ann, mut bob, mut support) =
            (self.service.user("ann"), self.service.user("bob"), self.service.support());
        let (offered, asked) = (self.offered.as_str(), self.asked.as_str());
        let other = v1::Reason::Other.into();
        vec![
            ("message", bob.offer(v1::OfferPartialRefundRequest { message: message(), ..offer("o2", 100) }).await),
            ("message", ann.cancel(v1::RequestCancellationRequest { message: message(), ..cancellation("o2") }).await),
            ("message", ann.ask(v1::RequestOrderUpdateRequest { message: message(), ..update("o2") }).await),
            (
                "message",
                bob.extend(v1::RequestDeliveryExtensionRequest { message: message(), ..extension("o2", 900_000) })
                    .await,
            ),
            ("message", ann.escalate(v1::EscalateDisputeRequest { message: message(), ..escalate(offered) }).await),
            ("message", bob.reply(v1::AnswerOrderUpdateRequest { message: message(), ..answer(asked) }).await),
            ("message", support.decide(v1::DecideDisputeRequest { message: message(), ..refund(offered, 1) }).await),
            (
                "message",
                support
                    .postpone(v1::PostponeDeadlineRequest { message: message(), ..postpone(offered, 900_000) })
                    .await,
            ),
            (
                "reason_detail",
                bob.offer(v1::OfferPartialRefundRequest {
                    reason: other,
                    reason_detail: message(),
                    ..offer("o2", 100)
                })
                .await,
            ),
            (
                "reason_detail",
                bob.cancel(v1::RequestCancellationRequest {
                    reason: other,
                    reason_detail: message(),
                    ..cancellation("o2")
                })
                .await,
            ),
            (
                "reason_detail",
                bob.extend(v1::RequestDeliveryExtensionRequest {
                    reason: other,
                    reason_detail: message(),
                    ..extension("o2", 900_000)
                })
                .await,
            ),
        ]
    }

    /// The texts that may be left out of requests which are refused with this one in its place.
    async fn optional(&self, text: &str) -> Vec<(&'static str, Result<v1::Dispute, Facts>)> {
        let message = || text.to_owned();
        let (mut ann, mut bob, mut platform) =
            (self.service.user("ann"), self.service.user("bob"), self.service.platform());
        let id = self.offered.as_str();
        vec![
            ("message", bob.cancel(v1::RequestCancellationRequest { message: message(), ..cancellation("o2") }).await),
            ("message", ann.decline(v1::DeclineDisputeRequest { message: message(), ..decline(id) }).await),
            ("settled.reference", platform.report(settled(id, text)).await),
            ("failed.detail", platform.report(failed(id, text)).await),
            ("returned.detail", platform.report(returned(id, text)).await),
            ("voided.detail", platform.report(voided(id, text)).await),
        ]
    }
}

async fn a_text_that_must_be_there_must_be_seen(service: Service) {
    let story = Story::new(service).await;
    for text in INVISIBLE {
        for (number, (field, answer)) in story.required(text).await.into_iter().enumerate() {
            assert_eq!(answer.unwrap_err(), invalid(&[field]), "{number}: {text:?}");
        }
    }
    assert_eq!(story.service.platform().events().await.len(), 2, "nothing came of it");
}

async fn a_text_that_may_be_left_out_is_empty_if_nothing_of_it_is_seen(service: Service) {
    let (mut ann, mut bob, mut platform) = (service.user("ann"), service.user("bob"), service.platform());
    for (number, text) in INVISIBLE.into_iter().enumerate() {
        let id = format!("o{number}");
        platform.upsert(order(&id)).await;
        let unexplained = v1::RequestCancellationRequest {
            message: text.to_owned(),
            reason_detail: text.repeat(600),
            ..cancellation(&id)
        };
        let asked = bob.cancel(unexplained).await.unwrap();
        assert_eq!((asked.message.as_str(), asked.reason_detail.as_str()), ("", ""), "{text:?}");
        let request = v1::DeclineDisputeRequest { message: text.repeat(3_000), ..decline(&asked.dispute_id) };
        assert_eq!(ann.decline(request).await.unwrap().answer_message, "", "{text:?}");
        let offered = bob.offer(offer(&id, 100)).await.unwrap().dispute_id;
        ann.accept(accept(&offered)).await.unwrap();
        let detail = |dispute: v1::Dispute| dispute.settlement.unwrap().detail;
        assert_eq!(detail(platform.report(failed(&offered, text)).await.unwrap()), "", "{text:?}");
        let paid = platform.report(settled(&offered, text)).await.unwrap();
        assert_eq!(paid.settlement.unwrap().reference, "", "{text:?}");
        assert_eq!(detail(platform.report(returned(&offered, text)).await.unwrap()), "", "{text:?}");
        assert_eq!(detail(platform.report(voided(&offered, text)).await.unwrap()), "", "{text:?}");
    }
}

async fn overrides_of_direction_are_refused_in_every_text(service: Service) {
    let story = Story::new(service).await;
    for text in OVERRIDES {
        let text = format!("pay {text}001");
        let answers = story.required(&text).await.into_iter().chain(story.optional(&text).await);
        for (number, (field, answer)) in answers.enumerate() {
            assert_eq!(answer.unwrap_err(), invalid(&[field]), "{number}: {text:?}");
        }
    }
    // Embeddings and isolates end where they are written, and names in Hebrew or Arabic need them.
    let isolated = "\u{2067}שלום\u{2069} \u{202b}عربي\u{202c}";
    let request = v1::DeclineDisputeRequest { message: isolated.to_owned(), ..decline(&story.offered) };
    assert_eq!(story.service.user("ann").decline(request).await.unwrap().answer_message, isolated);
}

async fn a_title_loses_what_cannot_be_shown(service: Service) {
    let mut platform = service.platform();
    let cases = [
        ("\u{202e}A \u{202d}logo\u{202e} ", "A logo"),
        ("\u{202e}\u{3164} ", ""),
        ("\u{2800}", ""),
        ("\u{200b}A logo", "\u{200b}A logo"),
    ];
    for (number, (title, shown)) in cases.into_iter().enumerate() {
        let said = v1::Order { title: title.to_owned(), ..order(&format!("o{number}")) };
        assert_eq!(platform.upsert(said).await.title, shown, "{title:?}");
        let batch = v1::BatchUpsertOrdersRequest {
            orders: vec![v1::Order { title: title.to_owned(), ..order(&format!("b{number}")) }],
        };
        let taken = platform.orders.batch_upsert_orders(batch).await.unwrap().into_inner().orders;
        assert_eq!(taken[0].title, shown, "{title:?}");
    }
    let control = v1::UpsertOrderRequest { order: Some(v1::Order { title: "A\u{7}".to_owned(), ..order("o9") }) };
    let refused = platform.orders.upsert_order(control).await.unwrap_err();
    assert_eq!(facts(&refused), invalid(&["order.title"]), "other characters are judged as before");
}
