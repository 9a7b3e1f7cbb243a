//! The policy file: every key, and everything that it cannot say.

use super::*;
use crate::domain::DisputeKind;

fn parse(text: &str) -> Result<PolicyFile, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

/// The file of the contract, with its defaults.
const DEFAULTS: &str = r#"
response_window = "48h"
reminders = ["24h", "2h"]
escalation_window = "14d"
standing_window = "60d"
event_retention = "0s"
support_url = ""
[partial_refund]
enabled = true
attempts = { cool_down = "0s", max = 0 }
cap_bps = 6000
silence_rule = "no_effect"
smallest_refund = {}
smallest_price = {}
[cancellation]
silence_rule = "accept"
silence_rule_after_delivery = "no_effect"
immediate_before_start = false
immediate_when_late = "0s"
[order_update]
[delivery_extension]
silence_rule = "accept"
silent_grants = 1
max_extension = "30d"
"#;

#[test]
fn a_file_with_every_default_is_the_default_policy() {
    for text in ["", DEFAULTS] {
        let file = parse(text).unwrap();
        assert_eq!(file, PolicyFile::default());
        assert_eq!(file.into_policy(), Policy::default());
    }
}

#[test]
fn each_key_that_decides_something_turns_it() {
    let policy = |text: &str| parse(text).unwrap().into_policy();
    let hour = Duration::from_secs(3_600);
    let windows = policy("response_window = \"1h\"\n[cancellation]\nresponse_window = \"90s\"");
    let window = |kind| windows.for_kind(kind).response_window;
    assert_eq!(window(DisputeKind::PartialRefund), hour);
    assert_eq!(window(DisputeKind::Cancellation), Duration::from_secs(90));
    assert_eq!(window(DisputeKind::OrderUpdate), hour);
    assert_eq!(window(DisputeKind::DeliveryExtension), hour);
    let attempts = domain::Attempts { cool_down: hour, max: 3 };
    for kind in DisputeKind::ALL {
        let table = match kind {
            DisputeKind::PartialRefund => "partial_refund",
            DisputeKind::Cancellation => "cancellation",
            DisputeKind::OrderUpdate => "order_update",
            DisputeKind::DeliveryExtension => "delivery_extension",
        };
        let set = policy(&format!(
            "[{table}]\nenabled = false\nresponse_window = \"1h\"\nattempts = {{ cool_down = \"1h\", max = 3 }}"
        ));
        assert_eq!(*set.for_kind(kind), KindPolicy { enabled: false, response_window: hour, attempts }, "{table}");
        assert_eq!(set.kinds_with_limited_attempts(), [kind]);
    }
    let general = policy(
        "reminders = [\"1h\", \"60s\"]\nescalation_window = \"1h\"\nstanding_window = \"1h\"\nevent_retention = \"1h\"\nsupport_url = \"https://help.example/\"",
    );
    assert_eq!(general.reminders, [hour, Duration::from_secs(60)]);
    assert_eq!(policy("reminders = []").reminders, [Duration::ZERO; 0]);
    assert_eq!([general.escalation_window, general.standing_window, general.event_retention], [hour; 3]);
    assert_eq!(general.support_url, "https://help.example/");
    let extension =
        policy("[delivery_extension]\nsilence_rule = \"no_effect\"\nsilent_grants = 2\nmax_extension = \"1h\"")
            .delivery_extension;
    assert_eq!(extension.silence_rule, SilenceRule::NoEffect);
    assert_eq!((extension.silent_grants, extension.max_extension), (2, hour));
    let refund = policy(
        "[partial_refund]\ncap_bps = 5000\nsilence_rule = \"accept\"\nsmallest_refund = { USD = 500 }\nsmallest_price = { JPY = 7 }",
    )
    .partial_refund;
    assert_eq!(refund.cap_bps, 5_000);
    assert_eq!(refund.silence_rule, SilenceRule::Accept);
    assert_eq!(refund.smallest_refund, BTreeMap::from([("USD".to_owned(), 500)]));
    assert_eq!(refund.smallest_price, BTreeMap::from([("JPY".to_owned(), 7)]));
    let cancellation =
        policy("[cancellation]\nsilence_rule = \"no_effect\"\nsilence_rule_after_delivery = \"accept\"\nimmediate_before_start = true\nimmediate_when_late = \"1h\"")
            .cancellation;
    assert!(cancellation.immediate_before_start);
    assert_eq!(cancellation.immediate_when_late, hour);
    assert_eq!(cancellation.silence_rule, SilenceRule::NoEffect);
    assert_eq!(cancellation.silence_rule_after_delivery, SilenceRule::Accept);
}

#[test]
fn what_cannot_be_is_an_error_that_names_the_line() {
    let cases = [
        ("an unknown key", "\nresponce_window = \"1h\"", "line 2", "unknown field `responce_window`"),
        ("an unknown table", "[refunds]", "line 1", "unknown field `refunds`"),
        ("a span without a unit", "response_window = \"48\"", "line 1", "s, m, h or d"),
        ("a span that is a number", "response_window = 48", "line 1", "string"),
        ("a negative span", "event_retention = \"-1h\"", "line 1", "s, m, h or d"),
        ("a span beyond reason", "\n\nevent_retention = \"99999999999999999999d\"", "line 3", "s, m, h or d"),
        ("a span of more than ten years", "event_retention = \"3651d\"", "line 1", "at most 3650d"),
        ("a window of more than ten years", "\nresponse_window = \"87601h\"", "line 2", "at most 3650d"),
        (
            "a cool-down of more than ten years",
            "[order_update]\nattempts = { cool_down = \"3651d\" }",
            "line 2",
            "3650d",
        ),
        ("an empty window", "response_window = \"0s\"", "line 1", "more than nothing"),
        ("a cap above the price", "[partial_refund]\ncap_bps = 10001", "line 2", "1 to 10000"),
        ("no cap", "[partial_refund]\ncap_bps = 0", "line 2", "1 to 10000"),
        ("an unknown rule", "[cancellation]\nsilence_rule = \"perhaps\"", "line 2", "unknown variant"),
        ("a support URL that is none", "support_url = \"call us\"", "line 1", "https://"),
        ("a support URL that is a script", "support_url = \"javascript:alert(1)\"", "line 1", "https://"),
        ("an empty reminder", "reminders = [\"0s\"]", "line 1", "more than nothing"),
        ("a negative number of attempts", "[cancellation]\nattempts = { max = -1 }", "line 2", "invalid value"),
        ("an unknown currency", "[partial_refund]\nsmallest_price = { XYZ = 1 }", "line 2", "ISO 4217"),
        ("a negative amount", "[partial_refund]\nsmallest_price = { USD = -1 }", "line 2", "at least 0"),
    ];
    for (name, text, line, what) in cases {
        let error = parse(text).unwrap_err();
        assert!(error.contains(line) && error.contains(what), "{name}: {error}");
    }
}

#[test]
fn ten_years_are_the_longest_span() {
    let policy =
        parse("response_window = \"3650d\"\n[cancellation]\nimmediate_when_late = \"87600h\"").unwrap().into_policy();
    assert_eq!(policy.order_update.response_window, Duration::from_secs(3_650 * 24 * 60 * 60));
    assert_eq!(policy.cancellation.immediate_when_late, Duration::from_secs(10 * 365 * 86_400));
}

#[test]
fn an_unknown_key_of_a_kind_or_of_its_attempts_is_an_error_that_names_the_line() {
    for kind in ["partial_refund", "cancellation", "order_update", "delivery_extension"] {
        let cases = [
            ("in its table", format!("\n[{kind}]\nenabled = true\nretries = 1"), "line 4", "unknown field `retries`"),
            (
                "in its attempts",
                format!("[{kind}]\nattempts = {{ max = 1, pause = \"1h\" }}"),
                "line 2",
                "unknown field `pause`",
            ),
            (
                "in the table of its attempts",
                format!("[{kind}.attempts]\nmax = 1\npause = \"1h\""),
                "line 3",
                "unknown field `pause`",
            ),
        ];
        for (name, text, line, what) in cases {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(line) && error.contains(what), "{kind}, {name}: {error}");
        }
    }
}
