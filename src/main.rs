//! The program: reads the flags, starts tracing, binds, and serves until it is told to stop.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use dispute_service::clock::Clock;
use dispute_service::config::{Action, CommandLine, Config, LogFormat};
use dispute_service::server::{self, ServeError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A quarter of the server's time under load went to the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let CommandLine { action, config } = CommandLine::parse();
    start_tracing(config.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(error.into())),
    };
    let result = runtime.block_on(async {
        match action.unwrap_or(Action::Serve) {
            Action::Serve => serve(&config).await,
            Action::Migrate => server::migrate(&config).await,
            Action::Backup { file } => back_up(&config, &file).await,
        }
    });
    // Whoever still asks for the address of a database that is away is not waited for.
    runtime.shutdown_background();
    ended(result)
}

fn ended(result: Result<(), ServeError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dispute-service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Config) -> Result<(), ServeError> {
    // Before the first line is printed: whoever reads it may send a signal.
    let stopped = stopped()?;
    let listener = TcpListener::bind(config.listen).await?;
    server::run(config, listener, Clock::system(), stopped).await
}

/// What is not finished when it is told to stop is removed.
async fn back_up(config: &Config, file: &Path) -> Result<(), ServeError> {
    let stopped = stopped()?;
    tokio::select! {
        copied = server::back_up(config, file) => copied,
        () = stopped => Err(ServeError::Interrupted),
    }
}

/// Catches the signals that end the process from here on; returns when one comes.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn start_tracing(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let stderr = std::io::stderr;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(stderr().is_terminal()).with_writer(stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
