//! The flags of `demo`: which it takes, and which it has of its own.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _, Error, FromArgMatches as _};

use super::{AuthFlags, AuthMode, ClockFlags, CommandLine, Config, WebOrigin, environment};
use crate::domain::Timestamp;

/// Where the front end of the examples is served: browsers may call a demo from there.
pub const WEB_ORIGIN: &str = "http://localhost:5173";

/// The subcommand.
pub(super) const DEMO: &str = "demo";

/// The flags that a demo takes …
const TAKEN: [&str; 3] = ["listen", "log-format", "web-origin"];

/// … and those of them whose variables it reads: the rest of the environment may be that of a real service, whose database,
/// callers, pages and rules a demo must not touch.
const READ: [&str; 2] = ["listen", "log-format"];

/// Parses the arguments of a demo. A flag that it does not take is an error.
pub(super) fn parse(arguments: &[OsString]) -> Result<CommandLine, Error> {
    let mut command = command();
    let matches = environment::parse(&command, arguments)?;
    if let Some(flag) = environment::first_named(&matches, &command, is_taken) {
        let why = format!(
            "--{flag} is not for a demo, which has a database, callers, rules and a clock of its own: it takes --listen, \
             --web-origin and --log-format"
        );
        return Err(command.error(ErrorKind::ArgumentConflict, why));
    }
    let line = CommandLine::from_arg_matches(&matches)?;
    let listen = line.config.listen;
    if !listen.ip().is_loopback() {
        let why = format!(
            "--listen (DISPUTES_LISTEN) is {listen}, but a demo trusts every caller, so it must be a loopback address"
        );
        return Err(command.error(ErrorKind::ValueValidation, why));
    }
    Ok(line)
}

/// The command, in which the flags that a demo does not take have no variables, and are not in its help.
fn command() -> Command {
    let only_named = |flag: Arg| {
        let hidden = !is_taken(&flag);
        let is_read = flag.get_long().is_some_and(|name| READ.contains(&name));
        if is_read { flag } else { flag.env(None::<&'static str>).hide(hidden) }
    };
    CommandLine::command().mut_args(only_named)
}

fn is_taken(flag: &Arg) -> bool {
    flag.get_long().is_some_and(|name| TAKEN.contains(&name))
}

impl Config {
    /// The flags of a demo on these files, whose clock starts at `start`. The others stay: for a demo, [`CommandLine::read`]
    /// leaves them at their defaults, but for where it listens, how it logs, and whose pages may call beside the examples'.
    #[must_use]
    pub fn for_demo(&self, database: &Path, policy: &Path, start: Timestamp) -> Self {
        Self {
            database_url: url_of(database),
            database_url_file: None,
            auth: AuthFlags { auth: Some(AuthMode::Dev), ..self.auth.clone() },
            policy: Some(policy.to_owned()),
            clock: ClockFlags::manual(start),
            web_origins: [&[WebOrigin::from_static(WEB_ORIGIN)], &self.web_origins[..]].concat(),
            ..self.clone()
        }
    }
}

/// The URL of a new SQLite database. What has a meaning in URLs can be in the name of a temporary folder too.
fn url_of(database: &Path) -> String {
    let path = database.to_string_lossy().replace('%', "%25").replace('?', "%3F");
    format!("sqlite://{path}?mode=rwc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, Authentication, LogFormat};

    fn read(arguments: &[&str]) -> Result<CommandLine, Error> {
        CommandLine::read(["dispute-service"].iter().chain(arguments).map(OsString::from))
    }

    #[test]
    fn a_demo_takes_an_address_and_a_log_format_before_or_after_its_name() {
        for arguments in [
            ["--listen", "[::1]:7", "--log-format", "json", "demo"],
            ["demo", "--listen", "[::1]:7", "--log-format", "json"],
        ] {
            let line = read(&arguments).unwrap();
            assert_eq!(line.action, Some(Action::Demo));
            assert_eq!(line.config.listen.port(), 7);
            assert_eq!(line.config.log_format, LogFormat::Json);
        }
    }

    #[test]
    fn a_flag_that_contradicts_a_demo_is_refused_with_the_reason() {
        for (flag, value) in [
            ("--database-url", "sqlite://mine.db"),
            ("--auth", "jwt"),
            ("--policy", "mine.toml"),
            ("--clock", "system"),
            ("--clock-start", "2026-01-01T00:00:00Z"),
        ] {
            for arguments in [[flag, value, "demo"], ["demo", flag, value]] {
                let error = read(&arguments).unwrap_err();
                let said = error.to_string();
                assert!(error.use_stderr() && said.contains(&format!("{flag} is not for a demo, which has")), "{said}");
            }
        }
    }

    #[test]
    fn a_demo_listens_on_a_loopback_address_only() {
        let said = read(&["demo", "--listen", "0.0.0.0:50051"]).unwrap_err().to_string();
        assert!(said.contains("--listen (DISPUTES_LISTEN) is 0.0.0.0:50051") && said.contains("loopback"), "{said}");
    }

    #[test]
    fn the_help_of_a_demo_shows_what_it_takes_and_that_of_the_service_everything() {
        let said = read(&["demo", "--help"]).unwrap_err().to_string();
        assert!(
            said.contains("--listen") && said.contains("--web-origin") && !said.contains("--database-url"),
            "{said}"
        );
        let said = read(&["--help"]).unwrap_err().to_string();
        assert!(said.contains("--database-url") && said.contains("demo"), "{said}");
    }

    #[test]
    fn what_is_only_called_demo_is_no_demo() {
        let line = read(&["--jwt-issuer", "demo", "serve", "--policy", "demo"]).unwrap();
        assert_eq!(line.config.policy.as_deref(), Some(Path::new("demo")));
        let line = read(&["backup", "demo", "--database-url", "sqlite://mine.db"]).unwrap();
        assert_eq!(line.config.database_url().unwrap(), "sqlite://mine.db");
    }

    #[test]
    fn the_flags_of_a_demo_replace_whatever_is_set() {
        let web = ["--web-origin", "http://localhost:8080"];
        let given = ["--database-url-file", "mine", "--policy", "mine.toml", "--listen", "127.0.0.1:7"];
        let config = read(&[&given[..], &web].concat()).unwrap().config;
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let demo = config.for_demo(Path::new("/tmp/100% new?/d.db"), Path::new("p.toml"), start);
        assert_eq!(demo.database_url().unwrap(), "sqlite:///tmp/100%25 new%3F/d.db?mode=rwc");
        assert_eq!(demo.policy.as_deref(), Some(Path::new("p.toml")));
        assert_eq!((demo.clock.is_manual(), demo.clock.start()), (true, Some(start)));
        assert_eq!(demo.authentication(), Ok(Authentication::Dev));
        assert_eq!(demo.listen.port(), 7);
        let origins = [WEB_ORIGIN, "http://localhost:8080"].map(|origin| origin.parse().unwrap());
        assert_eq!(demo.web_origins, origins, "and what is always there is as browsers write it");
    }
}
