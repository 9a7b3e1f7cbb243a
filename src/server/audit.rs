//! `dispute-service audit`: prints the audit, to be kept elsewhere or searched.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use super::error::ServeError;
use crate::config::{AuditFlags, Config};
use crate::domain::{AuditAction, Carried, Scope};
use crate::repository::{AuditReader, AuditRecord};

/// A line. Keys and their order stay; later releases may add some.
#[derive(Serialize)]
struct Line<'a> {
    seq: i64,
    /// RFC 3339 in UTC with microseconds.
    time: String,
    user: &'a str,
    scope: Cow<'static, str>,
    action: Cow<'static, str>,
    order_id: &'a str,
    /// `null` if the entry is about the order itself.
    dispute_id: Option<String>,
    revision: i64,
}

impl<'a> Line<'a> {
    fn of(record: &'a AuditRecord) -> Self {
        let AuditRecord { seq, time, user, scope, action, order, dispute, revision } = record;
        Self {
            seq: *seq,
            time: time.to_string(),
            user: user.as_str(),
            scope: name(*scope, Scope::name),
            action: name(*action, AuditAction::name),
            order_id: order.as_str(),
            dispute_id: dispute.map(|dispute| dispute.to_string()),
            revision: *revision,
        }
    }
}

/// The name of a value; of one that only a newer release knows the number.
fn name<T>(value: Carried<T>, name: impl Fn(T) -> &'static str) -> Cow<'static, str> {
    match value {
        Carried::Known(value) => Cow::Borrowed(name(value)),
        Carried::Newer(number) => Cow::Owned(number.to_string()),
    }
}

/// Whether an entry is one of those asked for.
fn is_asked_for(record: &AuditRecord, flags: &AuditFlags) -> bool {
    flags.order.as_ref().is_none_or(|order| record.order == *order)
        && flags.dispute.is_none_or(|dispute| record.dispute == Some(dispute))
}

/// Prints the entries of the audit that are asked for, up to the last one that there is now, page by page. If nobody reads on,
/// that is no error; [`ServeError::AuditIncomplete`] if entries had to be left out.
pub async fn print_audit(config: &Config, flags: &AuditFlags, mut out: impl Write) -> Result<(), ServeError> {
    let mut audit = AuditReader::open(&config.database_url()?, flags.since).await?;
    let printed = print_all(&mut audit, flags, &mut out).await;
    // Whatever the result, the database must be closed cleanly.
    audit.close().await?;
    printed
}

async fn print_all(audit: &mut AuditReader, flags: &AuditFlags, out: &mut impl Write) -> Result<(), ServeError> {
    while let Some(page) = audit.next_page().await? {
        let asked_for = page.iter().filter(|record| is_asked_for(record, flags));
        match print(asked_for, out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            printed => printed.map_err(ServeError::Print)?,
        }
    }
    match audit.skipped() {
        0 => Ok(()),
        skipped => Err(ServeError::AuditIncomplete { skipped }),
    }
}

/// Each page is written out at once, so that a program that reads along sees it.
fn print<'a>(records: impl Iterator<Item = &'a AuditRecord>, out: &mut impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, &Line::of(record))?;
        lines.push(b'\n');
    }
    out.write_all(&lines)?;
    out.flush()
}
