//! The flags that bound what comes over connections.

use clap::Args;

/// The bounds of connections and of what clients do on them.
#[derive(Args, Clone, Debug)]
pub struct ConnectionFlags {
    /// How many connections of clients there can be; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_CONNECTIONS", value_name = "COUNT", default_value = "10000")]
    pub max_connections: usize,
    /// How many of them one address can have; 0 for any number.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "COUNT",
        default_value = "0"
    )]
    pub max_connections_per_address: usize,
    /// How many streams of one connection the errors of its client may reset; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_ERROR_RESETS", value_name = "COUNT", default_value = "1024")]
    pub max_error_resets: u32,
}
