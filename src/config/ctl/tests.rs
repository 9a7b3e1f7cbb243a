//! Which flags `ctl` takes, and what it refuses before it calls anybody.

use std::ffi::OsString;

use super::*;

fn read(arguments: &[&str]) -> Result<CtlFlags, String> {
    match CommandLine::read(["dispute-service"].iter().chain(arguments).map(OsString::from)) {
        Ok(CommandLine { action: Some(Action::Ctl(flags)), .. }) => Ok(*flags),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn refusal(arguments: &[&str]) -> String {
    read(arguments).unwrap_err()
}

#[test]
fn flags_of_every_task_may_stand_before_or_after_it() {
    let common = ["--url", "http://[::1]:7", "--json", "--timeout", "3s", "--user-id", "eve", "--scope", "platform"];
    for arguments in [[&["ctl"], &common[..], &["show", "d1"]].concat(), [&["ctl", "show", "d1"], &common[..]].concat()]
    {
        let flags = read(&arguments).unwrap();
        assert_eq!(flags.task, CtlTask::Show { dispute_id: "d1".to_owned() });
        assert!(flags.json);
        assert_eq!(flags.connection.url.to_string(), "http://[::1]:7");
        assert_eq!(flags.connection.timeout.0.as_secs(), 3);
        assert_eq!((flags.connection.user_id.as_str(), flags.connection.scope), ("eve", Scope::Platform));
    }
    let flags = read(&["ctl", "show", "d1"]).unwrap();
    assert_eq!(flags.connection.url.to_string(), "http://127.0.0.1:50051");
    assert_eq!((flags.connection.user_id.as_str(), flags.connection.scope), ("agent", Scope::Support));
    assert_eq!((flags.json, flags.connection.timeout.0.as_secs()), (false, 10));
}

#[test]
fn a_flag_of_the_service_is_refused_with_the_reason() {
    for (flag, value) in [("--policy", "p.toml"), ("--listen", "127.0.0.1:7"), ("--database-url", "sqlite://mine.db")] {
        for arguments in [["ctl", "list", flag, value], [flag, value, "ctl", "list"]] {
            let said = refusal(&arguments);
            assert!(said.contains(&format!("{flag} is for the service, and ctl is its client")), "{said}");
            assert!(said.contains("Usage: dispute-service ctl"), "{said}");
        }
    }
}

#[test]
fn every_help_of_ctl_shows_its_own_flags_alone_and_the_exit_codes_are_there() {
    for arguments in [&["ctl", "--help"][..], &["help", "ctl"], &["ctl", "list", "--help"]] {
        let said = refusal(arguments);
        assert!(said.contains("--token-file <FILE>") && !said.contains("--policy"), "{said}");
    }
    let said = refusal(&["ctl", "--help"]);
    for part in ["Exit codes:", "0  done", "1  the service refused", "2  wrong usage", "3  the service could not be"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = refusal(&["ctl"]);
    assert!(said.contains("Usage: dispute-service ctl") && !said.contains("--policy"), "{said}");
}

#[test]
fn what_is_only_called_ctl_is_no_ctl() {
    let line = CommandLine::read(["dispute-service", "backup", "ctl", "--policy", "p"].map(OsString::from)).unwrap();
    assert_eq!(line.action, Some(Action::Backup { file: "ctl".into() }));
}

#[test]
fn a_token_never_crosses_the_network_in_the_clear() {
    let token = |url: &str| read(&["ctl", "--url", url, "--token-file", "t", "list"]);
    for good in [
        "https://disputes.example:443",
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://localhost:1",
    ] {
        assert!(token(good).is_ok(), "{good}");
    }
    for bad in ["http://disputes.example:50051", "http://10.0.0.1:1", "http://[::2]:1", "http://localhost.example:1"] {
        let said = token(bad).unwrap_err();
        assert!(said.contains("would cross the network in the clear") && said.contains("https://"), "{bad}: {said}");
    }
    let said = refusal(&["ctl", "--ca", "ca.pem", "list"]);
    assert!(said.contains("--ca (DISPUTES_CA) is for TLS"), "{said}");
    for (flag, value) in [("--user-id", "eve"), ("--scope", "support")] {
        let said = refusal(&["ctl", "list", "--token-file", "t", flag, value]);
        assert!(said.contains("says who calls") && said.contains(flag), "{said}");
    }
}

#[test]
fn who_calls_is_what_the_command_line_says_whatever_the_variables_of_the_other_kind_are() {
    use ValueSource::{CommandLine as Line, DefaultValue as Default, EnvVariable as Variable};
    let token = || read(&["ctl", "--token-file", "t", "list"]).unwrap().connection;
    for (token_source, [user, scope], is_kept) in [
        (Some(Line), [Some(Default), Some(Default)], Some(true)),
        (Some(Line), [Some(Variable), Some(Default)], Some(true)),
        (Some(Variable), [Some(Default), Some(Default)], Some(true)),
        (Some(Variable), [Some(Line), Some(Default)], Some(false)),
        (Some(Variable), [Some(Variable), Some(Line)], Some(false)),
        (Some(Variable), [Some(Variable), Some(Default)], None),
        (Some(Line), [Some(Default), Some(Line)], None),
    ] {
        let mut connection = token();
        let result = connection.choose_caller(token_source, [user, scope]);
        let kept = result.ok().map(|()| connection.token_file.is_some());
        assert_eq!(kept, is_kept, "{token_source:?} {user:?} {scope:?}");
    }
}

#[test]
fn a_value_that_says_nothing_is_refused() {
    for arguments in [
        &["list", "--order-id", ""][..],
        &["list", "--party-id", ""],
        &["show", ""],
        &["decide", "", "--no-action", "--message", "m"],
        &["decide", "d", "--no-action", "--message", "m", "--etag", ""],
        &["tail", "--resume-token", ""],
        &["tail", "--order-id", ""],
        &["tail", "--dispute-id", ""],
        &["tail", "--party-id", ""],
    ] {
        let said = refusal(&[&["ctl"], arguments].concat());
        assert!(said.contains("a value is required for"), "{arguments:?}: {said}");
    }
}

#[test]
fn an_address_is_scheme_host_and_port_alone() {
    for bad in ["", "x", "127.0.0.1:1", "ftp://x", "http://x/path", "http://x?a=b", "http://user:secret@x", "http://"] {
        assert_eq!(bad.parse::<ServiceUrl>(), Err("expected http://HOST:PORT or https://HOST:PORT"), "{bad}");
    }
    assert!("https://disputes.example/".parse::<ServiceUrl>().unwrap().is_tls());
}

#[test]
fn an_amount_is_taken_exactly_or_not_at_all() {
    for (text, units, nanos) in [
        ("12.50", 12, 500_000_000),
        ("0.01", 0, 10_000_000),
        ("7", 7, 0),
        ("1.000000001", 1, 1),
        ("9223372036854775807.999999999", i64::MAX, 999_999_999),
    ] {
        assert_eq!(text.parse(), Ok(Amount { units, nanos }), "{text}");
    }
    let bad = ["", ".", ".5", "5.", "-1", "+1", "1,5", "1e3", "12.50 USD", "1.0000000001", "9223372036854775808", "١"];
    for bad in bad {
        let error = bad.parse::<Amount>().unwrap_err();
        assert!(error.starts_with("expected an amount such as 12.50"), "{bad}: {error}");
    }
}

#[test]
fn a_decision_is_one_decision_and_a_deadline_one_deadline() {
    let decide = ["ctl", "decide", "d1", "--message", "m"];
    for (flags, is_good) in [
        (&["--no-action"][..], true),
        (&["--refund", "1"], true),
        (&["--cancel-order", "--does-not-count"], true),
        (&[], false),
        (&["--no-action", "--refund", "1"], false),
        (&["--refund", "1", "--does-not-count"], false),
        (&["--no-action", "--does-not-count"], false),
    ] {
        assert_eq!(read(&[&decide, flags].concat()).is_ok(), is_good, "{flags:?}");
    }
    let postpone = ["ctl", "postpone", "d1", "--message", "m"];
    for (flags, is_good) in [
        (&["--by", "24h"][..], true),
        (&["--until", "2026-01-31T12:00:00Z"], true),
        (&[], false),
        (&["--by", "24h", "--until", "2026-01-31T12:00:00Z"], false),
        (&["--by", "0s"], false),
        (&["--until", "tomorrow"], false),
    ] {
        assert_eq!(read(&[&postpone, flags].concat()).is_ok(), is_good, "{flags:?}");
    }
    assert!(refusal(&["ctl", "decide", "d1", "--no-action"]).contains("--message <TEXT>"));
}

#[test]
fn values_are_named_in_lower_case_and_others_are_refused_with_the_possible_ones() {
    let flags =
        read(&["ctl", "list", "--kind", "partial-refund", "--status", "decided", "--status", "pending"]).unwrap();
    let CtlTask::List(list) = flags.task else { panic!("{flags:?}") };
    assert_eq!(list.kinds, [DisputeKind::PartialRefund]);
    assert_eq!(list.statuses, [DisputeStatus::Decided, DisputeStatus::Pending]);
    let said = refusal(&["ctl", "tail", "--event-type", "unspecified"]);
    assert!(!said.contains("snapshot"), "nothing would come: {said}");
    assert!(said.contains("opened") && said.contains("settlement-failed") && said.contains("countered"), "{said}");
}
