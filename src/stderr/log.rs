//! The log: what is logged, in which format, and where it goes.

use std::borrow::Cow;
use std::io::Write;
use std::panic::PanicHookInfo;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::line::{Format, safe};
use super::{ROOM, STDERR};

/// Silences a line per attempt to connect to an unavailable database, whose consequences are logged once, where they matter;
/// and, unless `RUST_LOG` names them, what the crates below us say in passing.
const QUIET: &str =
    "sqlx_core::pool=off,sqlx=warn,sea_orm=warn,h2=warn,hyper=warn,hyper_util=warn,tower=warn,tonic=warn,rustls=warn";

/// Starts the log, in this format: what the filter in `RUST_LOG` lets through, or everything of level `info` and above.
/// A panic becomes a line of it, too.
pub fn start_log(format: Format) {
    let asked = std::env::var_os("RUST_LOG").filter(|filter| !filter.is_empty());
    let parsed = asked.map(|filter| EnvFilter::try_new(format!("{QUIET},{}", filter.to_string_lossy())));
    let error = parsed.as_ref().and_then(|parsed| parsed.as_ref().err().map(ToString::to_string));
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(format!("{QUIET},info")));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(format == Format::Coloured)
        .with_writer(Lines(format))
        .log_internal_errors(false);
    match format {
        Format::Plain | Format::Coloured => lines.init(),
        Format::Json => lines.json().init(),
    }
    if let Some(error) = error {
        tracing::warn!(error, "RUST_LOG is not a valid filter and is ignored");
    }
    log_panics();
}

/// Logs panics. The standard hook would wait for stderr, and panic again without it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, message, "panicked");
    }));
}

/// Makes writers for the log in this format. What is only told in passing leaves half of the room to warnings and errors.
#[derive(Clone, Copy, Debug)]
struct Lines(Format);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LogLines;

    fn make_writer(&'a self) -> LogLines {
        LogLines { format: self.0, room: ROOM }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LogLines {
        let room = if *metadata.level() <= Level::WARN { ROOM } else { ROOM / 2 };
        LogLines { format: self.0, room }
    }
}

/// A writer of lines: each write is one, including its end. Never fails, never blocks.
#[derive(Clone, Copy, Debug)]
struct LogLines {
    format: Format,
    room: usize,
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Some(output) = STDERR.get() {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
            match safe(&text, self.format) {
                Cow::Borrowed(_) => output.push(line, self.room),
                Cow::Owned(safe) => output.push(format!("{safe}\n").as_bytes(), self.room),
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
