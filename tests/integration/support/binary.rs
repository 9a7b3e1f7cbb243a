//! The real program, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use dispute_service::clock::pause;

/// The program that this build made, or the one that `TEST_BINARY` names, such as a release build.
pub fn program() -> String {
    let named = std::env::var("TEST_BINARY").ok().filter(|program| !program.is_empty());
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_dispute-service").to_owned())
}

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
        let arguments = ["--listen", "127.0.0.1:0", "--database-url", database_url].map(str::to_owned);
        Self::launch(program, &arguments, rust_log)
            .unwrap_or_else(|log| panic!("the program ended without listening:\n{log}"))
    }

    /// Starts the program and waits until it listens; answers what it logged if it ends before that.
    pub fn launch(program: &str, arguments: &[String], rust_log: &str) -> Result<Self, String> {
        Self::launch_with(program, arguments, &[("RUST_LOG", rust_log)])
    }

    /// The same, with these variables in the environment.
    pub fn launch_with(program: &str, arguments: &[String], environment: &[(&str, &str)]) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(arguments)
            .env("NO_COLOR", "1")
            .envs(environment.iter().copied())
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
        let address = address.recv();
        let mut started = Self { child, address: String::new(), log, reader: Some(reader) };
        match address {
            Ok(address) => started.address = address,
            Err(_) => return Err(started.ended().1),
        }
        Ok(started)
    }

    /// Sends the process a signal, `STOP` for instance.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends the process at once, as `kill -9` does. Answers what it logged.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.ended().1
    }

    /// Asks the process to drain, and waits for it. Answers whether it exited with 0, and what it logged.
    pub fn terminate(mut self) -> (bool, String) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until the process ends by itself. Answers whether it exited with 0, and what it logged; `None` if it still
    /// runs after `within`.
    pub async fn ends(mut self, within: Duration) -> Option<(bool, String)> {
        for _ in 0..within.as_millis() / 10 {
            if self.child.try_wait().unwrap().is_some() {
                return Some(self.ended());
            }
            pause(Duration::from_millis(10)).await;
        }
        None
    }

    fn ended(&mut self) -> (bool, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().map(JoinHandle::join).unwrap_or(Ok(())).unwrap();
        (status.success(), std::mem::take(&mut *self.log.lock().unwrap()))
    }
}

/// Runs the program until it ends. Answers whether it exited with 0, and its last line on standard error.
pub fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(arguments)
        .env("RUST_LOG", "warn")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said.lines().last().unwrap_or_default().to_owned())
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
