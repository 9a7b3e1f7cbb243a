//! Flags that limit rates.

use clap::Args;

/// Limits on the rate of requests of a caller and of failed logins of an address.
#[derive(Args, Clone, Copy, Debug)]
pub struct RateFlags {
    /// The maximum number of commands a second per party, with a burst of ten times as many; 0 for no limit.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_COMMANDS_PER_SECOND",
        value_name = "COUNT",
        default_value = "2000",
        value_parser = clap::value_parser!(u32).range(0..=MOST)
    )]
    pub max_commands_per_second: u32,
    /// The maximum number of reads a second per party, including lists and new streams, with a burst of ten times as many; 0 for no limit.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_READS_PER_SECOND",
        value_name = "COUNT",
        default_value = "5000",
        value_parser = clap::value_parser!(u32).range(0..=MOST)
    )]
    pub max_reads_per_second: u32,
    /// The maximum number of calls a second without a valid credential per address, with a burst of ten times as many; 0 for no limit.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_FAILED_LOGINS_PER_SECOND",
        value_name = "COUNT",
        default_value = "10",
        value_parser = clap::value_parser!(u32).range(0..=MOST)
    )]
    pub max_failed_logins_per_second: u32,
}

/// More than any client sends in a second.
const MOST: i64 = 1_000_000;
