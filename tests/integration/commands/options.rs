//! Options that explain themselves, in every language.

use dispute_service::proto::v1;

use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    an_option_explains_itself_in_english_and_in_french,
    every_blocker_is_told_in_the_callers_language,
    reasons_are_told_in_the_callers_language,
    an_option_promises_what_the_command_then_does,
    what_takes_effect_at_once_has_no_response_window,
);

async fn options(caller: &mut Party, order: &str, language: &str) -> v1::GetDisputeOptionsResponse {
    let request = v1::GetDisputeOptionsRequest { order_id: order.to_owned(), language_code: language.to_owned() };
    caller.disputes.get_dispute_options(request).await.unwrap().into_inner()
}

async fn an_option_explains_itself_in_english_and_in_french(mut service: Service) {
    service.restart_with_policy("support_url = \"https://help.example/\"").await;
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    let done = v1::Order { status: v1::OrderStatus::Completed.into(), ..order("o0") };
    platform.upsert(done).await;
    let mut bob = service.user("bob");
    let english = options(&mut bob, "o1", "").await;
    let refund = &english.options[0];
    let outcome = v1::DisputeOutcome::default;
    let expected = v1::DisputeOption {
        kind: v1::DisputeKind::PartialRefund.into(),
        label: "Offer a partial refund".to_owned(),
        available: true,
        min_amount: Some(usd(1)),
        max_amount: Some(usd(6_000)),
        message_label: "Explanation for the buyer".to_owned(),
        message_required: true,
        message_max_characters: 2_000,
        response_window: Some(prost_types::Duration { seconds: 172_800, nanos: 0 }),
        silence_rule: v1::SilenceRule::NoEffect.into(),
        if_accepted: Some(outcome()),
        effects: vec![v1::Effect::NoFurtherRefund.into()],
        rate_before_bps: Some(10_000),
        rate_after_bps: Some(10_000),
        when_to_use: refund.when_to_use.clone(),
        advice: refund.advice.clone(),
        reasons: refund.reasons.clone(),
        blockers: Vec::new(),
        accepts_dispute_id: String::new(),
        counters_dispute_id: String::new(),
        no_fault_available: false,
    };
    assert_eq!(*refund, expected);
    assert!(refund.when_to_use.contains("scope"), "{}", refund.when_to_use);
    assert!(refund.advice.contains("60%") && refund.advice.contains("confidential"), "{}", refund.advice);
    let reason = &refund.reasons[0];
    assert_eq!((reason.reason(), reason.confidential), (v1::Reason::ScopeChanged, true));
    assert_eq!(reason.label, "The scope of the work has changed");
    let support = english.support.unwrap();
    assert_eq!(support.url, "https://help.example/");
    assert!(support.text.contains("customer support"));
    assert!(english.advice.contains("last resort"), "{}", english.advice);
    let cancel = &english.options[1];
    use v1::Effect::{CompletionRate, Revenue, SearchVisibility};
    assert_eq!(cancel.effects, [Revenue, CompletionRate, SearchVisibility].map(i32::from));
    assert_eq!((cancel.rate_before_bps, cancel.rate_after_bps), (Some(10_000), Some(5_000)));
    let everything = v1::DisputeOutcome {
        refund: Some(usd(10_000)),
        order_cancelled: true,
        counts_against_completion_rate: true,
        ..outcome()
    };
    assert_eq!(cancel.if_accepted, Some(everything));
    assert_eq!(cancel.silence_rule(), v1::SilenceRule::Accept);

    let french = options(&mut bob, "o1", "fr-CA").await;
    assert_eq!(french.options[0].label, "Offrir un remboursement partiel");
    assert!(french.options[0].advice.contains("60\u{a0}%"), "{}", french.options[0].advice);
    assert!(french.support.unwrap().text.contains("assistance client"));
    for (french, english) in french.options.iter().zip(&english.options) {
        assert_eq!(french.kind, english.kind);
        for (there, here) in [
            (&french.label, &english.label),
            (&french.when_to_use, &english.when_to_use),
            (&french.advice, &english.advice),
            (&french.message_label, &english.message_label),
        ] {
            assert!(!there.is_empty() && !here.is_empty() && there != here, "{here}");
        }
        for (there, here) in french.reasons.iter().zip(&english.reasons) {
            assert_eq!(there.reason, here.reason);
            assert_ne!(there.label, here.label);
        }
    }
    let mut ann = service.user("ann");
    let theirs = options(&mut ann, "o1", "fr").await;
    assert_eq!(theirs.options[0].label, "Demander au vendeur d'annuler cette commande");
    assert_eq!(theirs.options[1].label, "Obtenir une mise à jour de la commande");
    assert_ne!(theirs.advice, french.advice, "each role has its own advice");
    let german = options(&mut ann, "o1", "de-AT").await;
    assert_eq!(german.options[0].label, "Ask the seller to cancel this order", "English where there is no other");
}

async fn every_blocker_is_told_in_the_callers_language(mut service: Service) {
    service.restart_with_policy("[partial_refund]\nattempts = { cool_down = \"1h\", max = 1 }").await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let declined = service.order_with_offer("o1", 100).await;
    ann.decline(decline(&declined.dispute_id)).await.unwrap();
    let escalated = ann.escalate(escalate(&declined.dispute_id)).await.unwrap();
    service.support().withdraw(withdraw(&escalated.dispute_id)).await.unwrap_err();
    ann.withdraw(withdraw(&escalated.dispute_id)).await.unwrap();
    let asked = ann.cancel(cancellation("o1")).await.unwrap();
    service.support().escalate(escalate(&asked.dispute_id)).await.unwrap();
    let completed = v1::Order { status: v1::OrderStatus::Completed.into(), source_version: 2, ..order("o1") };
    service.platform().upsert(completed).await;
    let refund = options(&mut bob, "o1", "fr").await.options.remove(0);
    assert!(!refund.available);
    assert_eq!(refund.if_accepted, None, "nothing is promised that would be refused");
    use v1::ErrorReason::{CoolDown, OpenDisputeExists, OrderStatusNotAllowed, TooManyAttempts};
    let told: Vec<_> = refund.blockers.iter().map(v1::DisputeBlocker::reason).collect();
    assert_eq!(told, [OrderStatusNotAllowed, OpenDisputeExists, CoolDown, TooManyAttempts]);
    assert_eq!(refund.blockers[0].text, "Ce n'est pas possible\u{a0}: la commande est terminée.");
    assert_eq!(refund.blockers[1].dispute_id, asked.dispute_id);
    assert_eq!(refund.blockers[2].available_time, Some(at(3_600)));
    assert!(refund.blockers[3].text.ends_with("(1)."), "{}", refund.blockers[3].text);
    let english = options(&mut bob, "o1", "en").await.options.remove(0);
    assert_eq!(english.blockers[0].text, "This is not possible: the order is completed.");
}

async fn reasons_are_told_in_the_callers_language(service: Service) {
    let labels = async |language: &str| {
        let request = v1::ListReasonsRequest { language_code: language.to_owned() };
        let reasons = service.user("eve").disputes.list_reasons(request).await.unwrap().into_inner().reasons;
        reasons.into_iter().map(|reason| reason.label).collect::<Vec<_>>()
    };
    let (english, french) = (labels("en").await, labels("fr").await);
    assert_eq!(english.len(), french.len());
    assert!(english.iter().zip(&french).all(|(here, there)| here != there));
    assert_eq!(labels("xx").await, english);
}

async fn an_option_promises_what_the_command_then_does(service: Service) {
    let spent = v1::Order { refunded_elsewhere: Some(usd(4_000)), ..order("o1") };
    service.platform().upsert(spent).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let option = ann.options("o1").await.options.remove(0);
    let asked = ann.cancel(cancellation("o1")).await.unwrap();
    assert_eq!(asked.if_accepted, option.if_accepted);
    assert_eq!(asked.if_silent, option.if_accepted, "silence accepts");
    assert_eq!(asked.silence_rule(), option.silence_rule());
    let accepted = bob.accept(accept(&asked.dispute_id)).await.unwrap();
    assert_eq!(accepted.outcome, option.if_accepted);
    assert_eq!(accepted.settlement.unwrap().amount, Some(usd(6_000)));
}

async fn what_takes_effect_at_once_has_no_response_window(service: Service) {
    let first = service.order_with_cancellation("o1", "bob").await;
    let option = service.user("ann").options("o1").await.options.remove(0);
    assert_eq!(option.accepts_dispute_id, first.dispute_id);
    assert_eq!((option.response_window, option.silence_rule()), (None, v1::SilenceRule::Unspecified));
    assert!(option.if_accepted.unwrap().order_cancelled);
}
