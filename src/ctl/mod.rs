//! `dispute-service ctl`: the terminal of the marketplace's agents. A client like every other: it knows the service by its
//! calls alone, never the database.
//!
//! - `service`: the connection, who calls, and what is tried again; `error`: why a call has failed, in words.
//! - `list`, `show`, `command` (`decide` and `postpone`), `tail`: a file for each thing that an agent does.
//! - `words`, `table`: texts for people, in which nothing that strangers wrote reaches the terminal raw; `json`: for scripts.

mod command;
mod error;
mod json;
mod list;
mod service;
mod show;
mod table;
mod tail;
mod words;

use std::io::{self, Write};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;

use self::error::CtlError;
use self::json::Json;
use self::service::Service;
use crate::clock::pause;
use crate::config::{CtlFlags, CtlTask};
use crate::stderr;

/// What the process exits with if its output cannot be written.
const NOT_WRITTEN: u8 = 4;

/// How long the line that is being written may take after a signal.
const LAST_LINE: Duration = Duration::from_secs(1);

/// Does what the flags ask for, and returns what the process exits with. `told_to_stop` catches the signals that end a
/// `tail`; nothing else catches them.
pub fn run<S>(flags: &CtlFlags, told_to_stop: impl FnOnce() -> io::Result<S>) -> u8
where
    S: Future<Output = ()> + Send + 'static,
{
    // Beside this thread, which may wait for whoever reads, one that hears signals.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(perform(flags, told_to_stop, &mut io::stdout().lock())),
        Err(error) => Err(CtlError::Local(format!("the program cannot start: {error}"))),
    };
    match done {
        Ok(()) => 0,
        // Whoever read has read enough.
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            stderr::say(&if flags.json { error.to_json() } else { format!("dispute-service: {}", error.in_words()) });
            error.exit_code()
        }
    }
}

async fn perform<S>(
    flags: &CtlFlags,
    told_to_stop: impl FnOnce() -> io::Result<S>,
    out: &mut impl Write,
) -> Result<(), CtlError>
where
    S: Future<Output = ()> + Send + 'static,
{
    let service = Service::new(&flags.connection)?;
    let json = if flags.json { Some(Json::new()?) } else { None };
    match &flags.task {
        CtlTask::List(wanted) => list::run(&service, wanted, json.as_ref(), out).await,
        CtlTask::Show { dispute_id } => show::run(&service, dispute_id, json.as_ref(), out).await,
        CtlTask::Decide(decision) => command::decide(&service, decision, json.as_ref(), out).await,
        CtlTask::Postpone(deadline) => command::postpone(&service, deadline, json.as_ref(), out).await,
        CtlTask::Tail(wanted) => {
            let stopped =
                told_to_stop().map_err(|error| CtlError::Local(format!("signals cannot be caught: {error}")))?;
            tail::run(&service, wanted, json.as_ref(), out, soon(stopped)).await
        }
    }
}

/// The same signal; and the process ends soon after it, even if nobody reads what is being written.
fn soon(stopped: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> {
    let (told, is_told) = oneshot::channel();
    tokio::spawn(async move {
        stopped.await;
        let _ = told.send(());
        pause(LAST_LINE).await;
        std::process::exit(NOT_WRITTEN.into());
    });
    async { drop(is_told.await) }
}
