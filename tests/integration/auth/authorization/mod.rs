//! Rights as callers meet them: every RPC is called by everybody, and what comes of it is printed into
//! `docs/authorization.md` and compared.

mod calls;
mod fields;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use dispute_service::domain::Operation;
use tonic::Code;

use self::calls::{Rpc, call};
use self::world::{EXPIRED, Opener, Stage, World};
use super::Guarded;
use crate::support::callers::Facts;
use crate::support::issuer::{Issuer, with};
use crate::support::service::Service;

/// What came of a call.
pub(super) enum Outcome {
    /// It was done.
    Done,
    /// Something was read: what, as seen from the caller.
    Read(&'static str),
    /// It was refused.
    Refused(Facts),
}

impl Outcome {
    /// What is printed of it. The code of a reason is noted.
    fn cell(&self, codes: &mut BTreeMap<String, String>) -> String {
        match self {
            Self::Done => "OK".to_owned(),
            Self::Read("") => "OK".to_owned(),
            Self::Read(what) => format!("OK, {what}"),
            Self::Refused(Facts { code, reason, metadata, fields }) => {
                assert!(fields.is_empty(), "{reason} is about {fields:?}");
                let scope = metadata.get("scope").map(|scope| format!(" ({scope})")).unwrap_or_default();
                let code = in_capitals(*code);
                assert_eq!(codes.entry(reason.clone()).or_insert_with(|| code.clone()), &code, "{reason} has one code");
                format!("{reason}{scope}")
            }
        }
    }
}

/// The name of a code as the documents write it.
fn in_capitals(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// A row of a table: its title, the right that the code declares, and a cell for each caller.
type Row = (String, String, Vec<String>);

/// Has everybody make a call about an order as it is at this stage: afresh after each call that did something.
async fn row(world: &mut World, rpc: Rpc, stage: Stage, opener: Opener) -> Vec<String> {
    let mut subject = world.prepare(stage, opener).await;
    let mut cells = Vec::new();
    for mut caller in world.callers() {
        let outcome = call(rpc, &mut caller, &subject).await;
        if matches!(outcome, Outcome::Done) {
            subject = world.prepare(stage, opener).await;
        }
        cells.push(outcome.cell(&mut world.codes));
    }
    cells
}

/// What is not a command on a dispute.
async fn others(world: &mut World) -> Vec<Row> {
    let mut rows = Vec::new();
    for (rpc, note) in calls::OTHERS {
        let cells = row(world, rpc, Stage::Order, Opener::Buyer).await;
        rows.push((rpc.title(note), rpc.right(), cells));
    }
    for (rpc, note) in calls::READS {
        let cells = row(world, rpc, Stage::Pending, Opener::Buyer).await;
        rows.push((rpc.title(note), rpc.right(), cells));
    }
    rows
}

/// Commands on a dispute, by its opener, its responder and everybody else.
async fn commands(world: &mut World) -> Vec<Row> {
    let mut rows = Vec::new();
    for (operation, stage) in calls::COMMANDS {
        let rpc = Rpc::Ours(operation);
        let cells = row(world, rpc, stage, Opener::Buyer).await;
        // Which of the two parties opened it makes no difference.
        if stage != Stage::Question {
            let mut turned = row(world, rpc, stage, Opener::Seller).await;
            turned.swap(0, 1);
            assert_eq!(turned, cells, "{}, opened by the seller", rpc.title(stage.title()));
        }
        rows.push((rpc.title(stage.title()), rpc.right(), cells));
    }
    rows
}

fn print(out: &mut String, first: [&str; 2], callers: &[&str], rows: &[Row]) {
    writeln!(out, "\n| {} | {} |\n|---{}|", first.join(" | "), callers.join(" | "), "|---".repeat(callers.len() + 1))
        .unwrap();
    for (title, right, cells) in rows {
        writeln!(out, "| {title} | {right} | {} |", cells.join(" | ")).unwrap();
    }
}

/// Compares this with what follows the marker in the document, or writes it there.
fn compare(printed: &str) {
    const MARKER: &str = "<!-- From here on a test prints this file. -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/authorization.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (prose, documented) = document.split_once(MARKER).expect("the document has the marker");
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, format!("{prose}{MARKER}{printed}")).unwrap();
    } else {
        assert!(
            printed == documented,
            "rights differ from docs/authorization.md; if that is meant, run the test with UPDATE_TABLES=1:\n{printed}"
        );
    }
}

/// With tokens, as on a network.
async fn with_tokens() -> (Guarded, World) {
    let issuer = Issuer::ed25519();
    let flags = ["--reflection", "true", "--max-failed-logins-per-second", "0"];
    let guarded = Guarded::new("--jwt-public-key", &issuer.public_pem(), &flags).await;
    let now = guarded.service.now().micros() / 1_000_000;
    let world = World::new(guarded.service.channel(), |title, user, scope| {
        let claims = scope.map_or(guarded.claims(user), |scope| with(guarded.claims(user), "scope", scope));
        let claims = if title == EXPIRED { with(claims, "exp", now - 3_600) } else { claims };
        vec![("authorization", format!("Bearer {}", issuer.token(&claims)))]
    })
    .await;
    (guarded, world)
}

/// With callers who are trusted.
async fn with_headers(service: &Service) -> World {
    let headers = |_, user: &str, scope: Option<&str>| {
        let scope = scope.map(|scope| ("x-scope", scope.to_owned()));
        [("x-user-id", user.to_owned())].into_iter().chain(scope).collect()
    };
    World::new(service.channel(), headers).await
}

const CALLERS: [&str; 7] = ["buyer", "seller", "stranger", "support", "platform", "nobody", EXPIRED];
const CALLERS_OF_DISPUTES: [&str; 7] = ["opener", "responder", "stranger", "support", "platform", "nobody", EXPIRED];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_everybody_may_do_and_see_is_as_documented() {
    let (_guarded, mut world) = with_tokens().await;
    let (others, commands) = (others(&mut world).await, commands(&mut world).await);
    let titles: BTreeSet<_> = others.iter().chain(&commands).map(|(title, ..)| title.as_str()).collect();
    for operation in Operation::ALL {
        let name = format!("`{operation:?}`");
        assert!(titles.iter().any(|title| title.starts_with(&name)), "{name} has no row");
    }

    let mut out = String::from("\n## Orders, lists and streams\n");
    print(&mut out, ["RPC", "right"], &CALLERS, &others);
    out.push_str("\n## Commands on a dispute\n");
    print(&mut out, ["RPC, on a dispute that is", "right"], &CALLERS_OF_DISPUTES, &commands);
    out.push_str("\n## What of a dispute each caller sees\n");
    fields::print(&mut out, &mut world).await;
    out.push_str("\n## Codes\n\n| reason | code |\n|---|---|\n");
    for (reason, code) in &world.codes {
        writeln!(out, "| {reason} | {code} |").unwrap();
    }
    compare(&out);
}

/// The same rows for callers who are trusted. The lists are narrowed by SQL: so on PostgreSQL, where there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_are_trusted_have_the_same_rights() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/authorization.md");
    let document = std::fs::read_to_string(document).unwrap();
    let service = match Service::on_postgres().await {
        Some(service) => service,
        None => Service::on_sqlite().await,
    };
    let mut world = with_headers(&service).await.without_expiry();
    for (title, right, cells) in others(&mut world).await.iter().chain(&commands(&mut world).await) {
        let row = format!("| {title} | {right} | {} |", cells.join(" | "));
        assert!(document.contains(&row), "not as documented: {row}");
    }
    for (reason, code) in &world.codes {
        assert!(document.contains(&format!("| {reason} | {code} |")), "{reason} has another code: {code}");
    }
}
