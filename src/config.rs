//! Configuration: the flags, their environment variables, and the policy file.

mod audit;
mod auth;
mod clock;
mod connections;
mod ctl;
mod database_url;
mod demo;
mod environment;
mod policy_file;
mod rates;
mod requests;
mod small_file;
mod tls;
mod token;
mod traces;
mod web;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use crate::domain::{InvalidSpan, Span};
pub use audit::AuditFlags;
pub use auth::{AuthFlags, AuthFlagsError, AuthMode, Authentication, JwtSettings, KeySource};
pub use clock::{ClockFlags, ClockFlagsError, ClockMode};
pub use connections::ConnectionFlags;
pub use ctl::{
    Amount, CommandFlags, CtlConnection, CtlFlags, CtlTask, DecideFlags, ListFlags, PostponeFlags, ServiceUrl,
    TailFlags,
};
pub use database_url::UrlFileError;
pub use demo::WEB_ORIGIN;
pub use policy_file::{PolicyFile, PolicyFileError, SupportUrl};
pub use rates::RateFlags;
pub use requests::RequestFlags;
pub use small_file::{in_words, read_small};
pub use tls::{InvalidMtlsScope, MtlsScope, TlsFlags};
pub use token::{SigningKeyFile, TokenFlags};
pub use traces::{InvalidEndpoint, TraceFlags};
pub use web::{InvalidWebOrigin, WebOrigin};

/// The fewest connections to PostgreSQL that the service works with, and the most that make sense.
const LEAST_CONNECTIONS: u32 = crate::repository::LEAST_CONNECTIONS;
const MOST_CONNECTIONS: u32 = 10_000;

/// A resolution centre in which the buyer and seller of a marketplace order settle their disputes.
#[derive(Parser, Clone, Debug)]
#[command(name = "dispute-service", version)]
pub struct CommandLine {
    /// What to do; defaults to `serve`.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The flags.
    #[command(flatten)]
    pub config: Config,
}

impl CommandLine {
    /// Parses the flags, and takes those that are not given from the environment. An empty variable counts as unset. A demo
    /// takes few flags, and refuses the others; `ctl` takes its own alone.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        match asked_for(&arguments).as_deref() {
            Some(demo::DEMO) => demo::parse(&arguments),
            Some(ctl::CTL) => ctl::parse(&arguments),
            _ => Self::from_arg_matches(&environment::parse(&Self::command(), &arguments)?),
        }
    }
}

/// The subcommand that the arguments name, whether they are valid or not.
fn asked_for(arguments: &[OsString]) -> Option<String> {
    // With help, parsing would end before the subcommand is known.
    let is_help = |(index, argument): &(usize, &OsString)| *index == 1 && *argument == "help";
    let arguments = arguments.iter().enumerate().filter(|argument| !is_help(argument)).map(|(_, argument)| argument);
    let command = CommandLine::command().mut_args(|flag| flag.env(None::<&'static str>));
    let matches = command.disable_help_flag(true).ignore_errors(true).try_get_matches_from(arguments).ok()?;
    matches.subcommand_name().map(str::to_owned)
}

/// What the program does.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Run the service (the default).
    Serve,
    /// Apply the database schema and exit.
    Migrate,
    /// Print the audit as one JSON object per line, oldest first, even while the database is being served, and exit.
    Audit(AuditFlags),
    /// Copy a SQLite database, even while it is being served, and exit.
    Backup {
        /// The path of the copy. It must not exist yet.
        file: PathBuf,
    },
    /// Run a small marketplace with orders and disputes to try things out, until it is stopped, and remove it then.
    ///
    /// It listens on a loopback address, keeps everything in a temporary folder, trusts callers to say who they are, and has a clock
    /// that only callers move. It takes `--listen`, `--web-origin` and `--log-format`; the environment is read for the first and the last
    /// alone.
    Demo,
    /// Look at disputes and decide them, as an agent of a service that runs.
    #[command(after_help = ctl::AFTER_HELP)]
    Ctl(Box<CtlFlags>),
    /// Print a token for `--auth jwt`, for trying things out, and exit.
    Token(TokenFlags),
}

/// The flags. The first sentence of each is its line in `--help`; docs/operations.md has a table of them.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 picks a free one.
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
    /// A file with the database URL, instead of `--database-url`, so that process listings do not show it.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_url"
    )]
    database_url_file: Option<PathBuf>,
    /// The maximum number of connections to PostgreSQL, at least 4; ignored for SQLite.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_DATABASE_CONNECTIONS",
        value_name = "COUNT",
        default_value = "16",
        value_parser = database_connections
    )]
    pub database_connections: u32,
    /// How callers authenticate.
    #[command(flatten)]
    pub auth: AuthFlags,
    /// Where Prometheus finds the metrics, without any authentication; off by default.
    #[arg(long, global = true, env = "DISPUTES_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
    /// Traces for a collector.
    #[command(flatten)]
    pub traces: TraceFlags,
    /// A TOML file that overrides the default policy.
    #[arg(long, global = true, env = "DISPUTES_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Whether replicas on one PostgreSQL wake each other with NOTIFY; if not, events of other replicas take up to a second.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_NOTIFY",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub notify: bool,
    /// The maximum number of event streams, a quarter of them reserved for callers with few.
    #[arg(long, global = true, env = "DISPUTES_MAX_STREAMS", value_name = "COUNT", default_value = "20000")]
    pub max_streams: NonZeroUsize,
    /// The maximum number of event streams per caller; never more than are free, and ten filter ids count as one stream.
    #[arg(long, global = true, env = "DISPUTES_MAX_STREAMS_PER_CALLER", value_name = "COUNT", default_value = "2000")]
    pub max_streams_per_caller: NonZeroUsize,
    /// The age, plus or minus half, at which a stream ends so that its client reconnects, perhaps to another replica; 0s for never.
    #[arg(long, global = true, env = "DISPUTES_MAX_STREAM_AGE", value_name = "SPAN", default_value = "0s")]
    pub max_stream_age: Span,
    /// Pings a connection that was idle this long, and closes it if no reply arrives within the same time again.
    #[arg(long, global = true, env = "DISPUTES_KEEPALIVE", value_name = "SPAN", default_value = "20s", value_parser = above_zero)]
    pub keepalive: Span,
    /// How long a client may take to start HTTP after connecting, including its TLS handshake, and over HTTP/1.1 the head of its request; 0s for no limit.
    #[arg(long, global = true, env = "DISPUTES_PREFACE_TIMEOUT", value_name = "SPAN", default_value = "10s")]
    pub preface_timeout: Span,
    /// The maximum size of a request's header list in bytes, as HTTP/2 counts it; 0 for the transport's limit of 64 KiB.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_HEADER_BYTES",
        value_name = "BYTES",
        default_value = "12288",
        value_parser = clap::value_parser!(u32).range(0..=65_536)
    )]
    pub max_header_bytes: u32,
    /// How long a caller waits for a database connection to read before OVERLOADED is returned; 0s for no limit.
    #[arg(long, global = true, env = "DISPUTES_READ_WAIT", value_name = "SPAN", default_value = "5s")]
    pub read_wait: Span,
    /// Limits on connections.
    #[command(flatten)]
    pub connections: ConnectionFlags,
    /// TLS on the port.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// An origin whose web pages may call, by gRPC-Web, such as `https://shop.example`; may be repeated.
    #[arg(long = "web-origin", global = true, env = "DISPUTES_WEB_ORIGIN", value_name = "ORIGIN")]
    pub web_origins: Vec<WebOrigin>,
    /// Limits on rates.
    #[command(flatten)]
    pub rates: RateFlags,
    /// Limits on request messages.
    #[command(flatten)]
    pub requests: RequestFlags,
    /// The clock.
    #[command(flatten)]
    pub clock: ClockFlags,
    /// The format of log lines; `RUST_LOG` filters them.
    #[arg(long, global = true, env = "DISPUTES_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The format of log lines.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Parses a number of connections: enough for the service to work, and not more than any server has.
fn database_connections(text: &str) -> Result<u32, String> {
    let count = text.parse().map_err(|_| "expected a number of connections".to_owned())?;
    match count {
        0..LEAST_CONNECTIONS => {
            Err("at least 4 connections are needed: for writes, for reads, for the feed and deadlines, and for LISTEN"
                .to_owned())
        }
        LEAST_CONNECTIONS..=MOST_CONNECTIONS => Ok(count),
        _ => Err(format!("at most {MOST_CONNECTIONS} connections")),
    }
}

/// Parses a span above zero.
fn above_zero(text: &str) -> Result<Span, String> {
    match text.parse() {
        Ok(Span(Duration::ZERO)) => Err("expected a span above zero".to_owned()),
        span => span.map_err(|error: InvalidSpan| error.to_string()),
    }
}

/// Why a combination of flags is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The flags of authentication are incomplete or contradict each other.
    #[error(transparent)]
    Auth(#[from] AuthFlagsError),
    /// The clock does not suit other flags.
    #[error(transparent)]
    Clock(#[from] ClockFlagsError),
    /// Traces cannot be sent there.
    #[error(transparent)]
    Traces(#[from] InvalidEndpoint),
    /// The file does not contain a database URL.
    #[error(transparent)]
    DatabaseUrlFile(#[from] UrlFileError),
}

impl Config {
    /// Returns the database URL, read from its file if one is configured. It may contain a password.
    pub fn database_url(&self) -> Result<String, ConfigError> {
        match &self.database_url_file {
            Some(file) => Ok(database_url::read(file)?),
            None => Ok(self.database_url.clone()),
        }
    }

    /// Returns how callers authenticate, given the address to listen on.
    pub fn authentication(&self) -> Result<Authentication, ConfigError> {
        let authentication = self.auth.authentication(self.listen)?;
        self.clock.require_suited(authentication == Authentication::Dev)?;
        Ok(authentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn client_certificates_do_not_replace_what_tokens_need() {
        let tls =
            ["--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a", "--mtls-scope", "shop.example=platform"];
        let flags = ["dispute-service", "--auth", "jwt"].iter().chain(&tls);
        let refused = CommandLine::parse_from(flags).config.authentication().unwrap_err();
        assert!(matches!(&refused, ConfigError::Auth(AuthFlagsError::JwtIncomplete { missing }) if missing.len() == 3));
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
