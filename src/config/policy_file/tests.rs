//! The policy file: every key, and everything that it cannot say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::{Attempts, CurrencyCode, DisputeKind, Key, KindPolicy, MinorUnits, Settings as _, SilenceRule};

fn parse(text: &str) -> Result<PolicyFile, String> {
    PolicyFile::parse(text).map_err(|error| error.to_string())
}

/// The file of the contract, with its defaults.
const DEFAULTS: &str = r#"
response_window = "48h"
reminders = ["24h", "2h"]
escalation_window = "14d"
standing_window = "60d"
event_retention = "0s"
audit_retention = "0s"
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
        assert_eq!(file.rules, Policy::default());
    }
}

#[test]
fn each_key_that_decides_something_turns_it() {
    let policy = |text: &str| parse(text).unwrap().rules;
    let hour = Duration::from_secs(3_600);
    let windows = policy("response_window = \"1h\"\n[cancellation]\nresponse_window = \"90s\"");
    let window = |kind| windows.response_window(kind);
    assert_eq!(window(DisputeKind::PartialRefund), hour);
    assert_eq!(window(DisputeKind::Cancellation), Duration::from_secs(90));
    assert_eq!(window(DisputeKind::OrderUpdate), hour);
    assert_eq!(window(DisputeKind::DeliveryExtension), hour);
    let attempts = Attempts { cool_down: Span(hour), max: 3 };
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
        let response_window = set.for_kind(kind).response_window;
        assert_eq!(*set.for_kind(kind), KindPolicy { enabled: false, response_window, attempts }, "{table}");
        assert_eq!(set.response_window(kind), hour, "{table}");
        assert_eq!(set.kinds_with_limited_attempts(), [kind]);
    }
    let file = parse(
        "reminders = [\"1h\", \"60s\"]\nescalation_window = \"1h\"\nstanding_window = \"1h\"\nevent_retention = \"1h\"\naudit_retention = \"1h\"\nsupport_url = \"https://help.example/\"",
    )
    .unwrap();
    let general = &file.rules;
    let reminders = |policy: &Policy| policy.reminders.iter().map(|offset| offset.get()).collect::<Vec<_>>();
    assert_eq!(reminders(general), [hour, Duration::from_secs(60)]);
    assert_eq!(reminders(&policy("reminders = []")), [Duration::ZERO; 0]);
    let spans = [general.escalation_window.get(), general.standing_window.get(), file.event_retention.0];
    assert_eq!(spans, [hour; 3]);
    assert_eq!(file.audit_retention.0, hour);
    assert_eq!(file.support_url.0, "https://help.example/");
    let extension =
        policy("[delivery_extension]\nsilence_rule = \"no_effect\"\nsilent_grants = 2\nmax_extension = \"1h\"")
            .delivery_extension;
    assert_eq!(extension.silence_rule, SilenceRule::NoEffect);
    assert_eq!((extension.silent_grants, extension.max_extension.get()), (2, hour));
    let refund = policy(
        "[partial_refund]\ncap_bps = 5000\nsilence_rule = \"accept\"\nsmallest_refund = { USD = 500 }\nsmallest_price = { JPY = 7 }",
    )
    .partial_refund;
    assert_eq!(refund.cap_bps.get(), 5_000);
    assert_eq!(refund.silence_rule, SilenceRule::Accept);
    let amounts = |table: &BTreeMap<CurrencyCode, MinorUnits>| -> Vec<(String, i64)> {
        table.iter().map(|(code, least)| (code.as_str().to_owned(), least.get())).collect()
    };
    assert_eq!(amounts(&refund.smallest_refund), [("USD".to_owned(), 500)]);
    assert_eq!(amounts(&refund.smallest_price), [("JPY".to_owned(), 7)]);
    let cancellation =
        policy("[cancellation]\nsilence_rule = \"no_effect\"\nsilence_rule_after_delivery = \"accept\"\nimmediate_before_start = true\nimmediate_when_late = \"1h\"")
            .cancellation;
    assert!(cancellation.immediate_before_start);
    assert_eq!(cancellation.immediate_when_late.0, hour);
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
    let policy = parse("response_window = \"3650d\"\n[cancellation]\nimmediate_when_late = \"87600h\"").unwrap().rules;
    assert_eq!(policy.response_window(DisputeKind::OrderUpdate), Duration::from_secs(3_650 * 24 * 60 * 60));
    assert_eq!(policy.cancellation.immediate_when_late.0, Duration::from_secs(10 * 365 * 86_400));
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

/// The block of README.md: each table with its header's comment, and the lines of its keys.
fn documented() -> Vec<(String, Vec<&'static str>)> {
    let readme = include_str!("../../../README.md");
    let block = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let mut tables = vec![(String::new(), Vec::new())];
    for line in block.lines() {
        if line.starts_with('[') {
            tables.push((line.to_owned(), Vec::new()));
        } else {
            tables.last_mut().unwrap().1.push(line);
        }
    }
    tables
}

/// Another value than this one, and as good.
fn other_value(value: &str) -> String {
    match value {
        "true" => "false".to_owned(),
        "false" => "true".to_owned(),
        "\"accept\"" => "\"no_effect\"".to_owned(),
        "\"no_effect\"" => "\"accept\"".to_owned(),
        "{}" => "{ USD = 2 }".to_owned(),
        "\"\"" => "\"mailto:help@example.com\"".to_owned(),
        _ if value.starts_with('[') => "[]".to_owned(),
        _ if value.starts_with('"') => "\"59m\"".to_owned(),
        "0" => "1".to_owned(),
        number => format!("{number}0").replace("60000", "600"),
    }
}

#[test]
fn the_readme_shows_every_key_with_its_meaning_and_its_default_and_each_turns_something() {
    let tables = documented();
    let block: String = tables.iter().map(|(header, lines)| format!("{header}\n{}\n", lines.join("\n"))).collect();
    assert_eq!(parse(&block).unwrap(), PolicyFile::default(), "the defaults are those of README.md");
    let of_every_kind = KindPolicy::keys();
    let is_of_every_kind = |key: &Key| of_every_kind.contains(key);
    let mut declared = vec![("", PolicyFile::keys())];
    declared.extend(PolicyFile::tables());
    assert_eq!(tables.len(), declared.len());
    for ((header, lines), (table, keys)) in tables.iter().zip(declared) {
        let own: Vec<_> =
            if table.is_empty() { keys } else { keys.into_iter().filter(|k| !is_of_every_kind(k)).collect() };
        assert!(table.is_empty() || header.starts_with(&format!("[{table}]")), "{header} should be [{table}]");
        let expected: Vec<_> = own.iter().map(|key| format!("{} = …  # {}", key.name, key.doc.trim())).collect();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                let (setting, doc) = line.split_once(" # ").unwrap_or_else(|| panic!("{line} has no comment"));
                let (name, value) = setting.split_once(" = ").unwrap();
                let changed = format!("[{table}]\n{name} = {}", other_value(value.trim())).replace("[]\n", "");
                assert_ne!(parse(&changed).unwrap(), PolicyFile::default(), "{changed} turns nothing");
                format!("{name} = …  # {doc}")
            })
            .collect();
        assert_eq!(shown, expected, "README.md shows the keys of [{table}]");
    }
    let (header, _) = &tables[1];
    for key in of_every_kind.iter().chain(&Attempts::keys()) {
        assert!(header.contains(key.name), "README.md does not show {} beside the first kind", key.name);
    }
}
