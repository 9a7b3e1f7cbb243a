//! The flags that bound how often somebody may ask.

use clap::Args;

/// How often a caller may ask, and an address fail to say who it is.
#[derive(Args, Clone, Copy, Debug)]
pub struct RateFlags {
    /// How many commands a second a party may send, after ten times as many at once; 0 for any number.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_COMMANDS_PER_SECOND",
        value_name = "COUNT",
        default_value = "2000",
        value_parser = clap::value_parser!(u32).range(0..=MOST)
    )]
    pub max_commands_per_second: u32,
    /// How many reads a second a party may send, after ten times as many at once, streams and lists included; 0 for any number.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_READS_PER_SECOND",
        value_name = "COUNT",
        default_value = "5000",
        value_parser = clap::value_parser!(u32).range(0..=MOST)
    )]
    pub max_reads_per_second: u32,
    /// How many calls a second without a valid credential an address is told so, after ten times as many at once; 0 for any number.
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

/// More than any client sends.
const MOST: i64 = 1_000_000;
