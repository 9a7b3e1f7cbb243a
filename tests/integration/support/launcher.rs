//! Starts the servers that a test or a benchmark has for itself, PostgreSQL above all. Each ends, and is removed, when it is
//! dropped or when this process ends, however that happens: its script reads our end of a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A shell script that ends when its standard input does.
pub struct Script {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Runs a script with these variables. As somebody else if we are root: PostgreSQL and PgBouncer refuse to run as root.
    pub fn start(script: &str, variables: &[(&str, &str)]) -> Self {
        let is_root = user_id(&[]).is_some_and(|id| id == "0");
        let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
        if is_root {
            let user = if user_id(&["postgres"]).is_some() { "postgres" } else { "nobody" };
            command.args(["-u", user, "--", "sh"]);
        }
        let mut child = command
            .args(["-c", script])
            .current_dir("/")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, orders, answers }
    }

    /// The next line that it says; empty if it has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends it a line.
    pub fn send(&mut self, line: &str) {
        // Whether it is still there its answer tells.
        let _ = writeln!(self.orders.as_mut().unwrap(), "{line}");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// The number of a user, or of ours; `None` if there is no such user.
fn user_id(user: &[&str]) -> Option<String> {
    let output = Command::new("id").arg("-u").args(user).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a cluster needs of an installation.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// The folder with the programs of PostgreSQL: `TEST_POSTGRES_BIN`, or those of the newest version that is installed.
pub fn programs() -> Option<PathBuf> {
    let has_all = |folder: &PathBuf| NEEDED.iter().all(|program| folder.join(program).exists());
    if let Some(folder) = std::env::var_os("TEST_POSTGRES_BIN").filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        assert!(has_all(&folder), "TEST_POSTGRES_BIN: not all of {NEEDED:?} are in {}", folder.display());
        return Some(folder);
    }
    let version = |entry: std::fs::DirEntry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path().join("bin")))
    };
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().filter_map(version);
    let newest = installed.filter(|(_, folder)| has_all(folder)).max().map(|(_, folder)| folder);
    newest.or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(has_all))
}

/// What is particular to a cluster.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Where it listens; on a free port if that is 0.
    pub port: u16,
    /// Where it lives, and stays; in a folder of its own if there is none.
    pub folder: Option<&'a Path>,
    /// Flags for initdb.
    pub initdb: &'a str,
    /// Flags for initdb where it knows them.
    pub initdb_if_known: &'a str,
    /// Shell commands that run among its data before it starts.
    pub prepare: &'a str,
    /// Statements that run before it starts, one a line.
    pub sql: &'a str,
    /// Settings, each as `name=value`.
    pub settings: &'a [&'a str],
}

/// A PostgreSQL with a user `postgres` who needs no password.
pub struct Cluster {
    script: Script,
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// One that runs; `None` if there is no PostgreSQL here.
    pub fn start(options: &Options<'_>) -> Option<Self> {
        let mut cluster = Self::prepare(options)?;
        cluster.tell("create");
        Some(cluster)
    }

    /// One that waits to be told what to do.
    pub fn prepare(options: &Options<'_>) -> Option<Self> {
        let Options { port, folder, initdb, initdb_if_known, prepare, sql, settings } = *options;
        let programs = programs()?;
        let port = if port == 0 { free_port() } else { port };
        let settings: String = settings.iter().map(|setting| format!("-c {setting} ")).collect();
        let mut script = Script::start(
            include_str!("launcher.sh"),
            &[
                ("PROGRAMS", programs.to_str().unwrap()),
                ("PORT", &port.to_string()),
                ("FOLDER", folder.map_or("", |folder| folder.to_str().unwrap())),
                ("INITDB", initdb),
                ("INITDB_IF_KNOWN", initdb_if_known),
                ("PREPARE", prepare),
                ("SQL", sql),
                ("SETTINGS", &settings),
            ],
        );
        let folder = script.line();
        assert!(folder.starts_with('/'), "the script did not start: {folder:?}");
        Some(Self { script, folder: folder.into(), port })
    }

    /// Has it do something, see `launcher.sh`, and waits until that is done.
    pub fn tell(&mut self, order: &str) {
        self.script.send(order);
        let done = format!("{}: done", order.split(' ').next().unwrap());
        assert_eq!(self.script.line(), done, "PostgreSQL does not what it is told, see above");
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}
