//! What people read, in the languages of `translations/`: one file each, which a translator can edit.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{DisputeKind, Money, OrderStatus, PartyRole, ReasonCode, Refusal};
use crate::proto::v1;

/// The texts of every language.
#[derive(Debug)]
pub struct Translations {
    english: Texts,
    french: Texts,
}

impl Translations {
    /// Reads the languages, which are part of the program.
    pub fn load() -> Result<Self, toml::de::Error> {
        Ok(Self {
            english: toml::from_str(include_str!("../../translations/en.toml"))?,
            french: toml::from_str(include_str!("../../translations/fr.toml"))?,
        })
    }

    /// The texts in the language of a BCP 47 code, whatever its region; in English if there are none.
    pub(super) fn of(&self, language_code: &str) -> &Texts {
        let language = language_code.split(['-', '_']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("fr") { &self.french } else { &self.english }
    }
}

/// The texts of one language. A text that is missing from its file, or that nobody asks for, is an error.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    decimal_separator: String,
    percent: String,
    advice: Advice,
    support: Support,
    options: BTreeMap<String, OptionTexts>,
    #[serde(skip)]
    no_option: OptionTexts,
    blockers: Blockers,
    order_statuses: BTreeMap<String, String>,
    reasons: BTreeMap<String, String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Advice {
    buyer: String,
    seller: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Support {
    text: String,
}

/// What people read about one thing that they can ask for.
#[derive(Deserialize, Default, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct OptionTexts {
    pub(super) label: String,
    pub(super) when_to_use: String,
    advice: String,
    pub(super) message_label: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Blockers {
    order_status_not_allowed: String,
    open_dispute_exists: String,
    refund_already_accepted: String,
    refund_cap_below_minimum: String,
    nothing_left: String,
    due_time_too_late: String,
    cool_down: String,
    too_many_attempts: String,
}

impl Texts {
    /// What the resolution centre advises a party.
    pub(super) fn advice(&self, role: PartyRole) -> &str {
        match role {
            PartyRole::Buyer => &self.advice.buyer,
            PartyRole::Seller => &self.advice.seller,
        }
    }

    /// Where help is to be had.
    pub(super) fn support(&self) -> &str {
        &self.support.text
    }

    /// What a role reads about asking for something of this kind: the texts of the kind, or those of the kind and the
    /// role. Empty if there are none, which a test rules out.
    pub(super) fn option(&self, kind: DisputeKind, role: PartyRole) -> &OptionTexts {
        let kind = v1::DisputeKind::from(kind).name().to_ascii_lowercase();
        self.options.get(&kind).unwrap_or_else(|| {
            let role = v1::PartyRole::from(role).name().to_ascii_lowercase();
            self.options.get(&format!("{kind}_by_{role}")).unwrap_or(&self.no_option)
        })
    }

    /// What is good to know before asking for it. `cap_bps` is the share of the price that can be refunded.
    pub(super) fn option_advice(&self, option: &OptionTexts, cap_bps: u32) -> String {
        let number = rust_decimal::Decimal::new(cap_bps.into(), 2).normalize();
        let percent = self.percent.replace("{number}", &self.number(&number.to_string()));
        option.advice.replace("{percent}", &percent)
    }

    /// What a person reads when choosing a reason.
    pub(super) fn reason(&self, code: ReasonCode) -> &str {
        let reason = v1::Reason::from(code);
        named(&self.reasons, reason.as_str_name().trim_start_matches("REASON_"))
    }

    /// Why something cannot be asked for; `otherwise` for what is never said before it is tried.
    pub(super) fn blocker(&self, refusal: &Refusal, otherwise: String) -> String {
        let texts = &self.blockers;
        match refusal {
            Refusal::OrderStatusNotAllowed { status } => {
                texts.order_status_not_allowed.replace("{status}", self.order_status(*status))
            }
            Refusal::OpenDisputeExists { .. } => texts.open_dispute_exists.clone(),
            Refusal::RefundAlreadyAccepted { .. } => texts.refund_already_accepted.clone(),
            Refusal::RefundCapBelowMinimum { cap } => {
                texts.refund_cap_below_minimum.replace("{cap}", &self.money(*cap))
            }
            Refusal::AmountOutOfRange { .. } => texts.nothing_left.clone(),
            Refusal::NewDueTimeOutOfRange { .. } => texts.due_time_too_late.clone(),
            Refusal::CoolDown { .. } => texts.cool_down.clone(),
            Refusal::TooManyAttempts { max, .. } => texts.too_many_attempts.replace("{max}", &max.to_string()),
            Refusal::OrderNotFound { .. }
            | Refusal::DisputeNotFound { .. }
            | Refusal::WrongRole
            | Refusal::CurrencyNotOfOrder { .. }
            | Refusal::TooPreciseForOrder { .. }
            | Refusal::MessageRequired
            | Refusal::ReasonNotValid
            | Refusal::WrongKind { .. }
            | Refusal::EtagMismatch { .. }
            | Refusal::DeadlinePassed { .. }
            | Refusal::StatusNotAllowed { .. }
            | Refusal::DeadlineNotLater { .. }
            | Refusal::TooManyRounds { .. }
            | Refusal::NoFaultNotAvailable { .. }
            | Refusal::EscalationWindowClosed { .. }
            | Refusal::NothingToSettle
            | Refusal::AttemptUnknown { .. }
            | Refusal::SettledTwice { .. }
            | Refusal::SettlementStatusNotAllowed { .. }
            | Refusal::OrderIdentityChanged { .. }
            | Refusal::NewerReleaseNeeded { .. }
            | Refusal::Unreadable { .. } => otherwise,
        }
    }

    fn order_status(&self, status: OrderStatus) -> &str {
        named(&self.order_statuses, v1::OrderStatus::from(status).name())
    }

    fn money(&self, money: Money) -> String {
        self.number(&money.to_string())
    }

    fn number(&self, number: &str) -> String {
        number.replace('.', &self.decimal_separator)
    }
}

/// A text by its name; the name itself if there is none, which a test rules out.
fn named<'a>(texts: &'a BTreeMap<String, String>, name: &'a str) -> &'a str {
    texts.get(name).map_or(name, String::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn flat(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                table.iter().for_each(|(key, value)| flat(&format!("{prefix}.{key}"), value, into));
            }
            value => drop(into.insert(prefix.to_owned(), value.as_str().unwrap().to_owned())),
        }
    }

    fn texts(file: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        flat("", &toml::Value::Table(file.parse().unwrap()), &mut texts);
        texts
    }

    fn placeholders(text: &str) -> BTreeSet<String> {
        text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_language_says_everything_with_the_same_facts() {
        let english = texts(include_str!("../../translations/en.toml"));
        let french = texts(include_str!("../../translations/fr.toml"));
        assert_eq!(english.keys().collect::<Vec<_>>(), french.keys().collect::<Vec<_>>());
        for (key, text) in &english {
            let translated = &french[key];
            assert!(!text.trim().is_empty() && !translated.trim().is_empty(), "{key} is empty");
            assert_eq!(placeholders(text), placeholders(translated), "{key}");
        }
        let untranslated = english.iter().filter(|(key, text)| french[*key] == **text);
        assert_eq!(untranslated.map(|(key, _)| key).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn every_option_of_every_role_has_its_texts_in_every_language_and_there_are_no_others() {
        let translations = Translations::load().unwrap();
        for texts in [&translations.english, &translations.french] {
            let roles = |kind: DisputeKind| PartyRole::ALL.into_iter().filter(move |role| kind.may_be_opened_by(*role));
            let pairs = DisputeKind::ALL.into_iter().flat_map(|kind| roles(kind).map(move |role| (kind, role)));
            let used: Vec<&OptionTexts> = pairs.map(|(kind, role)| texts.option(kind, role)).collect();
            assert!(used.iter().all(|option| **option != texts.no_option), "an option without texts");
            assert!(texts.options.values().all(|option| used.contains(&option)), "texts of no option");
        }
    }

    #[test]
    fn every_reason_and_every_status_has_its_text_in_every_language() {
        let translations = Translations::load().unwrap();
        for texts in [&translations.english, &translations.french] {
            let reasons: BTreeSet<&str> = ReasonCode::ALL.into_iter().map(|code| texts.reason(code)).collect();
            assert_eq!(reasons.len(), ReasonCode::ALL.len(), "two reasons read the same");
            assert_eq!(texts.reasons.len(), ReasonCode::ALL.len(), "a text of no reason");
            assert!(
                ReasonCode::ALL.into_iter().all(|code| texts.reasons.values().any(|text| text == texts.reason(code)))
            );
            assert_eq!(texts.order_statuses.len(), OrderStatus::ALL.len());
            assert!(OrderStatus::ALL.into_iter().all(|status| texts.order_status(status).contains(char::is_lowercase)));
        }
    }

    #[test]
    fn a_language_is_found_by_its_code_whatever_the_region_and_else_it_is_english() {
        let translations = Translations::load().unwrap();
        let cases = [
            ("", "Another reason"),
            ("en", "Another reason"),
            ("en-GB", "Another reason"),
            ("fr", "Un autre motif"),
            ("fr-CA", "Un autre motif"),
            ("FR", "Un autre motif"),
            ("fr_FR", "Un autre motif"),
            ("fr-Latn-FR", "Un autre motif"),
            ("fro", "Another reason"),
            ("de", "Another reason"),
            ("\u{1F600}", "Another reason"),
        ];
        for (code, text) in cases {
            assert_eq!(translations.of(code).reason(ReasonCode::Other), text, "{code:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_the_language_does() {
        let translations = Translations::load().unwrap();
        let advice = |code, bps| {
            let texts = translations.of(code);
            texts.option_advice(texts.option(DisputeKind::PartialRefund, PartyRole::Seller), bps)
        };
        assert!(advice("en", 6_000).contains("up to 60% of"));
        assert!(advice("fr", 6_050).contains("jusqu'à 60,5\u{a0}% du"));
        let cap = Money::new(50, crate::domain::Currency::from_code("USD").unwrap());
        let blocker = |code| translations.of(code).blocker(&Refusal::RefundCapBelowMinimum { cap }, String::new());
        assert!(blocker("en").contains("0.50 USD"));
        assert!(blocker("fr").contains("0,50 USD"));
    }
}
