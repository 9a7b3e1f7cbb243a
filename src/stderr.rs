//! Everything that the program writes to stderr. A separate thread writes it, so that nothing waits for the reader: a
//! full pipe, a full disk, a suspended terminal. Lines that do not fit into the buffer are dropped, counted, and
//! reported once there is room again. Lines are made safe to read whatever they contain (`line`).

mod line;
mod log;

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub use line::Format;
pub use log::start_log;

/// The most bytes that wait for stderr; the thread may hold as many again.
const ROOM: usize = 1024 * 1024;

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How long lines gather after others were written. A lone line is written at once; of many, each would wake the thread, and
/// whoever reads them.
const GATHER: Duration = Duration::from_millis(5);

/// How long to wait before retrying a non-blocking stderr.
const NOT_NOW: Duration = Duration::from_millis(10);

static STDERR: OnceLock<Arc<Output>> = OnceLock::new();

/// Starts the thread. Before that, and in programs that do not start it, nothing is written.
pub fn start() {
    STDERR.get_or_init(|| Output::start(stderr()));
}

/// Writes a text as it is, whatever the log settings: scripts may wait for it. It is never dropped for lack of room.
/// Only its line ends, and on a terminal its colours, are not escaped.
pub fn say(text: &str) {
    if let Some(output) = STDERR.get() {
        let format = Format::for_people();
        let lines: String = text.lines().flat_map(|line| [line::safe(line, format), "\n".into()]).collect();
        output.push(lines.as_bytes(), usize::MAX);
    }
}

/// Returns a text in which everything that cannot be seen, or that a terminal would obey, is escaped: controls, line
/// ends among them, bidirectional marks, invisible characters. In JSON the escapes mean the same characters.
pub fn visible(text: &str) -> Cow<'_, str> {
    line::escaped(text, Format::Plain)
}

/// How many lines were lost so far.
pub fn lines_lost() -> usize {
    STDERR.get().map_or(0, |output| output.lock().lines_lost)
}

/// Waits until everything is written, for at most half a second.
pub fn finish() {
    if let Some(output) = STDERR.get() {
        output.finish(LAST_LINES);
    }
}

/// The process's stderr, bypassing the standard library's lock, which a writer holds for as long as the write takes.
fn stderr() -> Box<dyn Write + Send> {
    let stderr = std::io::stderr();
    match stderr.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(stderr),
    }
}

#[derive(Default)]
struct Output {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// In total.
    lines_lost: usize,
    is_writing: bool,
}

impl Output {
    fn start(target: Box<dyn Write + Send>) -> Arc<Self> {
        let output = Arc::<Self>::default();
        let writer = output.clone();
        // Without the thread nothing is written, but everything else works.
        let _ = std::thread::Builder::new().name("stderr".to_owned()).spawn(move || writer.run(target));
        output
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lines: &[u8], room: usize) {
        let mut queue = self.lock();
        if queue.waiting.len().saturating_add(lines.len()) > room {
            queue.lines_lost = queue.lines_lost.saturating_add(count_lines(lines));
            return;
        }
        queue.waiting.extend_from_slice(lines);
        self.changed.notify_all();
    }

    fn finish(&self, limit: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        drop(self.changed.wait_timeout_while(self.lock(), limit, is_busy));
    }

    fn run(&self, mut target: Box<dyn Write + Send>) {
        let mut lines_told = 0;
        loop {
            let queue = self.changed.wait_while(self.lock(), |queue| queue.waiting.is_empty());
            let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
            let lines = std::mem::take(&mut queue.waiting);
            queue.is_writing = true;
            drop(queue);
            let failed = write(&mut target, &lines);
            let mut queue = self.lock();
            queue.is_writing = false;
            queue.lines_lost = queue.lines_lost.saturating_add(failed);
            let lines_lost = queue.lines_lost;
            drop(queue);
            self.changed.notify_all();
            // Only where it can be read; again if this line is lost too.
            if failed == 0 && lines_lost > lines_told {
                tracing::warn!(
                    lines = lines_lost.saturating_sub(lines_told),
                    "log lines were lost: stderr did not accept them"
                );
                if self.lock().lines_lost == lines_lost {
                    lines_told = lines_lost;
                }
            }
            std::thread::sleep(GATHER);
        }
    }
}

/// Returns how many lines could not be written.
fn write(target: &mut impl Write, mut lines: &[u8]) -> usize {
    while !lines.is_empty() {
        match target.write(lines) {
            Ok(0) => return count_lines(lines),
            Ok(written) => lines = lines.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(NOT_NOW),
            Err(_) => return count_lines(lines),
        }
    }
    0
}

fn count_lines(lines: &[u8]) -> usize {
    lines.iter().filter(|byte| **byte == b'\n').count()
}
