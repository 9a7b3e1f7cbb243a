//! Prints the events of the disputes that a user sees, a line for each, until Ctrl-C.
//!
//! `cargo run --example watch -- http://127.0.0.1:50051 bob` starts from now. With a token as the third argument, such
//! as the one printed at the end, it continues from there. `SCOPE=support` or `SCOPE=platform` watches with that scope.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;

use dispute_service::client;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::watch_disputes_request::Start;
use dispute_service::proto::v1::{DisputeEvent, WatchDisputesRequest};
use futures_util::StreamExt as _;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> ExitCode {
    // Logs broken connections.
    tracing_subscriber::fmt().with_ansi(stderr().is_terminal()).with_writer(stderr).init();
    match follow().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn follow() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(user)) = (arguments.next(), arguments.next()) else {
        return Err("usage: watch URL USER [TOKEN]".into());
    };
    let mut token = arguments.next();
    let service = Endpoint::from_shared(url)?;
    let user: MetadataValue<Ascii> = user.parse()?;
    let scope: Option<MetadataValue<Ascii>> = std::env::var("SCOPE").ok().map(|scope| scope.parse()).transpose()?;
    let identity = move |mut request: Request<()>| {
        request.metadata_mut().insert("x-user-id", user.clone());
        if let Some(scope) = scope.clone() {
            request.metadata_mut().insert("x-scope", scope);
        }
        Ok(request)
    };
    let connect = move || DisputeServiceClient::with_interceptor(service.connect_lazy(), identity.clone());

    let start = token.clone().map(Start::ResumeToken);
    let mut watch = client::watch(connect, WatchDisputesRequest { start, ..Default::default() });
    let result = loop {
        let batch = tokio::select! {
            batch = watch.next() => batch,
            _ = tokio::signal::ctrl_c() => break Ok(()),
        };
        match batch.transpose() {
            Ok(Some(batch)) => {
                batch.events.iter().for_each(print);
                token = Some(batch.resume_token);
            }
            Ok(None) => break Ok(()),
            Err(error) => {
                if let Some(oldest) = error.oldest_token() {
                    eprintln!("the oldest token is {oldest}");
                }
                break Err(error.into());
            }
        }
    };
    if let Some(token) = token {
        eprintln!("the last token is {token}");
    }
    result
}

fn print(event: &DisputeEvent) {
    let dispute = event.dispute.clone().unwrap_or_default();
    let actor = event.actor.clone().unwrap_or_default();
    println!(
        "{} {} {} {} {} {} {}",
        event.event_time.unwrap_or_default(),
        event.r#type().as_str_name().trim_start_matches("EVENT_TYPE_"),
        dispute.order_id,
        dispute.dispute_id,
        dispute.status().as_str_name().trim_start_matches("DISPUTE_STATUS_"),
        actor.role().as_str_name().trim_start_matches("ACTOR_ROLE_"),
        actor.id,
    );
}
