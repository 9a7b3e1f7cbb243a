//! Why PostgreSQL cannot be used, in words: the cause, and what to do. Nothing of the URL is repeated, which may hold a
//! password, nor what the server says, which repeats parts of it.

use std::io::ErrorKind;

use sea_orm::sqlx::Error;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;

use super::URL_FLAGS;

/// What is said when nothing came back in time.
pub(super) const SILENT: &str = "the database server does not answer; look at the host and port of the URL, and at what \
     is between here and there: a firewall may swallow what is sent";

/// The sentence for an error that was met while connecting.
pub(super) fn cause(error: &Error) -> String {
    match error {
        Error::Database(error) => of_server(error.as_ref()),
        Error::Io(error) => of_network(error),
        Error::Tls(error) => of_tls(&error.to_string()),
        Error::Configuration(_) => format!("its URL is not valid ({URL_FLAGS})"),
        Error::PoolTimedOut => SILENT.to_owned(),
        Error::Protocol(_) => {
            "what answers is not a PostgreSQL server; look at the host and port of the URL".to_owned()
        }
        // None of the others comes of connecting.
        error => format!("connecting failed: {error}"),
    }
}

fn of_server(error: &(dyn DatabaseError + 'static)) -> String {
    let code = error.code().unwrap_or_default();
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine);
    let sentence = match (&*code, routine) {
        ("28P01", _) => {
            "the server refuses the password of the URL's user; correct the password, or set it for the role"
        }
        ("28000", Some("ClientAuthentication")) => {
            "the server's pg_hba.conf does not let this user, database or address in, or not without TLS; add a line \
             for it there, or add sslmode=require to the URL"
        }
        ("28000", _) => {
            "the server has no role of the URL's user that may log in; create it with LOGIN, or correct the URL"
        }
        ("3D000", _) => "the server has no database of that name; create it, or correct the URL",
        ("42501", _) => "the role may not connect to this database; GRANT CONNECT ON DATABASE to it",
        ("53300", _) => {
            "the server, the database or the role has no connection left; raise max_connections or the limit of the \
             role or database, or lower --database-connections of other processes"
        }
        ("57P03", _) => {
            "the server does not take connections yet: it is starting up, recovering or shutting down; try again later"
        }
        ("53100", _) => "the server's disk is full; make room there",
        ("53200", _) => "the server is out of memory",
        // Of PgBouncer nearly everything is this one.
        ("08P01" | "08004" | "08006", _) => {
            "the server, or a pooler in front of it, refuses the connection: its own log says why; a pooler must know \
             the user and the database, and reach the server"
        }
        _ => return format!("the server refuses the connection with SQLSTATE {code}; its log says why"),
    };
    sentence.to_owned()
}

fn of_network(error: &std::io::Error) -> String {
    let said = error.to_string();
    let sentence = match error.kind() {
        _ if said.contains("failed to lookup address") => {
            "the host name of the database server cannot be resolved by DNS; look at the host of the URL"
        }
        ErrorKind::ConnectionRefused => {
            "nothing listens at the database's address, the connection was refused; is the server running, and are the \
             host and port of the URL right?"
        }
        ErrorKind::TimedOut => SILENT,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no network leads to the database server",
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted => {
            "the connection was closed while it was being made; is this a PostgreSQL server, and what does its log say?"
        }
        ErrorKind::NotFound | ErrorKind::PermissionDenied => {
            "the server's Unix socket, or a certificate file that the URL names, is not there or cannot be read"
        }
        ErrorKind::InvalidData => return of_tls(&said),
        _ => return format!("connecting failed: {said}"),
    };
    sentence.to_owned()
}

fn of_tls(said: &str) -> String {
    let says = |part: &str| said.contains(part);
    let sentence = if says("does not support TLS") {
        "the server does not offer TLS, which the URL's sslmode requires; turn it on there, or use sslmode=prefer"
    } else if says("UnknownIssuer") || says("UnknownCA") || says("CaUsedAsEndEntity") {
        "the certificate of the server is of an unknown authority; name its file with sslrootcert in the URL"
    } else if says("NotValidForName") || says("not valid for name") {
        "the certificate of the server is for another host name; correct the host of the URL, or use sslmode=verify-ca"
    } else if says("Expired") || says("expired") {
        "the certificate of the server has expired; renew it"
    } else if says("certificate") || says("Certificate") {
        "the server and this service do not agree on their certificates; look at sslrootcert, sslcert and sslkey"
    } else {
        "no TLS connection can be made with the server"
    };
    sentence.to_owned()
}
