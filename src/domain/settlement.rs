//! Settlement: whether the money of an outcome has really moved. Apart from the decision: a refund that
//! fails never opens a dispute again.

use super::actor::Caller;
use super::code::codes;
use super::dispute::Dispute;
use super::event::Event;
use super::ids::DisputeId;
use super::order_aggregate::OrderAggregate;
use super::refusal::Refusal;
use super::rights::Operation;

/// How the money stands, and what was reported of each attempt to pay it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    last: Option<SettlementReport>,
    attempt: u32,
    attempts: Vec<Results>,
}

/// What the platform says of an attempt to pay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettlementReport {
    /// The money has moved.
    Settled {
        /// The payment, as the platform calls it. 0 to 200 characters.
        reference: String,
    },
    /// It has not.
    Failed {
        /// Why. 0 to 200 characters; for support and the platform alone.
        detail: String,
    },
    /// It had moved, and came back.
    Returned {
        /// Why. 0 to 200 characters; for support and the platform alone.
        detail: String,
    },
    /// It will not be paid.
    Voided {
        /// Why. 0 to 200 characters; for support and the platform alone.
        detail: String,
    },
}

impl SettlementReport {
    /// How many bytes its text has.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::Settled { reference: text }
            | Self::Failed { detail: text }
            | Self::Returned { detail: text }
            | Self::Voided { detail: text } => text.len(),
        }
    }
}

codes! {
    /// How the money stands, in one word: what the last report that was taken said.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[expect(missing_docs, reason = "explained by SettlementReport")]
    pub enum SettlementStatus {
        Due = 1,
        Settled = 2,
        Failed = 3,
        Returned = 4,
        Voided = 5,
    }
}

/// The results that an attempt had, as a set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Results(u8);

impl Results {
    const ALL: u8 = 0b1111;

    /// The set with these bits; `None` if one of them stands for nothing.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits <= Self::ALL).then_some(Self(bits))
    }

    /// The set as four bits, which are stored.
    pub fn bits(self) -> u8 {
        self.0
    }

    fn has(self, report: &SettlementReport) -> bool {
        self.0 & Self::bit(report) != 0
    }

    fn add(&mut self, report: &SettlementReport) {
        self.0 |= Self::bit(report);
    }

    fn bit(report: &SettlementReport) -> u8 {
        match report {
            SettlementReport::Settled { .. } => 0b0001,
            SettlementReport::Failed { .. } => 0b0010,
            SettlementReport::Returned { .. } => 0b0100,
            SettlementReport::Voided { .. } => 0b1000,
        }
    }
}

impl SettlementReport {
    /// The status that it leads to.
    pub fn status(&self) -> SettlementStatus {
        match self {
            Self::Settled { .. } => SettlementStatus::Settled,
            Self::Failed { .. } => SettlementStatus::Failed,
            Self::Returned { .. } => SettlementStatus::Returned,
            Self::Voided { .. } => SettlementStatus::Voided,
        }
    }

    /// The payment, as the platform calls it; empty unless it was made.
    pub fn reference(&self) -> &str {
        match self {
            Self::Settled { reference } => reference,
            Self::Failed { .. } | Self::Returned { .. } | Self::Voided { .. } => "",
        }
    }

    /// Why the money has not moved, for support and the platform alone; empty if it has.
    pub fn detail(&self) -> &str {
        match self {
            Self::Settled { .. } => "",
            Self::Failed { detail } | Self::Returned { detail } | Self::Voided { detail } => detail,
        }
    }
}

impl Settlement {
    /// A refund that is to be paid, with attempt 1.
    pub fn due() -> Self {
        Self { last: None, attempt: 1, attempts: vec![Results::default()] }
    }

    /// A settlement as it is stored: the last report taken, the current attempt, and the results that each attempt
    /// had. `None` if there is no such attempt.
    pub fn stored(last: Option<SettlementReport>, attempt: u32, attempts: Vec<Results>) -> Option<Self> {
        let settlement = Self { last, attempt, attempts };
        (1..=settlement.highest()).contains(&attempt).then_some(settlement)
    }

    /// How the money stands, in one word.
    pub fn status(&self) -> SettlementStatus {
        self.last.as_ref().map_or(SettlementStatus::Due, SettlementReport::status)
    }

    /// The last report that was taken; `None` while the refund is due.
    pub fn last(&self) -> Option<&SettlementReport> {
        self.last.as_ref()
    }

    /// The attempt to pay with next, from 1; once settled the one that was paid; once voided the last one, with which
    /// nothing is to be paid.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The results that each attempt had, the first attempt first.
    pub fn attempts(&self) -> &[Results] {
        &self.attempts
    }

    /// The highest attempt so far.
    fn highest(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX)
    }

    /// Returns the attempt of which a report is taken, 0 naming the current one; `None` if the report changes nothing.
    fn judge(&self, named: u32, report: &SettlementReport) -> Result<Option<u32>, Refusal> {
        use SettlementReport::{Failed, Returned, Settled, Voided};
        use SettlementStatus as Status;
        let attempt = if named == 0 { self.attempt } else { named };
        let Some(results) = nth(attempt).and_then(|nth| self.attempts.get(nth)) else {
            return Err(Refusal::AttemptUnknown { highest: self.highest() });
        };
        let is_repeated = if named == 0 { self.last.as_ref() == Some(report) } else { results.has(report) };
        if is_repeated {
            return Ok(None);
        }
        let is_current = attempt == self.attempt;
        match (self.status(), report) {
            (Status::Due | Status::Failed | Status::Returned, Settled { .. } | Voided { .. }) => Ok(Some(attempt)),
            (Status::Due | Status::Failed | Status::Returned, Failed { .. }) => Ok(is_current.then_some(attempt)),
            (Status::Settled, Returned { .. }) if is_current => Ok(Some(attempt)),
            (Status::Settled, Failed { .. }) if !is_current => Ok(None),
            // It was paid twice.
            (Status::Settled, Settled { .. }) if !is_current => Err(Refusal::SettledTwice { attempt: self.attempt }),
            (status, Settled { .. } | Failed { .. } | Returned { .. } | Voided { .. }) => {
                Err(Refusal::SettlementStatusNotAllowed { status })
            }
        }
    }

    /// Takes a report of an attempt.
    pub(super) fn take(&mut self, attempt: u32, report: SettlementReport) {
        if let Some(results) = nth(attempt).and_then(|nth| self.attempts.get_mut(nth)) {
            results.add(&report);
        }
        match report {
            SettlementReport::Settled { .. } => self.attempt = attempt,
            SettlementReport::Failed { .. } | SettlementReport::Returned { .. } => {
                self.attempts.push(Results::default());
                self.attempt = self.highest();
            }
            SettlementReport::Voided { .. } => {}
        }
        self.last = Some(report);
    }
}

/// The position of an attempt.
fn nth(attempt: u32) -> Option<usize> {
    usize::try_from(attempt.checked_sub(1)?).ok()
}

impl Dispute {
    /// How the money of its outcome stands; `None` if it is open or refunds nothing.
    pub fn settlement(&self) -> Option<&Settlement> {
        self.resolution.as_ref()?.settlement.as_ref()
    }
}

impl DisputeId {
    /// What the platform sends with every try of this attempt to pay, so that it pays once.
    pub fn settlement_key(self, attempt: u32) -> String {
        format!("refund-{self}-{attempt}")
    }
}

/// The platform reports what became of an attempt to pay, 0 naming the current one. Money that is not paid is given
/// back to the order.
pub(super) fn report(
    aggregate: &OrderAggregate,
    caller: &Caller,
    dispute: DisputeId,
    attempt: u32,
    report: &SettlementReport,
) -> Result<Vec<Event>, Refusal> {
    let taken = require_settlement(aggregate, caller, dispute)?.judge(attempt, report)?;
    let event = taken.map(|attempt| match report.clone() {
        SettlementReport::Settled { reference } => Event::Settled { dispute, attempt, reference },
        SettlementReport::Failed { detail } => Event::SettlementFailed { dispute, attempt, detail },
        SettlementReport::Returned { detail } => Event::SettlementReturned { dispute, attempt, detail },
        SettlementReport::Voided { detail } => Event::SettlementVoided { dispute, attempt, detail },
    });
    Ok(event.into_iter().collect())
}

/// The guards of a report, whatever it says, as long as it says something new.
pub(super) fn may_report(aggregate: &OrderAggregate, caller: &Caller, id: DisputeId) -> Result<(), Refusal> {
    match require_settlement(aggregate, caller, id)?.status() {
        SettlementStatus::Due | SettlementStatus::Settled | SettlementStatus::Failed | SettlementStatus::Returned => {
            Ok(())
        }
        status @ SettlementStatus::Voided => Err(Refusal::SettlementStatusNotAllowed { status }),
    }
}

fn require_settlement<'a>(
    aggregate: &'a OrderAggregate,
    caller: &Caller,
    id: DisputeId,
) -> Result<&'a Settlement, Refusal> {
    let (dispute, _) = aggregate.authorize(Operation::ReportSettlement, caller, id)?;
    dispute.settlement().ok_or(Refusal::NothingToSettle)
}
