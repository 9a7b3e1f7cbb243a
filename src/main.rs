//! The program: parses the flags, starts tracing, binds, and serves until it is told to stop.

#![deny(clippy::print_stderr, reason = "stderr.rs writes there: nothing may wait for it, or fail without it")]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use dispute_service::clock::Clock;
use dispute_service::config::{Action, CommandLine, Config, LogFormat};
use dispute_service::server::{self, ServeError};
use dispute_service::stderr::{self, Format, LogLines};
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The system's allocator took a quarter of the server's time under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Silences a line per attempt to connect to an unavailable database; its consequences are logged once, where they
/// matter.
const QUIET: &str = "sqlx_core::pool=off";

fn main() -> ExitCode {
    // Files that this process creates are accessible to their owner only, whoever started it.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // Before the first thread: it may change what threads inherit.
    server::prepare_process();
    stderr::start();
    let code = run();
    stderr::finish();
    code
}

/// How often a runtime thread checks tasks woken from outside the runtime: every other time. Calls that wait for SQLite
/// are woken so, several times each, and must not wait behind everything that strangers send, nor the other way round.
const TURNS_OF_OWN: u32 = 2;

/// How many turns a thread takes before it checks the network and timers.
const TURNS_BEFORE_EVENTS: u32 = 16;

fn run() -> ExitCode {
    let CommandLine { action, config } = match CommandLine::read(std::env::args_os()) {
        Ok(line) => line,
        Err(error) => return misused(&error),
    };
    start_tracing(config.log_format);
    stderr::log_panics();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().global_queue_interval(TURNS_OF_OWN).event_interval(TURNS_BEFORE_EVENTS);
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(error.into())),
    };
    let result = runtime.block_on(async {
        note_hangups()?;
        match action.unwrap_or(Action::Serve) {
            Action::Serve => serve(&config).await,
            Action::Migrate => server::migrate(&config).await,
            Action::Backup { file } => server::back_up(&config, &file, stopped()?).await,
        }
    });
    // Does not wait for DNS lookups of an unavailable database.
    runtime.shutdown_background();
    ended(result)
}

/// Prints clap's message: an error, or the requested help.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If nobody reads it, nobody needs it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render();
    let text = if std::io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    stderr::say(text.trim_end());
    ExitCode::from(2)
}

fn ended(result: Result<(), ServeError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stderr::say(&format!("dispute-service: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Config) -> Result<(), ServeError> {
    // Before the first line is printed: whatever reads it may send a signal.
    let stopped = stopped()?;
    let listener = server::listen(config).await?;
    server::run(config, listener, Clock::system(), stopped).await
}

/// Catches the signals that end the process from here on; returns when one arrives.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ignores SIGHUP: neither a closed terminal nor a request to reload ends the program.
fn note_hangups() -> Result<(), ServeError> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP is noted and changes nothing");
        }
    });
    Ok(())
}

fn start_tracing(format: LogFormat) {
    let asked = std::env::var_os("RUST_LOG").filter(|filter| !filter.is_empty());
    let parsed = asked.map(|filter| EnvFilter::try_new(format!("{QUIET},{}", filter.to_string_lossy())));
    let error = parsed.as_ref().and_then(|parsed| parsed.as_ref().err().map(ToString::to_string));
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(format!("{QUIET},info")));
    let format = match format {
        LogFormat::Text if std::io::stderr().is_terminal() => Format::Coloured,
        LogFormat::Text => Format::Plain,
        LogFormat::Json => Format::Json,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(format == Format::Coloured)
        .with_writer(move || LogLines(format))
        .log_internal_errors(false);
    match format {
        Format::Plain | Format::Coloured => lines.init(),
        Format::Json => lines.json().init(),
    }
    if let Some(error) = error {
        tracing::warn!(error, "RUST_LOG is not a valid filter and is ignored");
    }
}
