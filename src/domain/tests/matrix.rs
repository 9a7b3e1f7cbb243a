//! The whole matrix, printed from the rules themselves and compared with the file that documents them.

use std::fmt::Write as _;

use super::diagram;
use super::fixtures::*;
use crate::domain::*;

pub(super) type OfDispute = fn(u128) -> Command;
pub(super) const BY_A_PARTY: [(&str, OfDispute); 6] = [
    ("accept", accept),
    ("decline", decline),
    ("counter", |dispute| counter(dispute, 200)),
    ("answer", reply),
    ("withdraw", withdraw),
    ("escalate", escalate),
];
pub(super) type Somebody = fn() -> Caller;
pub(super) const BY_OTHERS: [(&str, Somebody, OfDispute); 5] = [
    ("escalate (support)", support, escalate),
    ("decide (support)", support, |dispute| rule(dispute, Ruling::NoAction)),
    ("withdraw (support)", support, withdraw),
    ("postpone (support)", support, |dispute| postpone(dispute, 999_999)),
    ("report a settlement (platform)", platform, |dispute| settled(dispute, "pay-1")),
];

/// A value's name, as the contract writes it.
pub(super) fn name(value: &impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for character in format!("{value:?}").chars().take_while(|character| character.is_alphanumeric()) {
        if character.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(character.to_uppercase());
    }
    name
}

/// An order on which everything can be asked for that a policy lets be asked for.
fn permissive(status: OrderStatus) -> Story {
    let mut story = Story::new(status).asking();
    story.policy.partial_refund.max_counter_offers = Rounds(2);
    story
}

/// A refusal's reason.
fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::SettlementStatusNotAllowed { .. } => "STATUS_NOT_ALLOWED".to_owned(),
        Refusal::AttemptUnknown { .. } => "INVALID_FIELD".to_owned(),
        refusal => name(refusal),
    }
}

/// Every way in which a dispute can stand, each with the way there; `None` if this kind knows no such way.
pub(super) fn stories(kind: DisputeKind, opener: PartyRole) -> Vec<(&'static str, Story)> {
    let mut pending = permissive(OrderStatus::InProgress);
    pending.done(&party(opener), &asking(1, kind, opener));
    let countered = counter(1, if opener == PartyRole::Seller { 500 } else { 150 });
    let (opener, responder) = (party(opener), party(opener.other()));
    let after = |steps: &[(&Caller, Command)]| {
        let mut story = pending.clone();
        for (caller, command) in steps {
            story.tell(caller, command).ok()?;
        }
        Some(story)
    };
    let no = if kind == DisputeKind::OrderUpdate { reply(1) } else { decline(1) };
    let mut expired = pending.clone();
    expired.now = at(172_800);
    expired.expire_overdue();
    let mut superseded = pending.clone();
    superseded.status(OrderStatus::Completed);
    let decided = rule(1, Ruling::NoAction);
    let refunded = rule(1, Ruling::Refund(usd(100)));
    let stories = [
        ("PENDING", after(&[])),
        ("PENDING, countered", after(&[(&responder, countered.clone())])),
        ("ACCEPTED", after(&[(&responder, accept(1))])),
        ("DECLINED", after(&[(&responder, decline(1))])),
        ("ANSWERED", after(&[(&responder, reply(1))])),
        ("WITHDRAWN", after(&[(&opener, withdraw(1))])),
        ("EXPIRED", Some(expired)),
        ("SUPERSEDED by completion", Some(superseded)),
        ("ESCALATED by its opener", after(&[(&responder, no.clone()), (&opener, escalate(1))])),
        ("ESCALATED by the responder", after(&[(&responder, no), (&responder, escalate(1))])),
        ("ESCALATED by support", after(&[(&support(), escalate(1))])),
        ("ESCALATED by support, countered", after(&[(&responder, countered), (&support(), escalate(1))])),
        ("DECIDED, no action", after(&[(&support(), escalate(1)), (&support(), decided)])),
        ("DECIDED, a refund", after(&[(&support(), escalate(1)), (&support(), refunded)])),
    ];
    stories.into_iter().filter_map(|(title, story)| Some((title, story?))).collect()
}

pub(super) fn row(out: &mut String, first: &str, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    writeln!(out, "| {first} | {} |", cells.join(" | ")).unwrap();
}

pub(super) fn header(out: &mut String, first: &str, columns: &[&str]) {
    row(out, first, columns.iter().map(|column| (*column).to_owned()));
    row(out, "---", columns.iter().map(|_| "---".to_owned()));
}

/// What comes of a command: the new status, or why not.
fn result(story: &Story, caller: &Caller, command: &Command) -> String {
    let before = story.dispute(1).status();
    match story.clone().tell(caller, command) {
        Ok(dispute) if dispute.as_ref().unwrap().status() == before => "done".to_owned(),
        Ok(dispute) => format!("→ **{}**", name(&dispute.unwrap().status())),
        Err(refusal) => reason(&refusal),
    }
}

fn by_a_party(out: &mut String) {
    for (title, kind, opener) in OPENINGS {
        writeln!(out, "\n### The parties: {title}\n").unwrap();
        let columns: Vec<String> = [opener.other(), opener]
            .iter()
            .flat_map(|who| BY_A_PARTY.iter().map(move |(what, _)| format!("{what} ({})", name(who).to_lowercase())))
            .collect();
        header(out, "status", &columns.iter().map(String::as_str).collect::<Vec<_>>());
        for (status, story) in stories(kind, opener) {
            let cells = [opener.other(), opener].into_iter().flat_map(|role| {
                let story = story.clone();
                BY_A_PARTY.iter().map(move |(_, command)| result(&story, &party(role), &command(1)))
            });
            row(out, status, cells);
        }
    }
}

fn by_others(out: &mut String) {
    for (title, kind, opener) in OPENINGS {
        writeln!(out, "\n### Support and the platform: {title}\n").unwrap();
        header(out, "status", &BY_OTHERS.map(|(what, ..)| what));
        for (status, story) in stories(kind, opener) {
            row(out, status, BY_OTHERS.map(|(_, caller, command)| result(&story, &caller(), &command(1))));
        }
    }
}

fn opening_by_order_status(out: &mut String) {
    out.push_str("\n### Opening, by the order's status\n\n");
    header(out, "order", &OPENINGS.map(|(title, ..)| title));
    for status in OrderStatus::ALL {
        let cells = OPENINGS.map(|(_, kind, role)| {
            let mut story = permissive(status);
            match story.tell(&party(role), &asking(1, kind, role)) {
                Ok(_) => format!("opens, silence: {}", name(&story.dispute(1).silence.rule)),
                Err(refusal) => reason(&refusal),
            }
        });
        row(out, &name(&status), cells);
    }
}

fn opening_by_open_dispute(out: &mut String) {
    out.push_str("\n### Opening, while another dispute is open\n\n");
    header(out, "open", &OPENINGS.map(|(title, ..)| title));
    for is_escalated in [false, true] {
        for (title, kind, opener) in OPENINGS {
            let cells = OPENINGS.map(|(_, second, role)| {
                let mut story = permissive(OrderStatus::InProgress);
                story.done(&party(opener), &asking(1, kind, opener));
                if is_escalated {
                    story.done(&support(), &escalate(1));
                }
                match story.tell(&party(role), &asking(2, second, role)) {
                    Err(refusal) => reason(&refusal),
                    Ok(Some(dispute)) if dispute.id == dispute_id(1) => {
                        format!("the first → **{}**", name(&dispute.status()))
                    }
                    Ok(_) if story.dispute(1).is_open() => "opens".to_owned(),
                    Ok(_) => format!("opens, the first → **{}**", name(&story.dispute(1).status())),
                }
            });
            let status = if is_escalated { "ESCALATED" } else { "PENDING" };
            row(out, &format!("{title}, {status}"), cells);
        }
    }
}

fn when_the_order_moves(out: &mut String) {
    out.push_str("\n### When the order system moves the order on\n\n");
    header(
        out,
        "open on an order IN_PROGRESS",
        &OrderStatus::ALL.map(|status| name(&status)).each_ref().map(String::as_str),
    );
    for is_escalated in [false, true] {
        for (title, kind, opener) in OPENINGS {
            let cells = OrderStatus::ALL.map(|status| {
                let mut story = permissive(OrderStatus::InProgress);
                story.done(&party(opener), &asking(1, kind, opener));
                if is_escalated {
                    story.done(&support(), &escalate(1));
                }
                story.status(status);
                if story.dispute(1).is_open() { "stays".to_owned() } else { "→ **SUPERSEDED**".to_owned() }
            });
            row(out, &format!("{title}, {}", if is_escalated { "ESCALATED" } else { "PENDING" }), cells);
        }
    }
}

fn settling(out: &mut String) {
    use SettlementReport::{Failed, Returned, Settled, Voided};
    out.push_str("\n### Settling a refund\n\n");
    let text = || "text".to_owned();
    let reports = [
        ("SETTLED", Settled { reference: text() }),
        ("FAILED", Failed { detail: text() }),
        ("RETURNED", Returned { detail: text() }),
        ("VOIDED", Voided { detail: text() }),
    ];
    let columns =
        reports.each_ref().map(|(title, _)| [format!("{title}, current attempt"), format!("{title}, another")]);
    let columns = columns.as_flattened();
    header(out, "settlement", &columns.iter().map(String::as_str).collect::<Vec<_>>());
    // Of attempt 2, the other one, nothing is reported, but that there is one.
    let first = || {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&seller(), &offer(1, 100));
        story.done(&buyer(), &accept(1));
        story
    };
    let returned = || {
        let mut story = first();
        story.done(&platform(), &failed(1, "no-1"));
        story.done(&platform(), &reported(1, 1, Settled { reference: "pay-1".to_owned() }));
        story.done(&platform(), &reported(1, 1, Returned { detail: "back-1".to_owned() }));
        story
    };
    let then = |report: Command| {
        let mut story = returned();
        story.done(&platform(), &report);
        story
    };
    let before = [
        ("DUE", first()),
        ("FAILED", then(failed(1, "no-2"))),
        ("RETURNED", returned()),
        ("SETTLED", then(settled(1, "pay-2"))),
        ("VOIDED", then(voided(1, "gone"))),
    ];
    for (title, story) in before {
        let cells =
            reports.iter().flat_map(|(_, report)| [0, 2].map(|attempt| (attempt, report))).map(|(attempt, report)| {
                let mut story = story.clone();
                let events = story.events.len();
                match story.tell(&platform(), &reported(1, attempt, report.clone())) {
                    Ok(_) if story.events.len() == events => "nothing changes".to_owned(),
                    Ok(dispute) => {
                        format!("→ **{}**", name(&dispute.unwrap().settlement().unwrap().status()))
                    }
                    Err(refusal) => reason(&refusal),
                }
            });
        row(out, title, cells);
    }
}

#[test]
fn the_matrix_is_the_one_that_is_documented() {
    let mut out = String::from("\nPrinted from the rules by a test.\n");
    diagram::print(&mut out);
    out.push_str(
        "\n## The whole matrix\n\nA cell is the new status, or why not; `done` leaves the status as it \
         is. The policy lets the parties counter twice, and the buyer ask for a partial refund.\n",
    );
    by_a_party(&mut out);
    by_others(&mut out);
    settling(&mut out);
    opening_by_order_status(&mut out);
    opening_by_open_dispute(&mut out);
    when_the_order_moves(&mut out);

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/transitions.md");
    if std::env::var_os("UPDATE_TRANSITIONS").is_some() {
        std::fs::write(path, &out).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap();
    assert!(
        out == documented,
        "the rules differ from src/domain/transitions.md; if that is meant, run the test with UPDATE_TRANSITIONS=1:\n{out}"
    );
}
