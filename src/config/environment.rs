//! The environment variables of the flags.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};

/// Parses the flags, and takes those that are not given from the environment. An empty variable counts as unset; that of a
/// flag that can be repeated is separated by commas. An error about a variable names the variable and its flag.
pub(super) fn parse(command: &Command, arguments: &[OsString]) -> Result<ArgMatches, Error> {
    let is_given = |flag: &Arg| {
        let name = flag.get_long().map(|name| format!("--{name}")).unwrap_or_default();
        let is_it = |argument: &str| argument.split('=').next() == Some(name.as_str());
        arguments.iter().any(|argument| argument.to_str().is_some_and(is_it))
    };
    let with = |is_read: &dyn Fn(&Arg) -> bool| {
        with_twins(command.clone(), &is_given, is_read).try_get_matches_from(arguments)
    };
    let error = match with(&|flag| !is_empty(flag)) {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    if with(&|_| false).is_err() {
        // The error is about the arguments, whatever the environment contains.
        return Err(error);
    }
    let mut command = command.clone();
    let flags = command.get_arguments().chain(command.get_subcommands().flat_map(Command::get_arguments));
    let twins: Vec<_> = flags.filter(|flag| flag.get_env().is_some() && !is_empty(flag)).cloned().collect();
    let (kind, text) = (error.kind(), first_paragraph(&error));
    for twin in &twins {
        if let (Err(alone), Some(variable)) = (with(&|flag| flag.get_env() == twin.get_env()), twin.get_env()) {
            if first_paragraph(&alone) != text {
                // Alone it lacks something that another variable gives it.
                continue;
            }
            let flag = twin.get_long().unwrap_or_default();
            let message = format!("--{flag}, set by the environment variable {}: {text}", variable.display());
            return Err(command.error(kind, message));
        }
    }
    // No variable is to blame alone: they conflict.
    let is_told_of = |twin: &&Arg| twin.get_long().is_some_and(|flag| text.contains(&format!("--{flag} ")));
    let variables =
        twins.iter().filter(is_told_of).filter_map(Arg::get_env).filter(|name| std::env::var_os(name).is_some());
    let variables: Vec<_> = variables.map(OsStr::to_string_lossy).collect();
    if variables.is_empty() {
        return Err(error);
    }
    Err(command.error(kind, format!("{text} (set by the environment variables {})", variables.join(" and "))))
}

/// The first flag of the command itself that stands on the command line, except those that are taken there.
pub(super) fn first_named(matches: &ArgMatches, command: &Command, is_taken: impl Fn(&Arg) -> bool) -> Option<String> {
    let is_named = |flag: &&Arg| matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
    command.get_arguments().filter(is_named).find(|flag| !is_taken(flag)).and_then(Arg::get_long).map(str::to_owned)
}

/// The message of an error, without clap's hints.
fn first_paragraph(error: &Error) -> String {
    let text = error.to_string();
    text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn is_empty(flag: &Arg) -> bool {
    flag.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
}

/// The command with only the selected environment variables.
fn with_twins(command: Command, is_given: &dyn Fn(&Arg) -> bool, is_read: &dyn Fn(&Arg) -> bool) -> Command {
    let command = command.mut_args(|flag| {
        if !is_read(&flag) {
            flag.env(None::<&'static str>)
        } else if matches!(flag.get_action(), ArgAction::Append) && !is_given(&flag) {
            // Whatever comes, comes from the variable: where the flag is given, a comma is part of its value.
            flag.value_delimiter(',')
        } else {
            flag
        }
    });
    command.mut_subcommands(|subcommand| with_twins(subcommand, is_given, is_read))
}
