//! The flags of `dispute-service ctl`, and which of the others it refuses: all of them.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{
    BoolishValueParser, NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser,
};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgGroup, Args, Command, CommandFactory as _, Error, FromArgMatches as _, Subcommand};

use super::{Action, CommandLine, Span, above_zero, environment};
use crate::domain::{Scope, Timestamp};
use crate::proto::v1::{DisputeKind, DisputeStatus, EventType, SettlementStatus};

/// The subcommand.
pub(super) const CTL: &str = "ctl";

/// More numbers than any enumeration of the contract has.
const NUMBERS: std::ops::Range<i32> = 1..100;

/// The most digits after the point that an amount of the contract can have.
const DECIMALS: usize = 9;

/// A value that means something. To the service an empty id is no filter, an empty etag no version, and an empty token "from now
/// on": a script whose variable is empty would get everything, decide blindly, or miss what has happened.
fn given() -> NonEmptyStringValueParser {
    NonEmptyStringValueParser::new()
}

/// What scripts want to know, at the end of `--help`.
pub(super) const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  the service refused: its reason and everything that is wrong are on stderr
  2  wrong usage: a flag, or a file that cannot be read
  3  the service could not be reached, was not able to serve, or did not answer in time
  4  the output could not be written; a command has taken effect

Times are UTC. Characters that cannot be seen, or that would move the cursor, are shown as \\u followed by their number.";

/// What an agent does, and how the service is called.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Options of every task")]
pub struct CtlFlags {
    /// How the service is called.
    #[command(flatten)]
    pub connection: CtlConnection,
    /// Print JSON for scripts, as proto3 maps it; failed calls too, on stderr.
    #[arg(long, global = true, env = "DISPUTES_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub task: CtlTask,
}

/// How the service is called.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Options of every task")]
pub struct CtlConnection {
    /// The service: `http://HOST:PORT`, or `https://HOST:PORT` for TLS.
    #[arg(long, global = true, env = "DISPUTES_URL", value_name = "URL", default_value = "http://127.0.0.1:50051")]
    pub url: ServiceUrl,
    /// A PEM file with the authority of the service's certificate; by default those that this machine trusts.
    #[arg(long, global = true, env = "DISPUTES_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A file with the agent's token; read anew for each call.
    #[arg(long, global = true, env = "DISPUTES_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The agent's id, for a service with `--auth dev`.
    #[arg(long, global = true, env = "DISPUTES_USER_ID", value_name = "ID", default_value = "agent")]
    pub user_id: String,
    /// The agent's scope, `support` or `platform`, for a service with `--auth dev`.
    #[arg(long, global = true, env = "DISPUTES_SCOPE", value_name = "SCOPE", default_value = "support", value_parser = scope)]
    pub scope: Scope,
    /// How long a call may take, with everything that is tried again.
    #[arg(long, global = true, env = "DISPUTES_TIMEOUT", value_name = "SPAN", default_value = "10s", value_parser = above_zero)]
    pub timeout: Span,
}

/// What to do.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum CtlTask {
    /// List disputes: by default those that are open.
    ///
    /// Escalated disputes come first, those in which nothing has happened for longest on top; then the pending ones, the most
    /// urgent on top; then, if asked for, the resolved ones, newest first. With --json each line is a dispute.
    List(ListFlags),
    /// Show a dispute with its order and its history.
    ///
    /// With --json it is one object: dispute, order, events, serverTime.
    Show {
        /// The dispute.
        #[arg(value_name = "DISPUTE_ID", value_parser = given())]
        dispute_id: String,
    },
    /// Decide an escalated dispute.
    ///
    /// It is refused if the dispute has changed since --etag, or since this command has read it. With --json the line is
    /// the dispute afterwards.
    Decide(DecideFlags),
    /// Give the party that has to answer more time.
    ///
    /// It is refused if the dispute has changed since --etag, or since this command has read it. With --json the line is
    /// the dispute afterwards.
    Postpone(PostponeFlags),
    /// Follow what happens, over interruptions, until Ctrl-C.
    ///
    /// With --json each line has the next events, or none, and the resumeToken that covers everything up to and
    /// including that line. Without it the last token is on stderr at the end.
    Tail(TailFlags),
}

/// Which disputes are listed.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct ListFlags {
    /// Only disputes of this order.
    #[arg(long, value_name = "ID", value_parser = given())]
    pub order_id: Option<String>,
    /// Only disputes of this buyer or seller.
    #[arg(long, value_name = "ID", value_parser = given())]
    pub party_id: Option<String>,
    /// Only disputes of this kind; may be repeated.
    #[arg(long = "kind", value_name = "KIND", value_parser = values(DisputeKind::as_str_name, |_| true))]
    pub kinds: Vec<DisputeKind>,
    /// Only disputes in this status; may be repeated. By default pending and escalated.
    #[arg(long = "status", value_name = "STATUS", value_parser = values(DisputeStatus::as_str_name, |_| true))]
    pub statuses: Vec<DisputeStatus>,
    /// Only disputes whose refund is in this status, whatever their own; may be repeated.
    #[arg(long = "settlement-status", value_name = "STATUS", value_parser = values(SettlementStatus::as_str_name, |_| true))]
    pub settlement_statuses: Vec<SettlementStatus>,
    /// Disputes in every status.
    #[arg(long, conflicts_with = "statuses")]
    pub all: bool,
    /// The most disputes that are listed; that there are more is said on stderr.
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// A command of an agent, whatever it is.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct CommandFlags {
    /// The dispute.
    #[arg(value_name = "DISPUTE_ID", value_parser = given())]
    pub dispute_id: String,
    /// The explanation, which both parties read. `--message=TEXT` if it begins with a dash.
    #[arg(long, value_name = "TEXT")]
    pub message: String,
    /// Only if the dispute is still in this version, which `show` prints.
    #[arg(long, value_name = "ETAG", value_parser = given())]
    pub etag: Option<String>,
    /// Only ask the service what would come of it: nothing happens.
    #[arg(long)]
    pub dry_run: bool,
}

/// A decision.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(group = ArgGroup::new("decision").args(["no_action", "refund", "cancel_order"]).required(true))]
pub struct DecideFlags {
    /// What every command has.
    #[command(flatten)]
    pub command: CommandFlags,
    /// Change nothing.
    #[arg(long)]
    pub no_action: bool,
    /// Refund this amount, in the order's currency, such as 12.50.
    #[arg(long, value_name = "AMOUNT")]
    pub refund: Option<Amount>,
    /// Cancel the order and refund everything that is not refunded yet.
    #[arg(long)]
    pub cancel_order: bool,
    /// The cancellation does not count against the seller's completion rate.
    #[arg(long, requires = "cancel_order", conflicts_with_all = ["no_action", "refund"])]
    pub does_not_count: bool,
}

/// A later deadline.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(group = ArgGroup::new("deadline").args(["until", "by"]).required(true))]
pub struct PostponeFlags {
    /// What every command has.
    #[command(flatten)]
    pub command: CommandFlags,
    /// The new deadline, as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// How much later than now set, such as 24h.
    #[arg(long, value_name = "SPAN", value_parser = above_zero)]
    pub by: Option<Span>,
}

/// Which events are followed, and from where.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct TailFlags {
    /// Begin with the oldest event that is kept, not with the next one.
    #[arg(long, conflicts_with = "resume_token")]
    pub from_beginning: bool,
    /// Begin after this position, which an earlier run has printed.
    #[arg(long, value_name = "TOKEN", value_parser = given())]
    pub resume_token: Option<String>,
    /// Only events of this order; may be repeated.
    #[arg(long = "order-id", value_name = "ID", value_parser = given())]
    pub order_ids: Vec<String>,
    /// Only events of this dispute; may be repeated.
    #[arg(long = "dispute-id", value_name = "ID", value_parser = given())]
    pub dispute_ids: Vec<String>,
    /// Only events of this buyer or seller.
    #[arg(long, value_name = "ID", value_parser = given())]
    pub party_id: Option<String>,
    /// Only events of disputes of this kind; may be repeated.
    #[arg(long = "kind", value_name = "KIND", value_parser = values(DisputeKind::as_str_name, |_| true))]
    pub kinds: Vec<DisputeKind>,
    /// Only events of this type; may be repeated.
    #[arg(long = "event-type", value_name = "TYPE", value_parser = values(EventType::as_str_name, is_followed))]
    pub event_types: Vec<EventType>,
}

/// The address of a service: scheme, host and port alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceUrl(http::Uri);

impl ServiceUrl {
    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    /// Whether it is on this machine.
    fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }

    /// The address.
    pub fn uri(&self) -> &http::Uri {
        &self.0
    }
}

/// Without a path, which has no meaning.
impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

impl FromStr for ServiceUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected http://HOST:PORT or https://HOST:PORT";
        let uri: http::Uri = text.parse().map_err(|_| expected)?;
        let is_plain = uri.path() == "/"
            && uri.query().is_none()
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if is_http && is_plain { Ok(Self(uri)) } else { Err(expected) }
    }
}

/// An amount without its currency, exactly as written: never a float.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amount {
    /// Whole units.
    pub units: i64,
    /// The rest in billionths of a unit.
    pub nanos: i32,
}

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an amount such as 12.50, with at most 9 decimals and no currency";
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(units) || !are_digits(decimals) || decimals.len() > DECIMALS {
            return Err(expected);
        }
        let nanos = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| expected)?;
        Ok(Self { units: units.parse().map_err(|_| expected)?, nanos })
    }
}

/// A scope by its name.
fn scope(text: &str) -> Result<Scope, String> {
    let named = Scope::ALL.into_iter().find(|scope| scope.name() == text);
    named.ok_or_else(|| "expected support or platform".to_owned())
}

/// Whether a `tail`, which asks for no snapshot, can get such events.
fn is_followed(event_type: &EventType) -> bool {
    *event_type != EventType::Snapshot
}

/// The values of an enumeration of the contract that are meant: their names without the enumeration's, in lower case and with
/// dashes.
fn values<T>(name: fn(&T) -> &'static str, is_meant: fn(&T) -> bool) -> impl TypedValueParser<Value = T>
where
    T: TryFrom<i32> + Default + Clone + Send + Sync + 'static,
{
    let prefix = name(&T::default()).trim_end_matches("UNSPECIFIED");
    let argument = move |value: &T| name(value).trim_start_matches(prefix).to_lowercase().replace('_', "-");
    let all: Vec<T> = NUMBERS.filter_map(|number| T::try_from(number).ok()).filter(is_meant).collect();
    let possible: Vec<PossibleValue> = all.iter().map(|value| PossibleValue::new(argument(value))).collect();
    PossibleValuesParser::new(possible).try_map(move |given| {
        all.iter().find(|value| argument(value) == given).cloned().ok_or("is not one of the possible values")
    })
}

/// Parses the arguments of `ctl`. The service's flags are errors, and its environment is not read.
pub(super) fn parse(arguments: &[OsString]) -> Result<CommandLine, Error> {
    let matches = environment::parse(&command(), arguments)?;
    if let Some(flag) = environment::first_named(&matches, &command(), |_| false) {
        let why =
            format!("--{flag} is for the service, and ctl is its client: it takes the flags of `ctl --help` alone");
        return Err(contradiction(why));
    }
    let mut line = CommandLine::from_arg_matches(&matches)?;
    if let Some(Action::Ctl(flags)) = &mut line.action {
        let source = |name| matches.subcommand_matches(CTL).and_then(|ctl| ctl.value_source(name));
        flags
            .connection
            .choose_caller(source("token_file"), [source("user_id"), source("scope")])
            .map_err(contradiction)?;
        flags.connection.require_consistent().map_err(contradiction)?;
    }
    Ok(line)
}

/// An error that shows the usage of `ctl`, not of the service.
fn contradiction(why: impl fmt::Display) -> Error {
    let mut command = command();
    command.build();
    match command.find_subcommand_mut(CTL) {
        Some(ctl) => ctl.error(ErrorKind::ArgumentConflict, why),
        None => command.error(ErrorKind::ArgumentConflict, why),
    }
}

/// The command, in which the service's flags have no variables, and are in no help.
fn command() -> Command {
    CommandLine::command().mut_args(|flag| flag.env(None::<&'static str>).hide(true))
}

impl CtlConnection {
    /// Either a token or an id with a scope says who calls. What stands on the command line wins over the other's variables.
    fn choose_caller(
        &mut self,
        token: Option<ValueSource>,
        named: [Option<ValueSource>; 2],
    ) -> Result<(), &'static str> {
        let is_named_by = |source| named.contains(&Some(source));
        match token {
            Some(ValueSource::CommandLine) if !is_named_by(ValueSource::CommandLine) => Ok(()),
            Some(ValueSource::EnvVariable) if is_named_by(ValueSource::CommandLine) => {
                self.token_file = None;
                Ok(())
            }
            Some(_) if is_named_by(ValueSource::CommandLine) || is_named_by(ValueSource::EnvVariable) => Err(
                "--token-file (DISPUTES_TOKEN_FILE) says who calls, and so do --user-id (DISPUTES_USER_ID) and --scope \
                 (DISPUTES_SCOPE): give one or the other",
            ),
            _ => Ok(()),
        }
    }

    /// Fails with the reason if these flags do not go together.
    fn require_consistent(&self) -> Result<(), &'static str> {
        let is_plain = !self.url.is_tls();
        if is_plain && self.token_file.is_some() && !self.url.is_loopback() {
            return Err(
                "the token of --token-file (DISPUTES_TOKEN_FILE) would cross the network in the clear: with another machine \
                 --url (DISPUTES_URL) must be https://",
            );
        }
        if is_plain && self.ca.is_some() {
            return Err("--ca (DISPUTES_CA) is for TLS: --url (DISPUTES_URL) must be https://");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
