//! Several hosts in one URL, as libpq has it: `postgres://user:password@one:5432,two:5432/database`. The one that accepts
//! writes is found among them at startup, and again when it is lost.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::PgConnectOptions;

use super::ConnectError;
use super::causes::cause;
use super::session::fitted;

/// The values of `target_session_attrs`, which all mean a primary here: the service needs one in any case.
const ATTRIBUTES: [&str; 3] = ["read-write", "primary", "any"];

/// The hosts of a URL, and which one is used.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The URL of the first host.
    url: String,
    all: Vec<PgConnectOptions>,
    current: AtomicUsize,
}

impl Hosts {
    /// Parses a URL.
    pub(super) fn of(url: &str) -> Result<Self, ConnectError> {
        // SeaORM does not know the longer scheme.
        let url = url.replacen("postgresql://", "postgres://", 1);
        let urls = split(&url)?;
        let read =
            |url: &String| url.parse::<PgConnectOptions>().map_err(|error| ConnectError::Unusable(cause(&error)));
        let all: Vec<_> = urls.iter().map(read).collect::<Result<_, _>>()?;
        let all = all.into_iter().map(|options| fitted(options).disable_statement_logging()).collect();
        let url = urls.into_iter().next().ok_or(ConnectError::InvalidUrl)?;
        Ok(Self { url, all, current: AtomicUsize::default() })
    }

    /// A URL that SeaORM can parse. Its host is not necessarily the one that is used.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether there is a choice.
    pub(super) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// All of them, in the order of the URL.
    pub(super) fn all(&self) -> &[PgConnectOptions] {
        &self.all
    }

    /// The host that is used.
    pub(super) fn current(&self) -> PgConnectOptions {
        let current = self.all.get(self.current.load(Ordering::Acquire)).or_else(|| self.all.first());
        // There is at least one.
        current.cloned().unwrap_or_default()
    }

    /// Uses this host from now on. Returns whether that is a change.
    pub(super) fn choose(&self, index: usize) -> bool {
        self.current.swap(index, Ordering::AcqRel) != index
    }

    /// Why none of them can be used, from the error of each.
    pub(super) fn none_usable(&self, mut errors: Vec<ConnectError>) -> ConnectError {
        if errors.len() == 1
            && let Some(error) = errors.pop()
        {
            return error;
        }
        let mut said = "none of the hosts of its URL can be used:".to_owned();
        for (number, (host, error)) in self.all.iter().zip(&errors).enumerate() {
            let and = if number > 0 { ";" } else { "" };
            let _ = write!(said, "{and} {}:{}: {}", host.get_host(), host.get_port(), error.reason());
        }
        ConnectError::Unusable(said)
    }
}

/// One URL per host, without parameters that matter only for several.
fn split(url: &str) -> Result<Vec<String>, ConnectError> {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = url.split_once("://").ok_or(ConnectError::InvalidUrl)?;
    let (authority, database) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at.saturating_add(1)));
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("target_session_attrs", value) if ATTRIBUTES.contains(&value) => {}
            ("target_session_attrs", _) => return Err(ConnectError::NeedsPrimary),
            ("host" | "hostaddr" | "port", value) if value.contains(',') || value.contains("%2C") => {
                return Err(ConnectError::HostsInParameter);
            }
            _ => kept.push(parameter),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(hosts.split(',').map(|host| format!("{scheme}://{user}{host}{database}{query}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_several_hosts_is_several_urls() {
        let two = ["postgres://u:p@a:1/d?sslmode=require", "postgres://u:p@[::1]:2/d?sslmode=require"];
        for (url, expected) in [
            ("postgres://u:p@a:1,[::1]:2/d?sslmode=require&target_session_attrs=read-write", &two[..]),
            ("postgres://u:p@a:1,[::1]:2/d?target_session_attrs=primary&sslmode=require", &two),
            ("postgres://a,b", &["postgres://a", "postgres://b"]),
            ("postgres://u,x:p,q@a,b/d", &["postgres://u,x:p,q@a/d", "postgres://u,x:p,q@b/d"]),
            ("postgres:///d?host=/var/run/postgresql", &["postgres:///d?host=/var/run/postgresql"]),
            ("postgres://a/d?target_session_attrs=any", &["postgres://a/d"]),
            ("postgres://a/d?options=-c%20x=y", &["postgres://a/d?options=-c%20x=y"]),
        ] {
            assert_eq!(split(url).unwrap(), expected, "{url}");
        }
        for attribute in ["read-only", "standby", "prefer-standby", "nonsense", ""] {
            let url = format!("postgres://a,b/d?target_session_attrs={attribute}");
            assert_eq!(split(&url), Err(ConnectError::NeedsPrimary));
        }
        assert_eq!(split("postgres:///d?host=a,b"), Err(ConnectError::HostsInParameter));
    }

    #[test]
    fn the_first_host_is_used_until_another_one_is_chosen() {
        let hosts = Hosts::of("postgresql://u:p@a:1,b:2/d").unwrap();
        assert_eq!((hosts.url(), hosts.current().get_host()), ("postgres://u:p@a:1/d", "a"));
        assert!(!hosts.choose(0));
        assert!(hosts.choose(1));
        assert_eq!((hosts.current().get_host(), hosts.current().get_port()), ("b", 2));
    }
}
