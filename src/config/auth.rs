//! The flags of authentication.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::Span;

/// What `--auth jwt` needs beside the key.
const ISSUER: &str = "--jwt-issuer (DISPUTES_JWT_ISSUER)";
const AUDIENCE: &str = "--jwt-audience (DISPUTES_JWT_AUDIENCE)";

/// The key, of which there is one.
const PUBLIC_KEY: &str = "--jwt-public-key (DISPUTES_JWT_PUBLIC_KEY)";
const JWKS: &str = "--jwt-jwks (DISPUTES_JWT_JWKS)";
const SECRET: &str = "--jwt-secret (DISPUTES_JWT_SECRET)";
const ONE_KEY: &str = "exactly one of --jwt-public-key, --jwt-jwks and --jwt-secret";

/// How callers authenticate.
#[derive(Args, Clone, Debug)]
pub struct AuthFlags {
    /// How callers authenticate; defaults to `dev` on a loopback address.
    #[arg(long, global = true, env = "DISPUTES_AUTH", value_name = "MODE")]
    pub auth: Option<AuthMode>,
    /// A PEM file with the public key that verifies tokens: Ed25519, P-256, or RSA of at least 2048 bits.
    #[arg(long, global = true, env = "DISPUTES_JWT_PUBLIC_KEY", value_name = "FILE")]
    pub jwt_public_key: Option<PathBuf>,
    /// A JWKS file with the public keys that verify tokens; tokens name them by `kid`.
    #[arg(long, global = true, env = "DISPUTES_JWT_JWKS", value_name = "FILE")]
    pub jwt_jwks: Option<PathBuf>,
    /// A file with the secret that verifies tokens (HS256), at least 32 bytes, readable by its owner alone.
    #[arg(long, global = true, env = "DISPUTES_JWT_SECRET", value_name = "FILE")]
    pub jwt_secret: Option<PathBuf>,
    /// The issuer of tokens, their `iss`.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_JWT_ISSUER",
        value_name = "TEXT",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub jwt_issuer: Option<String>,
    /// The audience of tokens, their `aud` or one of several.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_JWT_AUDIENCE",
        value_name = "TEXT",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub jwt_audience: Option<String>,
    /// How far ahead `exp` of a token may be; 0s for no limit.
    #[arg(long, global = true, env = "DISPUTES_JWT_MAX_LIFETIME", value_name = "SPAN", default_value = "24h")]
    pub jwt_max_lifetime: Span,
    /// Whether server reflection is on; defaults to `true` with `dev` and `false` with `jwt`.
    #[arg(long, global = true, env = "DISPUTES_REFLECTION", value_name = "BOOL")]
    pub reflection: Option<bool>,
}

/// How callers authenticate.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// Trusts the headers `x-user-id` and `x-scope`; allowed only on a loopback address.
    Dev,
    /// Verifies the JWT in `authorization` with the given key, or accepts a client certificate that `--mtls-scope` names.
    Jwt,
}

/// How callers authenticate, with what that needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authentication {
    /// Headers are trusted.
    Dev,
    /// By tokens, and by client certificates.
    Jwt(JwtSettings),
}

impl Authentication {
    /// Its name, as the flag has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Jwt(_) => "jwt",
        }
    }
}

/// What tokens are verified against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JwtSettings {
    /// Where the keys are.
    pub keys: KeySource,
    /// Their issuer.
    pub issuer: String,
    /// Their audience.
    pub audience: String,
    /// How far ahead `exp` may be; zero for any time.
    pub max_lifetime: Duration,
}

/// The file with the keys that verify tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// A public key in PEM.
    PublicKey(PathBuf),
    /// A JWKS.
    Jwks(PathBuf),
    /// A secret for HS256.
    Secret(PathBuf),
}

impl KeySource {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::PublicKey(path) | Self::Jwks(path) | Self::Secret(path) => path,
        }
    }

    /// The flag that names it, with its twin.
    pub fn flag(&self) -> &'static str {
        match self {
            Self::PublicKey(_) => PUBLIC_KEY,
            Self::Jwks(_) => JWKS,
            Self::Secret(_) => SECRET,
        }
    }
}

/// Why the flags of authentication cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFlagsError {
    /// Headers must not be trusted over a network.
    #[error(
        "--auth dev (DISPUTES_AUTH) is allowed only on a loopback address, and --listen (DISPUTES_LISTEN) is {listen}: \
         give --auth jwt, with {ISSUER}, {AUDIENCE} and {ONE_KEY}"
    )]
    DevOffLoopback {
        /// The configured address.
        listen: SocketAddr,
    },
    /// There is no default for an address that is not loopback.
    #[error(
        "--auth (DISPUTES_AUTH) must be given, as --listen (DISPUTES_LISTEN) is {listen}, which is not a loopback \
         address: give --auth jwt, with {ISSUER}, {AUDIENCE} and {ONE_KEY}"
    )]
    Missing {
        /// The configured address.
        listen: SocketAddr,
    },
    /// Something is missing that tokens are verified against.
    #[error("--auth jwt (DISPUTES_AUTH) needs {}", missing.join(" and "))]
    JwtIncomplete {
        /// What is missing.
        missing: Vec<&'static str>,
    },
    /// There is more than one key.
    #[error("--auth jwt (DISPUTES_AUTH) needs {ONE_KEY}, and given are {}", given.join(" and "))]
    ManyKeys {
        /// The flags.
        given: Vec<&'static str>,
    },
    /// A flag of tokens is given without `--auth jwt`.
    #[error("{flag} needs --auth jwt (DISPUTES_AUTH), which is not given")]
    NotJwt {
        /// The flag.
        flag: &'static str,
    },
}

impl AuthFlags {
    /// Returns how callers authenticate, given the address to listen on.
    pub fn authentication(&self, listen: SocketAddr) -> Result<Authentication, AuthFlagsError> {
        match (self.auth, listen.ip().is_loopback()) {
            (Some(AuthMode::Jwt), _) => self.jwt().map(Authentication::Jwt),
            (Some(AuthMode::Dev) | None, true) => match self.given().first() {
                None => Ok(Authentication::Dev),
                Some(flag) => Err(AuthFlagsError::NotJwt { flag }),
            },
            (Some(AuthMode::Dev), false) => Err(AuthFlagsError::DevOffLoopback { listen }),
            (None, false) => Err(AuthFlagsError::Missing { listen }),
        }
    }

    /// Whether server reflection is on, given how callers authenticate.
    pub fn has_reflection(&self, authentication: &Authentication) -> bool {
        self.reflection.unwrap_or(match authentication {
            Authentication::Dev => true,
            Authentication::Jwt(_) => false,
        })
    }

    fn jwt(&self) -> Result<JwtSettings, AuthFlagsError> {
        let mut sources = self.sources();
        let (issuer, audience) = (self.jwt_issuer.clone(), self.jwt_audience.clone());
        match (sources.pop(), issuer, audience) {
            (Some(keys), Some(issuer), Some(audience)) if sources.is_empty() => {
                Ok(JwtSettings { keys, issuer, audience, max_lifetime: self.jwt_max_lifetime.0 })
            }
            (Some(_), _, _) if !sources.is_empty() => {
                Err(AuthFlagsError::ManyKeys { given: self.sources().iter().map(KeySource::flag).collect() })
            }
            (keys, issuer, audience) => {
                let needed = [(ISSUER, issuer.is_none()), (AUDIENCE, audience.is_none()), (ONE_KEY, keys.is_none())];
                let missing = needed.into_iter().filter_map(|(flag, is_missing)| is_missing.then_some(flag)).collect();
                Err(AuthFlagsError::JwtIncomplete { missing })
            }
        }
    }

    /// The files with keys that are given.
    fn sources(&self) -> Vec<KeySource> {
        let public_key = self.jwt_public_key.clone().map(KeySource::PublicKey);
        let jwks = self.jwt_jwks.clone().map(KeySource::Jwks);
        public_key.into_iter().chain(jwks).chain(self.jwt_secret.clone().map(KeySource::Secret)).collect()
    }

    /// The flags of tokens that are given.
    fn given(&self) -> Vec<&'static str> {
        let keys = self.sources();
        let issuer = self.jwt_issuer.as_ref().map(|_| ISSUER);
        keys.iter().map(KeySource::flag).chain(issuer).chain(self.jwt_audience.as_ref().map(|_| AUDIENCE)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::CommandLine;

    fn authentication(arguments: &[&str]) -> Result<Authentication, AuthFlagsError> {
        let config = CommandLine::parse_from(["dispute-service"].iter().chain(arguments)).config;
        config.auth.authentication(config.listen)
    }

    #[test]
    fn dev_auth_is_the_default_on_loopback_and_refused_elsewhere() {
        let everywhere: SocketAddr = "0.0.0.0:1".parse().unwrap();
        assert_eq!(authentication(&[]), Ok(Authentication::Dev));
        assert_eq!(authentication(&["--listen", "[::1]:0"]), Ok(Authentication::Dev));
        assert_eq!(authentication(&["--listen", "0.0.0.0:1"]), Err(AuthFlagsError::Missing { listen: everywhere }));
        let refused = authentication(&["--listen", "0.0.0.0:1", "--auth", "dev"]).unwrap_err();
        assert_eq!(refused, AuthFlagsError::DevOffLoopback { listen: everywhere });
        for refused in [refused, AuthFlagsError::Missing { listen: everywhere }] {
            let said = refused.to_string();
            for needed in
                ["--auth jwt", "--jwt-issuer", "--jwt-audience", "--jwt-public-key", "--jwt-jwks", "--jwt-secret"]
            {
                assert!(said.contains(needed), "{said}");
            }
            assert!(!said.contains('\n') && !said.contains(". "), "one sentence: {said}");
        }
    }

    #[test]
    fn tokens_need_an_issuer_an_audience_and_one_key_wherever_the_service_listens() {
        let all = ["--auth", "jwt", "--jwt-issuer", "i", "--jwt-audience", "a", "--jwt-secret", "s"];
        let settings = |max_lifetime| {
            let keys = KeySource::Secret("s".into());
            Authentication::Jwt(JwtSettings { keys, issuer: "i".to_owned(), audience: "a".to_owned(), max_lifetime })
        };
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(authentication(&all), Ok(settings(day)));
        assert_eq!(authentication(&[&all[..], &["--listen", "0.0.0.0:1"]].concat()), Ok(settings(day)));
        let short = [&all[..], &["--jwt-max-lifetime", "10m"]].concat();
        assert_eq!(authentication(&short), Ok(settings(Duration::from_secs(600))));
        let missing = |arguments: &[&str]| authentication(arguments).unwrap_err();
        assert_eq!(missing(&all[..2]), AuthFlagsError::JwtIncomplete { missing: vec![ISSUER, AUDIENCE, ONE_KEY] });
        assert_eq!(missing(&all[..4]), AuthFlagsError::JwtIncomplete { missing: vec![AUDIENCE, ONE_KEY] });
        assert_eq!(missing(&all[..6]), AuthFlagsError::JwtIncomplete { missing: vec![ONE_KEY] });
        let two = [&all[..], &["--jwt-jwks", "j"]].concat();
        assert_eq!(missing(&two), AuthFlagsError::ManyKeys { given: vec![JWKS, SECRET] });
    }

    #[test]
    fn what_is_of_use_with_tokens_only_is_an_error_without_them() {
        for (flag, named) in [
            ("--jwt-issuer", ISSUER),
            ("--jwt-audience", AUDIENCE),
            ("--jwt-public-key", PUBLIC_KEY),
            ("--jwt-jwks", JWKS),
            ("--jwt-secret", SECRET),
        ] {
            for auth in [&[][..], &["--auth", "dev"]] {
                let arguments = [auth, &[flag, "x"]].concat();
                assert_eq!(authentication(&arguments), Err(AuthFlagsError::NotJwt { flag: named }));
            }
        }
    }
}
