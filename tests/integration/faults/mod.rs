//! Processes, databases and networks that fail.

pub mod checker;
mod crash;
mod ha;
mod outages;
mod pasts;
mod process;
mod random;
mod replicas;
mod stopping;
