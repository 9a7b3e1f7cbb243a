//! Outages are reported once. While the database is away, every attempt fails for the same reason: one line says so, and
//! where it helps another one says that it is over.

/// Tells the failure to report from those that only repeat it.
#[derive(Debug)]
pub(super) struct Outage {
    failures: u32,
    /// An outage begins with this many failures in a row.
    begins_after: u32,
}

impl Default for Outage {
    /// An outage that begins with the first failure.
    fn default() -> Self {
        Self::after(1)
    }
}

impl Outage {
    /// An outage that begins with so many failures in a row, one or more.
    pub(super) fn after(failures: u32) -> Self {
        Self { failures: 0, begins_after: failures }
    }

    /// Notes a failure. Returns whether the outage begins with it.
    pub(super) fn begin(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures == self.begins_after
    }

    /// Notes a success. Returns whether an outage ends with it.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(&mut self.failures) >= self.begins_after
    }

    /// Whether it goes on.
    pub(super) fn is_on(&self) -> bool {
        self.failures >= self.begins_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_once_and_ends_once() {
        let mut outage = Outage::default();
        assert!(!outage.end(), "nothing was wrong");
        assert_eq!([outage.begin(), outage.begin(), outage.begin()], [true, false, false]);
        assert!(outage.is_on());
        assert_eq!([outage.end(), outage.end()], [true, false]);
        assert!(!outage.is_on());
        assert!(outage.begin(), "the next one");
    }

    #[test]
    fn a_failure_alone_is_no_outage_where_two_in_a_row_are() {
        let mut outage = Outage::after(2);
        for _ in 0..2 {
            assert!(!outage.begin() && !outage.is_on() && !outage.end());
        }
        assert_eq!([outage.begin(), outage.begin(), outage.begin()], [false, true, false]);
        assert!(outage.end());
    }
}
