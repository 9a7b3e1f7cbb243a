//! The real program, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// A running `dispute-service`. Killed when dropped.
pub struct Binary {
    /// The process itself.
    pub child: Child,
    /// `host:port`.
    pub address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Binary {
    /// Starts the program on a database and waits until it listens.
    pub fn start(program: &str, database_url: &str, rust_log: &str) -> Self {
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--database-url", database_url])
            .env("RUST_LOG", rust_log)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (listening, address) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reader = std::thread::spawn({
            let log = log.clone();
            move || {
                for line in lines.map_while(Result::ok) {
                    if let Some(address) = line.strip_prefix("listening on ") {
                        let _ = listening.send(address.to_owned());
                    }
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        let Ok(address) = address.recv() else {
            panic!("the program ended without listening:\n{}", log.lock().unwrap());
        };
        Self { child, address, log, reader: Some(reader) }
    }

    /// Ends the process at once, as `kill -9` does. Answers what it logged.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.ended().1
    }

    /// Asks the process to drain, and waits for it. Answers whether it exited with 0, and what it logged.
    pub fn terminate(mut self) -> (bool, String) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.ended()
    }

    fn ended(&mut self) -> (bool, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().map(JoinHandle::join).unwrap_or(Ok(())).unwrap();
        (status.success(), std::mem::take(&mut *self.log.lock().unwrap()))
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
