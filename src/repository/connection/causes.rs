//! Explains why PostgreSQL cannot be used: the cause, and what to do. Never repeats the URL, which may contain a
//! password, nor the server's messages, which repeat parts of it.

use std::io::ErrorKind;

use sea_orm::sqlx::Error;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;

use super::URL_FLAGS;

/// The message if nothing came back in time.
pub(super) const SILENT: &str = "the database server does not respond; check the host and port in the URL, and whether a \
     firewall drops the packets";

/// The message for an error while connecting.
pub(super) fn cause(error: &Error) -> String {
    match error {
        Error::Database(error) => of_server(error.as_ref()),
        Error::Io(error) => of_network(error),
        Error::Tls(error) => of_tls(&error.to_string()),
        Error::Configuration(_) => format!("its URL is not valid ({URL_FLAGS})"),
        Error::PoolTimedOut => SILENT.to_owned(),
        Error::Protocol(_) => {
            "the server at this address is not PostgreSQL; check the host and port in the URL".to_owned()
        }
        // No other error arises from connecting.
        error => format!("connecting failed: {error}"),
    }
}

fn of_server(error: &(dyn DatabaseError + 'static)) -> String {
    let code = error.code().unwrap_or_default();
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine);
    let sentence = match (&*code, routine) {
        ("28P01", _) => {
            "the server rejects the password of the URL's user; correct the password, or set it for the role"
        }
        ("28000", Some("ClientAuthentication")) => {
            "the server's pg_hba.conf does not allow this user, database or address, or not without TLS; add a line \
             there, or add sslmode=require to the URL"
        }
        ("28000", _) => "the URL's user is not a role that may log in; create it with LOGIN, or correct the URL",
        ("3D000", _) => "the URL's database does not exist; create it, or correct the URL",
        ("42501", _) => "the role may not connect to this database; GRANT CONNECT ON DATABASE to it",
        ("53300", _) => {
            "the server, the database or the role has no connection left; raise max_connections or the limit of the \
             role or database, or lower --database-connections of other processes"
        }
        ("57P03", _) => {
            "the server does not accept connections yet: it is starting up, recovering or shutting down; try again later"
        }
        ("53100", _) => "the server's disk is full; free some space there",
        ("53200", _) => "the server is out of memory",
        // PgBouncer uses this for nearly everything.
        ("08P01" | "08004" | "08006", _) => {
            "the server, or a pooler in front of it, refuses the connection; check its log. A pooler must know the user \
             and the database, and reach the server"
        }
        _ => return format!("the server refuses the connection with SQLSTATE {code}; check its log"),
    };
    sentence.to_owned()
}

fn of_network(error: &std::io::Error) -> String {
    let said = error.to_string();
    let sentence = match error.kind() {
        _ if said.contains("failed to lookup address") => {
            "the host name of the database server cannot be resolved by DNS; check the host in the URL"
        }
        ErrorKind::ConnectionRefused => {
            "the connection was refused: nothing listens at the database's address; check that the server is running, \
             and the host and port in the URL"
        }
        ErrorKind::TimedOut => SILENT,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "there is no network route to the database server"
        }
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted => {
            "the server closed the connection while it was being set up; check that it is PostgreSQL, and check its log"
        }
        ErrorKind::NotFound | ErrorKind::PermissionDenied => {
            "the server's Unix socket, or a certificate file named in the URL, is missing or cannot be read"
        }
        ErrorKind::InvalidData => return of_tls(&said),
        _ => return format!("connecting failed: {said}"),
    };
    sentence.to_owned()
}

fn of_tls(said: &str) -> String {
    let says = |part: &str| said.contains(part);
    let sentence = if says("does not support TLS") {
        "the server does not offer TLS, which the URL's sslmode requires; enable it there, or use sslmode=prefer"
    } else if says("UnknownIssuer") || says("BadSignature") || says("UnknownCA") || says("CaUsedAsEndEntity") {
        "the server's certificate is from an unknown authority; name the authority's file with sslrootcert in the URL"
    } else if says("NotValidForName") || says("not valid for name") {
        "the server's certificate is for another host name; correct the host in the URL, or use sslmode=verify-ca"
    } else if says("Expired") || says("expired") {
        "the server's certificate has expired; renew it"
    } else if says("certificate") || says("Certificate") {
        "the server and this service do not accept each other's certificates; check sslrootcert, sslcert and sslkey"
    } else {
        "a TLS connection to the server cannot be established"
    };
    sentence.to_owned()
}
