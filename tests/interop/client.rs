//! The example clients, and one of them while it runs.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispute_service::clock::{pause, real_now};

/// Long enough for anything that happens at all, on a machine that does a lot besides.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The client in one language.
#[derive(Clone, Copy)]
pub struct Client {
    /// What is run, in the folder of the example.
    program: &'static str,
    /// What comes before its own arguments.
    arguments: &'static [&'static str],
    language: &'static str,
}

const CLIENTS: [Client; 4] = [
    Client { language: "python", program: ".venv/bin/python", arguments: &["client.py"] },
    Client { language: "typescript", program: "node", arguments: &["dist/client.js"] },
    Client { language: "go", program: "bin/client", arguments: &[] },
    Client { language: "java", program: "java", arguments: &["-jar", "target/client.jar"] },
];

impl Client {
    /// The client in this language. Without it the test is skipped, and says so.
    pub fn find(language: &str) -> Option<Self> {
        let client = CLIENTS.into_iter().find(|client| client.language == language).unwrap();
        let wanted = std::env::var("TEST_CLIENTS").ok();
        let is_wanted = wanted.as_ref().map(|wanted| wanted.split(' ').any(|name| name == language));
        let is_there = client.is_built();
        assert!(is_there || is_wanted != Some(true), "TEST_CLIENTS names {language}: run `examples/build {language}`");
        if is_there && is_wanted != Some(false) {
            return Some(client);
        }
        static SKIPPED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
        if SKIPPED.lock().unwrap().insert(client.language) {
            let why = if is_there { "TEST_CLIENTS does not name it" } else { "examples/build has not made it" };
            // Past the harness, which swallows what tests print.
            let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: the client in {language}: {why} ***\n");
        }
        None
    }

    /// Whether the last of what a build makes is there.
    fn is_built(self) -> bool {
        let made = match self.language {
            "python" => "disputes",
            _ => self.arguments.last().unwrap_or(&self.program),
        };
        self.folder().join(made).exists()
    }

    fn folder(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.language)
    }

    /// Starts it. The variables are those that say where the service is and who calls.
    pub fn start(self, variables: &[(&str, &str)], arguments: &[&str]) -> Running {
        let relative = self.folder().join(self.program);
        let program = if relative.exists() { relative } else { self.program.into() };
        let mut command = Command::new(program);
        command.args(self.arguments).args(arguments).current_dir(self.folder());
        // Nor by way of a proxy, or with somebody else's packages.
        let foreign = |name: &str| {
            let name = name.to_lowercase();
            name.starts_with("disputes_") || name.ends_with("_proxy") || name == "pythonpath"
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(foreign)) {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Running { child, out, err }
    }

    /// Offers a refund as `bob`, and waits for the end.
    pub async fn offer(self, url: &str, order: &str, amount: &str, message: &str) -> Ended {
        let variables = [("DISPUTES_URL", url), ("DISPUTES_USER_ID", "bob")];
        self.start(&variables, &["offer", order, amount, message]).ends().await
    }

    /// Watches as `ann`. The service has heard of it.
    pub async fn watch(self, url: &str, arguments: &[&str]) -> Running {
        let variables = [("DISPUTES_URL", url), ("DISPUTES_USER_ID", "ann")];
        let mut running = self.start(&variables, &[&["watch"], arguments].concat());
        running.says("watching").await;
        running
    }
}

/// A client that runs. Killed when dropped.
pub struct Running {
    child: Child,
    out: Lines,
    err: Lines,
}

/// What a client has said, and whether it has closed its mouth.
struct Lines {
    said: Arc<Mutex<Vec<String>>>,
    reader: std::thread::JoinHandle<()>,
}

/// How a client has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let said = Arc::<Mutex<Vec<String>>>::default();
        let lines = BufReader::new(stream).lines();
        let reader = std::thread::spawn({
            let said = said.clone();
            move || {
                for line in lines.map_while(Result::ok) {
                    said.lock().unwrap().push(line);
                }
            }
        });
        Self { said, reader }
    }

    fn now(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Running {
    /// Waits until it has printed so many lines on stdout; returns all that there are.
    pub async fn prints(&mut self, count: usize) -> Vec<String> {
        let (out, err) = (self.out.said.clone(), self.err.said.clone());
        self.until(
            || out.lock().unwrap().len() >= count,
            || format!("it does not print {count} lines, but {:?}\n{:?}", out.lock().unwrap(), err.lock().unwrap()),
        )
        .await;
        self.out.now()
    }

    /// Waits until it has said this line on stderr.
    pub async fn says(&mut self, line: &str) {
        let err = self.err.said.clone();
        let says = || err.lock().unwrap().iter().any(|said| said == line);
        self.until(says, || format!("it does not say {line:?}, but {:?}", err.lock().unwrap())).await;
    }

    async fn until(&mut self, holds: impl Fn() -> bool, what: impl Fn() -> String) {
        let start = real_now();
        while !holds() {
            // What it says last is read after it has ended.
            let has_ended = self.child.try_wait().unwrap().is_some() && self.out.reader.is_finished();
            assert!(start.elapsed() < TIMEOUT, "{}", what());
            assert!(!has_ended || holds(), "it has ended: {}", what());
            pause(Duration::from_millis(5)).await;
        }
    }

    /// Sends it a signal: `TERM`, say.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ends.
    pub async fn ends(mut self) -> Ended {
        let start = real_now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < TIMEOUT, "it does not end: {:?} {:?}", self.out.now(), self.err.now());
            pause(Duration::from_millis(5)).await;
        };
        while !(self.out.reader.is_finished() && self.err.reader.is_finished()) {
            pause(Duration::from_millis(1)).await;
        }
        Ended { code: status.code(), out: self.out.now(), err: self.err.now() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
