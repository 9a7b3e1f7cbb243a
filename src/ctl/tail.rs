//! `tail`: what happens, as it happens.

use std::io::Write;
use std::pin::pin;

use futures_util::StreamExt as _;

use super::error::CtlError;
use super::json::Json;
use super::service::Service;
use super::table::{one_line, padded, shortened};
use super::words::{actor, change, instant, word};
use crate::client::{self, Batch};
use crate::config::TailFlags;
use crate::proto::v1::{self, watch_disputes_request::Start};
use crate::stderr::{self, visible};

/// The columns of an event's type, of a dispute's id, an order's id and a kind …
const WIDTHS: [usize; 4] = [20, 36, 14, 18];

/// … and the most of what was written with an event.
const TEXT: usize = 60;

/// Prints events until `stopped`, which is no failure.
pub(super) async fn run(
    service: &Service,
    flags: &TailFlags,
    json: Option<&Json>,
    out: &mut impl Write,
    stopped: impl Future<Output = ()>,
) -> Result<(), CtlError> {
    service.require_credentials()?;
    let mut watch = client::watch(service.connector(), request(flags));
    let mut stopped = pin!(stopped);
    let mut last_token = flags.resume_token.clone();
    let result = loop {
        let next = tokio::select! {
            biased;
            () = &mut stopped => break Ok(()),
            next = watch.next() => next,
        };
        match next {
            Some(Ok(batch)) => {
                if let Err(error) = print(&batch, json, out) {
                    break Err(error);
                }
                last_token = Some(batch.resume_token);
            }
            Some(Err(error)) => break Err(CtlError::of(error.status().clone(), service.url())),
            None => break Ok(()),
        }
    };
    if let Some(token) = last_token.filter(|_| json.is_none()) {
        stderr::say(&format!("To go on from here: --resume-token {}", visible(&token)));
    }
    result
}

fn request(flags: &TailFlags) -> v1::WatchDisputesRequest {
    let filter = v1::DisputeEventFilter {
        order_ids: flags.order_ids.clone(),
        dispute_ids: flags.dispute_ids.clone(),
        party_id: flags.party_id.clone().unwrap_or_default(),
        kinds: flags.kinds.iter().map(|kind| (*kind).into()).collect(),
        event_types: flags.event_types.iter().map(|event_type| (*event_type).into()).collect(),
    };
    let start = match &flags.resume_token {
        Some(token) => Some(Start::ResumeToken(token.clone())),
        None => flags.from_beginning.then_some(Start::FromBeginning(true)),
    };
    v1::WatchDisputesRequest { filter: Some(filter), start, ..Default::default() }
}

/// Each batch is written out at once, so that whoever reads along sees it.
fn print(batch: &Batch, json: Option<&Json>, out: &mut impl Write) -> Result<(), CtlError> {
    match json {
        Some(json) => {
            // One line for one token: a script that stores it has all events up to it.
            let message = v1::WatchDisputesResponse {
                events: batch.events.clone(),
                checkpoint: None,
                resume_token: batch.resume_token.clone(),
            };
            writeln!(out, "{}", json.line("WatchDisputesResponse", &message)?)?;
        }
        None => {
            for event in &batch.events {
                writeln!(out, "{}", line(event))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// An event on one line.
fn line(event: &v1::DisputeEvent) -> String {
    let dispute = event.dispute.clone().unwrap_or_default();
    let (changed, said) = change(event);
    let columns = [
        word(event.r#type, v1::EventType::as_str_name),
        dispute.dispute_id,
        dispute.order_id,
        word(dispute.kind, v1::DisputeKind::as_str_name),
    ];
    let columns = columns.iter().zip(WIDTHS).map(|(column, width)| padded(&one_line(column), width));
    let mut parts = vec![instant(event.event_time.as_ref())];
    parts.extend(columns);
    parts.push(format!("by {}", one_line(&actor(event.actor.as_ref()))));
    parts.extend(Some(one_line(&changed)).filter(|text| !text.is_empty()));
    parts.extend(
        Some(one_line(said)).filter(|text| !text.is_empty()).map(|text| format!("“{}”", shortened(&text, TEXT))),
    );
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_was_written_with_it() {
        let dispute = v1::Dispute {
            dispute_id: "d1".to_owned(),
            order_id: "o\u{1b}]0;x\u{7}1".to_owned(),
            kind: v1::DisputeKind::OrderUpdate.into(),
            message: format!("first\nsecond \u{202e}{}", "x".repeat(100)),
            ..Default::default()
        };
        let event = v1::DisputeEvent {
            r#type: v1::EventType::Opened.into(),
            dispute: Some(dispute),
            event_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            actor: Some(v1::Actor { role: v1::ActorRole::Buyer.into(), id: "ann\u{9b}".to_owned() }),
            ..Default::default()
        };
        let expected = format!(
            "1970-01-01 00:00:00Z  opened                d1                                    o\\u001b]0;x\\u00071  order update        by buyer ann\\u009b  “first second \\u202e{}…”",
            "x".repeat(40)
        );
        assert_eq!(line(&event), expected);
        assert!(!line(&v1::DisputeEvent::default()).is_empty(), "an event of which nothing is known is shown too");
    }
}
