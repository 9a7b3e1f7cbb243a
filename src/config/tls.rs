//! The flags of TLS, and which caller a client certificate belongs to.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::domain::{Caller, ID_MAX_CHARACTERS, Scope, UserId};

/// How the service is reached over TLS.
#[derive(Args, Clone, Default, Debug)]
pub struct TlsFlags {
    /// A PEM file with the certificate of the service, followed by its intermediates; turns TLS on, reloaded when it changes.
    #[arg(long, global = true, env = "DISPUTES_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the private key of that certificate; reloaded when it changes.
    #[arg(long, global = true, env = "DISPUTES_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A PEM file with the authorities whose client certificates are accepted; reloaded when it changes. Certificates are optional.
    #[arg(long, global = true, env = "DISPUTES_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// The caller that client certificates belong to: `[ID@]NAME=platform` or `…=support`, may be repeated; NAME is a URI or
    /// DNS name in the certificate, ID the user id (by default NAME, with `_` for characters that ids cannot have).
    #[arg(long, global = true, env = "DISPUTES_MTLS_SCOPE", value_name = "RULE", requires = "tls_client_ca")]
    pub mtls_scope: Vec<MtlsScope>,
}

/// Client certificates with this name belong to that caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MtlsScope {
    /// A URI or DNS name among the certificate's alternative names.
    pub name: String,
    /// The user id, and the scope.
    pub caller: Caller,
}

/// Why a text is not a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidMtlsScope {
    /// It has another form.
    #[error("expected [ID@]NAME=platform or [ID@]NAME=support")]
    Malformed,
    /// What stands before the first `@` may be an id, or the beginning of a URI such as `mailto:agent@example.com`.
    #[error(
        "what stands before @ may be an id or the beginning of a URI: give an id without a colon in front, ID@NAME=…"
    )]
    Ambiguous,
    /// The name cannot serve as the user id.
    #[error("the name is longer than an id can be; give the id: ID@NAME=…")]
    TooLong,
}

impl FromStr for MtlsScope {
    type Err = InvalidMtlsScope;

    fn from_str(text: &str) -> Result<Self, InvalidMtlsScope> {
        // A URI can hold both signs: the scope stands behind the last `=`, and an id in front of the first `@`.
        let (names, scope) = text.rsplit_once('=').ok_or(InvalidMtlsScope::Malformed)?;
        let scope = Scope::ALL.into_iter().find(|known| known.name() == scope).ok_or(InvalidMtlsScope::Malformed)?;
        let given = names.split_once('@').and_then(|(id, name)| Some((UserId::parse(id).ok()?, name)));
        let (user, name) = match given {
            Some((id, _)) if id.as_str().contains(':') => return Err(InvalidMtlsScope::Ambiguous),
            Some(given) => given,
            None => (default_id(names)?, names),
        };
        if name.is_empty() || name.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(InvalidMtlsScope::Malformed);
        }
        Ok(Self { name: name.to_owned(), caller: Caller { user, scope: Some(scope) } })
    }
}

/// The name, with `_` for each character that ids cannot have.
fn default_id(name: &str) -> Result<UserId, InvalidMtlsScope> {
    let id: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() || "._:-".contains(character) { character } else { '_' })
        .collect();
    if id.len() > ID_MAX_CHARACTERS {
        return Err(InvalidMtlsScope::TooLong);
    }
    UserId::parse(&id).map_err(|_| InvalidMtlsScope::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CommandLine;

    fn read(text: &str) -> Result<(String, String, Option<Scope>), InvalidMtlsScope> {
        let MtlsScope { name, caller } = text.parse()?;
        Ok((name, caller.user.as_str().to_owned(), caller.scope))
    }

    #[test]
    fn a_rule_names_a_certificate_a_user_and_a_scope() {
        let rule = |name: &str, id: &str, scope| Ok((name.to_owned(), id.to_owned(), Some(scope)));
        let (platform, support) = (Scope::Platform, Scope::Support);
        let shop = "spiffe://market/shop";
        for (text, expected) in [
            ("shop.internal=platform", rule("shop.internal", "shop.internal", platform)),
            ("shop@spiffe://market/shop=platform", rule(shop, "shop", platform)),
            ("spiffe://market/shop=support", rule(shop, "spiffe:__market_shop", support)),
            ("https://a@b/c?d=e=support", rule("https://a@b/c?d=e", "https:__a_b_c_d_e", support)),
            ("mailto:agent@example.com=support", Err(InvalidMtlsScope::Ambiguous)),
            ("sip:x@corp=platform", Err(InvalidMtlsScope::Ambiguous)),
            ("agent@mailto:agent@example.com=support", rule("mailto:agent@example.com", "agent", support)),
            ("urn:shop=platform", rule("urn:shop", "urn:shop", platform)),
            ("shop.internal", Err(InvalidMtlsScope::Malformed)),
            ("shop.internal=admin", Err(InvalidMtlsScope::Malformed)),
            ("=platform", Err(InvalidMtlsScope::Malformed)),
            ("shop@=platform", Err(InvalidMtlsScope::Malformed)),
            ("a b=platform", Err(InvalidMtlsScope::Malformed)),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        let flags = ["--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"];
        let rules = ["--mtls-scope", "urn:a,b=platform", "--mtls-scope=c=support"];
        let arguments = ["dispute-service"].iter().chain(&flags).chain(&rules).map(std::ffi::OsString::from);
        let names: Vec<_> = CommandLine::read(arguments).unwrap().config.tls.mtls_scope;
        let names: Vec<_> = names.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["urn:a,b", "c"], "a comma is part of the name");
        let long = "x".repeat(ID_MAX_CHARACTERS);
        assert!(read(&format!("{long}=support")).is_ok());
        assert_eq!(read(&format!("{long}x=support")), Err(InvalidMtlsScope::TooLong));
        assert!(read(&format!("agent@{long}x=support")).is_ok());
    }
}
