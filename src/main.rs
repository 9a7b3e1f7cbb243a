//! The program: parses the flags, starts the log, binds, and serves until it is told to stop.

#![deny(clippy::print_stderr, reason = "stderr.rs writes there: nothing may wait for it, or fail without it")]

use std::process::ExitCode;

use dispute_service::config::{Action, CommandLine, LogFormat};
use dispute_service::server::{self, ServeError};
use dispute_service::stderr::{self, Format};
use dispute_service::{ctl, demo};

/// The system's allocator took a quarter of the server's time under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before the first thread: it may change what threads inherit.
    server::prepare_process();
    stderr::start();
    let code = match CommandLine::read(std::env::args_os()) {
        Ok(line) => run(line),
        Err(error) if error.use_stderr() => {
            let text = error.render();
            let is_coloured = Format::for_people() == Format::Coloured;
            failed(2, if is_coloured { text.ansi().to_string() } else { text.to_string() }.trim_end())
        }
        Err(help) => {
            // If nobody reads it, nobody needs it.
            let _ = help.print();
            ExitCode::SUCCESS
        }
    };
    stderr::finish();
    code
}

fn run(CommandLine { action, config }: CommandLine) -> ExitCode {
    let action = action.unwrap_or(Action::Serve);
    stderr::start_log(match (config.log_format, &action) {
        (_, Action::Ctl(flags)) if flags.json => Format::Json,
        (LogFormat::Text, _) => Format::for_people(),
        (LogFormat::Json, _) => Format::Json,
    });
    match action {
        Action::Serve => to_end(async {
            // Before the first line is printed: whatever reads it may send a signal.
            let stopped = server::told_to_stop()?;
            server::run(&config, server::listen(&config).await?, server::clock(&config), stopped).await
        }),
        Action::Demo => to_end(async {
            let stopped = server::told_to_stop()?;
            demo::run(&config, server::listen(&config).await?, stopped).await
        }),
        Action::Migrate => to_end(server::migrate(&config)),
        Action::Audit(flags) => to_end(server::print_audit(&config, &flags, std::io::stdout().lock())),
        Action::Backup { file } => to_end(async { server::back_up(&config, &file, server::told_to_stop()?).await }),
        Action::Token(flags) => to_end(async { server::print_token(&flags) }),
        Action::Ctl(flags) => ExitCode::from(ctl::run(&flags, server::told_to_stop)),
    }
}

fn to_end(work: impl Future<Output = Result<(), ServeError>>) -> ExitCode {
    server::run_to_end(work)
        .map_or_else(|error| failed(error.exit_code(), &format!("dispute-service: {error}")), |()| ExitCode::SUCCESS)
}

fn failed(code: u8, why: &str) -> ExitCode {
    stderr::say(why);
    ExitCode::from(code)
}
