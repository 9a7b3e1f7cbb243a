//! The allowed transitions, found by trying everything: as a diagram, and as a table of who can do what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::fixtures::*;
use super::matrix::{BY_A_PARTY, BY_OTHERS, header, name, row, stories};
use crate::domain::*;

/// The positions of two statuses in [`DisputeStatus::ALL`], and what leads from the one to the other.
type Transition = (usize, usize, &'static str);

/// Who leads from status to status, and in disputes of which kinds.
type Found = BTreeMap<Transition, (BTreeSet<&'static str>, BTreeSet<DisputeKind>)>;

/// What happens to a dispute, and by whom.
struct Attempt {
    what: &'static str,
    who: &'static str,
    story: Story,
}

/// What the parties, support, the platform, time, the order system and other disputes can try on a dispute.
fn attempts(kind: DisputeKind, opener: PartyRole, story: &Story) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut attempt = |what: &'static str, who, act: &dyn Fn(&mut Story)| {
        let mut story = story.clone();
        act(&mut story);
        attempts.push(Attempt { what, who, story });
    };
    for role in PartyRole::ALL {
        let who = if role == opener { "opener" } else { "responder" };
        for (what, command) in BY_A_PARTY {
            attempt(what, who, &|story| drop(story.tell(&party(role), &command(1))));
        }
        let cancels = cancellation(2, role);
        attempt("cancel the order", who, &|story| drop(story.tell(&party(role), &cancels)));
    }
    for (what, caller, command) in BY_OTHERS {
        let (what, who) = what.split_once(" (").unwrap();
        attempt(what, who.trim_end_matches(')'), &|story| drop(story.tell(&caller(), &command(1))));
    }
    attempt("the deadline passes", "time", &|story| {
        story.now = at(999_999);
        story.expire_overdue();
    });
    for status in OrderStatus::ALL {
        attempt("the order moves on", "order system", &|story| drop(story.status(status)));
    }
    if !kind.excludes(DisputeKind::Cancellation) {
        attempt("the order is cancelled", "another dispute", &|story| {
            drop(story.tell(&buyer(), &cancellation(2, PartyRole::Buyer)));
            drop(story.tell(&seller(), &accept(2)));
        });
    }
    attempts
}

fn transitions() -> Found {
    let position = |status| DisputeStatus::ALL.iter().position(|other| *other == status).unwrap();
    let mut found = Found::new();
    for (_, kind, opener) in OPENINGS {
        for (_, story) in stories(kind, opener) {
            let before = story.dispute(1).status();
            for Attempt { what, who, story } in attempts(kind, opener, &story) {
                let after = story.dispute(1).status();
                if after != before {
                    let (by, kinds) = found.entry((position(before), position(after), what)).or_default();
                    by.insert(who);
                    kinds.insert(kind);
                }
            }
        }
    }
    found
}

pub(super) fn print(out: &mut String) {
    let found = transitions();
    let status = |position: usize| name(&DisputeStatus::ALL[position]);
    let mut arrows: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for (from, to, what) in found.keys() {
        arrows.entry((*from, *to)).or_default().push(what);
    }
    out.push_str("\n```mermaid\nstateDiagram-v2\n    [*] --> PENDING: open\n");
    for ((from, to), whats) in arrows {
        writeln!(out, "    {} --> {}: {}", status(from), status(to), whats.join(", ")).unwrap();
    }
    out.push_str("```\n\n## The allowed transitions\n\n");
    header(out, "from", &["to", "what", "who", "kinds"]);
    for ((from, to, what), (by, kinds)) in &found {
        let kinds = if kinds.len() == DisputeKind::ALL.len() {
            "all".to_owned()
        } else {
            kinds.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let by = by.iter().copied().collect::<Vec<_>>().join(", ");
        row(out, &status(*from), [status(*to), (*what).to_owned(), by, kinds]);
    }
}
