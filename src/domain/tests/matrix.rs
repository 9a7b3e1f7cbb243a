//! The whole matrix, printed from the rules themselves and compared with the file that documents them.

use std::fmt::Write as _;

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

/// What can be opened, by whom.
const OPENINGS: [(&str, DisputeKind, PartyRole); 4] = [
    ("PARTIAL_REFUND by the seller", DisputeKind::PartialRefund, Seller),
    ("CANCELLATION by the seller", DisputeKind::Cancellation, Seller),
    ("CANCELLATION by the buyer", DisputeKind::Cancellation, Buyer),
    ("ORDER_UPDATE by the buyer", DisputeKind::OrderUpdate, Buyer),
];

type Answering = fn(u128) -> Command;
const ANSWERS: [(&str, Answering); 4] =
    [("accept", accept), ("decline", decline), ("answer", reply), ("withdraw", withdraw)];

fn opening_command(dispute: u128, kind: DisputeKind, role: PartyRole) -> Command {
    match kind {
        DisputeKind::PartialRefund => offer(dispute, 100),
        DisputeKind::Cancellation => cancellation(dispute, role),
        DisputeKind::OrderUpdate => update(dispute),
    }
}

/// A value's name, as the contract writes it.
fn name(value: &impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for character in format!("{value:?}").chars().take_while(|character| character.is_alphanumeric()) {
        if character.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(character.to_uppercase());
    }
    name
}

/// A story in which dispute 1 has a status, and the moment at which it is answered.
fn story(kind: DisputeKind, opener: PartyRole, status: DisputeStatus) -> Option<Story> {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&party(opener), &opening_command(1, kind, opener));
    let responder = party(opener.other());
    match status {
        DisputeStatus::Pending => {}
        DisputeStatus::Accepted => drop(story.tell(&responder, &accept(1)).ok()?),
        DisputeStatus::Declined => drop(story.tell(&responder, &decline(1)).ok()?),
        DisputeStatus::Answered => drop(story.tell(&responder, &reply(1)).ok()?),
        DisputeStatus::Withdrawn => drop(story.tell(&party(opener), &withdraw(1)).ok()?),
        DisputeStatus::Expired => story.now = at(172_800),
        DisputeStatus::Superseded => drop(story.status(OrderStatus::Completed)),
    }
    Some(story)
}

fn row(out: &mut String, first: &str, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    writeln!(out, "| {first} | {} |", cells.join(" | ")).unwrap();
}

fn header(out: &mut String, first: &str, columns: &[&str]) {
    row(out, first, columns.iter().map(|column| (*column).to_owned()));
    row(out, "---", columns.iter().map(|_| "---".to_owned()));
}

fn answering(out: &mut String) {
    for (title, kind, opener) in OPENINGS {
        let (opener_name, responder_name) = (name(&opener), name(&opener.other()));
        writeln!(out, "\n### Answering: {title}\n").unwrap();
        let columns: Vec<String> = [&responder_name, &opener_name]
            .iter()
            .flat_map(|who| ANSWERS.iter().map(move |(what, _)| format!("{what} ({})", who.to_lowercase())))
            .collect();
        header(out, "status", &columns.iter().map(String::as_str).collect::<Vec<_>>());
        for status in DisputeStatus::ALL {
            let Some(story) = story(kind, opener, status) else { continue };
            let cells = [opener.other(), opener].into_iter().flat_map(|role| {
                let story = story.clone();
                ANSWERS.iter().map(move |(_, command)| match story.clone().tell(&party(role), &command(1)) {
                    Ok(dispute) => format!("→ **{}**", name(&dispute.unwrap().status())),
                    Err(refusal) => name(&refusal),
                })
            });
            row(out, &name(&status), cells);
        }
    }
}

fn opening_by_order_status(out: &mut String) {
    out.push_str("\n### Opening, by the order's status\n\n");
    header(out, "order", &OPENINGS.map(|(title, ..)| title));
    for status in OrderStatus::ALL {
        let cells = OPENINGS.map(|(_, kind, role)| {
            let mut story = Story::new(status);
            match story.tell(&party(role), &opening_command(1, kind, role)) {
                Ok(_) => format!("opens, silence: {}", name(&story.dispute(1).silence.rule)),
                Err(refusal) => name(&refusal),
            }
        });
        row(out, &name(&status), cells);
    }
}

fn opening_by_pending_dispute(out: &mut String) {
    out.push_str("\n### Opening, while another dispute is pending\n\n");
    header(out, "pending", &OPENINGS.map(|(title, ..)| title));
    for (title, kind, opener) in OPENINGS {
        let cells = OPENINGS.map(|(_, second, role)| {
            let mut story = Story::new(OrderStatus::InProgress);
            story.done(&party(opener), &opening_command(1, kind, opener));
            match story.tell(&party(role), &opening_command(2, second, role)) {
                Err(refusal) => name(&refusal),
                Ok(Some(dispute)) if dispute.id == dispute_id(1) => {
                    format!("the first → **{}**", name(&dispute.status()))
                }
                Ok(_) if story.dispute(1).is_pending() => "opens".to_owned(),
                Ok(_) => format!("opens, the first → **{}**", name(&story.dispute(1).status())),
            }
        });
        row(out, title, cells);
    }
}

#[test]
fn the_matrix_is_the_one_that_is_documented() {
    let mut out = String::from("\nPrinted from the rules by a test. A cell is the new status, or why not.\n");
    answering(&mut out);
    opening_by_order_status(&mut out);
    opening_by_pending_dispute(&mut out);

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
