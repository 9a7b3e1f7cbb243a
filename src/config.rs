//! What can be set from outside: the flags, their environment twins, and the policy file.

mod connections;
mod database_url;
mod environment;
mod policy_file;
mod rates;
mod requests;
mod span;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use connections::ConnectionFlags;
pub use database_url::UrlFileError;
#[cfg(feature = "fuzzing")]
pub(crate) use policy_file::parse_policy;
pub use policy_file::{PolicyFileError, load_policy};
pub use rates::RateFlags;
pub use requests::RequestFlags;
pub use span::{InvalidSpan, Span};

/// The fewest connections to PostgreSQL with which the service works, and the most that make sense.
const LEAST_CONNECTIONS: u32 = crate::repository::LEAST_CONNECTIONS;
const MOST_CONNECTIONS: u32 = 10_000;

/// A resolution centre: the buyer and the seller of a marketplace order settle their disputes by themselves.
#[derive(Parser, Clone, Debug)]
#[command(name = "dispute-service", version)]
pub struct CommandLine {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The flags.
    #[command(flatten)]
    pub config: Config,
}

impl CommandLine {
    /// Reads the flags, and the environment for those that are not given. A variable that is empty counts as unset.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        environment::parse(&arguments.into_iter().collect::<Vec<_>>())
    }
}

/// What the program does.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Run the service (the default).
    Serve,
    /// Apply the database schema and exit.
    Migrate,
    /// Copy a SQLite database, also while it is served, and exit.
    Backup {
        /// Where the copy shall be. Nothing is there yet.
        file: PathBuf,
    },
}

/// The flags. The first sentence of each is its line in `--help`; docs/operations.md has a table of them.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, global = true, env = "DISPUTES_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// The database: `sqlite://FILE?mode=rwc` or `postgres://…`.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "sqlite://disputes.db?mode=rwc"
    )]
    database_url: String,
    /// A file that holds the URL of the database, instead of `--database-url`: whoever lists processes does not see it.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_url"
    )]
    database_url_file: Option<PathBuf>,
    /// How many connections to PostgreSQL this process has at the most; at least 4, and none of them for SQLite.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_DATABASE_CONNECTIONS",
        value_name = "COUNT",
        default_value = "16",
        value_parser = database_connections
    )]
    pub database_connections: u32,
    /// How callers say who they are; `dev` on a loopback address if nothing is said.
    #[arg(long, global = true, env = "DISPUTES_AUTH", value_name = "MODE")]
    pub auth: Option<AuthMode>,
    /// A TOML file over the default policy.
    #[arg(long, global = true, env = "DISPUTES_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Whether replicas on one PostgreSQL wake each other by NOTIFY; without it events of others take up to a second.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_NOTIFY",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub notify: bool,
    /// How many streams of events this process serves at once, a quarter of them kept for callers who have few.
    #[arg(long, global = true, env = "DISPUTES_MAX_STREAMS", value_name = "COUNT", default_value = "20000")]
    pub max_streams: NonZeroUsize,
    /// How many of them one caller can have, and no more than are free; ten ids to filter by count as one.
    #[arg(long, global = true, env = "DISPUTES_MAX_STREAMS_PER_CALLER", value_name = "COUNT", default_value = "2000")]
    pub max_streams_per_caller: NonZeroUsize,
    /// After how long, half more or less, a stream ends and its client comes back, perhaps to another replica; 0s for never.
    #[arg(long, global = true, env = "DISPUTES_MAX_STREAM_AGE", value_name = "SPAN", default_value = "0s")]
    pub max_stream_age: Span,
    /// A connection that is silent for so long is asked for a sign of life, and closed if none comes for as long again.
    #[arg(long, global = true, env = "DISPUTES_KEEPALIVE", value_name = "SPAN", default_value = "20s", value_parser = keepalive)]
    pub keepalive: Span,
    /// How long a client may take to begin with HTTP/2 after it has connected; 0s for ever.
    #[arg(long, global = true, env = "DISPUTES_PREFACE_TIMEOUT", value_name = "SPAN", default_value = "10s")]
    pub preface_timeout: Span,
    /// The largest header list of a request in bytes, as HTTP/2 counts them; 0 for the 64 KiB that the transport reads.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_HEADER_BYTES",
        value_name = "BYTES",
        default_value = "12288",
        value_parser = clap::value_parser!(u32).range(0..=65_536)
    )]
    pub max_header_bytes: u32,
    /// How long a caller waits for its turn to read before it is told that there is too much to do; 0s for ever.
    #[arg(long, global = true, env = "DISPUTES_READ_WAIT", value_name = "SPAN", default_value = "5s")]
    pub read_wait: Span,
    /// What bounds connections.
    #[command(flatten)]
    pub connections: ConnectionFlags,
    /// How often somebody may ask.
    #[command(flatten)]
    pub rates: RateFlags,
    /// What bounds the messages of requests.
    #[command(flatten)]
    pub requests: RequestFlags,
    /// How log lines are written; `RUST_LOG` filters them.
    #[arg(long, global = true, env = "DISPUTES_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How callers say who they are.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// They just say so, in `x-user-id` and `x-scope`: only on a loopback address.
    Dev,
}

/// How log lines are written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Enough connections for what the service does, and not more than any server has.
fn database_connections(text: &str) -> Result<u32, String> {
    let count = text.parse().map_err(|_| "expected a number of connections".to_owned())?;
    match count {
        0..LEAST_CONNECTIONS => {
            Err("at least 4 connections are needed: to write, to read, for the feed and the deadlines, and to listen"
                .to_owned())
        }
        LEAST_CONNECTIONS..=MOST_CONNECTIONS => Ok(count),
        _ => Err(format!("at most {MOST_CONNECTIONS} connections")),
    }
}

/// A span above zero.
fn keepalive(text: &str) -> Result<Span, String> {
    match text.parse() {
        Ok(Span(Duration::ZERO)) => Err("expected a span above zero".to_owned()),
        span => span.map_err(|error: InvalidSpan| error.to_string()),
    }
}

/// Why the flags do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nobody may be believed unseen over a network.
    #[error(
        "--auth dev (DISPUTES_AUTH) is allowed only on a loopback address, and --listen (DISPUTES_LISTEN) is {listen}"
    )]
    DevAuthOffLoopback {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// Off loopback there is no default.
    #[error(
        "--auth (DISPUTES_AUTH) must be given: --listen (DISPUTES_LISTEN) is {listen}, which is not a loopback address"
    )]
    AuthMissing {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The file with the URL of the database holds none.
    #[error(transparent)]
    DatabaseUrlFile(#[from] UrlFileError),
}

impl Config {
    /// The URL of the database, read from its file if it is in one. It may hold a password.
    pub fn database_url(&self) -> Result<String, ConfigError> {
        match &self.database_url_file {
            Some(file) => Ok(database_url::read(file)?),
            None => Ok(self.database_url.clone()),
        }
    }

    /// How callers say who they are at the address to listen on.
    pub fn auth_mode(&self) -> Result<AuthMode, ConfigError> {
        let listen = self.listen;
        match (self.auth, listen.ip().is_loopback()) {
            (Some(AuthMode::Dev) | None, true) => Ok(AuthMode::Dev),
            (Some(AuthMode::Dev), false) => Err(ConfigError::DevAuthOffLoopback { listen }),
            (None, false) => Err(ConfigError::AuthMissing { listen }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Config {
        CommandLine::parse_from(["dispute-service"].iter().chain(arguments)).config
    }

    #[test]
    fn dev_auth_is_the_default_on_loopback_and_refused_elsewhere() {
        let everywhere: SocketAddr = "0.0.0.0:1".parse().unwrap();
        assert_eq!(parse(&[]).auth_mode(), Ok(AuthMode::Dev));
        assert_eq!(parse(&["--listen", "[::1]:0"]).auth_mode(), Ok(AuthMode::Dev));
        assert_eq!(parse(&["--listen", "0.0.0.0:1"]).auth_mode(), Err(ConfigError::AuthMissing { listen: everywhere }));
        assert_eq!(
            parse(&["--listen", "0.0.0.0:1", "--auth", "dev"]).auth_mode(),
            Err(ConfigError::DevAuthOffLoopback { listen: everywhere })
        );
    }

    #[test]
    fn a_bound_of_nothing_is_refused() {
        for (flag, nothing, why) in [
            ("--max-streams", "0", "zero"),
            ("--max-streams-per-caller", "0", "zero"),
            ("--database-connections", "3", "at least 4 connections are needed"),
            ("--database-connections", "many", "expected a number"),
            ("--database-connections", "1000001", "at most"),
            ("--keepalive", "0s", "expected a span above zero"),
            ("--keepalive", "soon", "an integer and s, m, h or d"),
            ("--max-stream-age", "3651d", "at most 3650d"),
        ] {
            let error = CommandLine::try_parse_from(["dispute-service", flag, nothing]).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn flags_may_stand_before_or_after_the_action() {
        for arguments in [["--listen", "127.0.0.1:7", "serve"], ["serve", "--listen", "127.0.0.1:7"]] {
            let line = CommandLine::parse_from(["dispute-service"].iter().chain(&arguments));
            assert_eq!(line.action, Some(Action::Serve));
            assert_eq!(line.config.listen.port(), 7);
        }
    }

    #[test]
    fn the_table_of_flags_has_each_with_its_environment_twin_and_default() {
        let documented = include_str!("../docs/operations.md");
        let command = <CommandLine as clap::CommandFactory>::command();
        for flag in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
            let name = flag.get_long().unwrap();
            let twin = flag.get_env().unwrap().to_str().unwrap();
            let row = documented.lines().find(|line| line.starts_with(&format!("| `--{name}` | `{twin}` | ")));
            let row = row.unwrap_or_else(|| panic!("--{name} is not there"));
            for default in flag.get_default_values() {
                assert!(row.contains(&format!("`{}`", default.to_str().unwrap())), "{default:?}: {row}");
            }
        }
    }
}
