//! `GetDisputeOptions`: what a party can do about an order, what stands in the way, and what would come of it.

use super::{Call, Class, Rpc};
use crate::domain::{
    Caller, DisputeOption, Operation, OrderId, PartyRole, Policy, Refusal, Subject, is_confidential, options, reasons,
    text,
};
use crate::engine::OptionsFound;
use crate::grpc::responses::{self, money, outcome, timestamp};
use crate::grpc::status::Failure;
use crate::grpc::translations::Texts;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/GetDisputeOptions", Class::Read, Operation::GetDisputeOptions);

pub(super) fn parse(
    mut violations: Violations,
    _: &Caller,
    request: &v1::GetDisputeOptionsRequest,
) -> Result<OrderId, Failure> {
    let id = violations.order_id("order_id", &request.order_id);
    violations.finish(id)
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::GetDisputeOptionsRequest,
) -> Result<v1::GetDisputeOptionsResponse, Failure> {
    let Call { shared, caller, .. } = call;
    let id = parse(Violations::default(), &caller, &request)?;
    let OptionsFound { aggregate, role, standing, now } = shared.reads.options(&caller, id).await?;
    let policy = &*shared.policy;
    let texts = shared.translations.of(&request.language_code);
    let options = options(&aggregate, role, standing.as_ref(), policy, now);
    let shown = |dispute| Some(responses::shown_to(&aggregate.show(dispute, &caller, policy, now)?, &caller));
    Ok(v1::GetDisputeOptionsResponse {
        role: v1::PartyRole::from(role).into(),
        options: options.iter().map(|option| encoded(option, role, texts, policy)).collect(),
        advice: texts.advice(role).to_owned(),
        support: Some(v1::SupportContact { url: shared.support_url.clone(), text: texts.support().to_owned() }),
        open_disputes: aggregate.order_view().open_disputes.into_iter().filter_map(shown).collect(),
        server_time: Some(timestamp(now)),
    })
}

fn encoded(option: &DisputeOption, role: PartyRole, texts: &Texts, policy: &Policy) -> v1::DisputeOption {
    let kind = option.kind;
    let words = texts.option(kind, role);
    let rate = |bps: Option<u32>| bps.and_then(|bps| i32::try_from(bps).ok());
    v1::DisputeOption {
        kind: v1::DisputeKind::from(kind).into(),
        label: words.label.clone(),
        when_to_use: words.when_to_use.clone(),
        advice: texts.option_advice(words, policy.partial_refund.cap_bps.get()),
        available: option.blockers.is_empty(),
        blockers: option.blockers.iter().map(|refusal| blocker(refusal, texts)).collect(),
        accepts_dispute_id: option.accepts.map(|dispute| dispute.to_string()).unwrap_or_default(),
        min_amount: option.amounts.map(|(min, _)| money(min)),
        max_amount: option.amounts.map(|(_, max)| money(max)),
        message_label: words.message_label.clone(),
        message_required: kind.requires_message(role),
        message_max_characters: i64::try_from(text::MESSAGE_MAX_CHARACTERS).unwrap_or(i64::MAX),
        reasons: reasons(kind, role)
            .iter()
            .map(|code| v1::ReasonChoice {
                reason: v1::Reason::from(*code).into(),
                label: texts.reason(*code).to_owned(),
                confidential: is_confidential(kind, role),
            })
            .collect(),
        response_window: option.waits.and_then(|(window, _)| prost_types::Duration::try_from(window).ok()),
        silence_rule: option.waits.map_or(v1::SilenceRule::Unspecified, |(_, rule)| rule.into()).into(),
        if_accepted: option.if_accepted.map(outcome),
        effects: option.effects.iter().map(|effect| v1::Effect::from(*effect).into()).collect(),
        rate_before_bps: rate(option.rate_before_bps),
        rate_after_bps: rate(option.rate_after_bps),
        counters_dispute_id: option.counters.map(|dispute| dispute.to_string()).unwrap_or_default(),
        no_fault_available: option.no_fault_available,
    }
}

fn blocker(refusal: &Refusal, texts: &Texts) -> v1::DisputeBlocker {
    let dispute = if let Refusal::OpenDisputeExists { dispute }
    | Refusal::RefundAlreadyAccepted { dispute }
    | Refusal::NewerReleaseNeeded { subject: Subject::Dispute(dispute) } = refusal
    {
        Some(dispute)
    } else {
        None
    };
    let available_time = if let Refusal::CoolDown { retry_time } = refusal { Some(*retry_time) } else { None };
    let Failure { reason, message, .. } = Failure::from(refusal);
    v1::DisputeBlocker {
        reason: reason.into(),
        text: texts.blocker(refusal, message),
        dispute_id: dispute.map(ToString::to_string).unwrap_or_default(),
        available_time: available_time.map(timestamp),
    }
}
