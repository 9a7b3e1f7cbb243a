//! What is judged before a command is: connections, frames, headers, bodies, rates; and what an operator sees of it.

mod bodies;
mod compression;
pub mod connections;
mod crowds;
mod floods;
mod health;
mod log_lines;
mod rates;
mod requests;
mod resets;
mod traces;
mod transcripts;
mod untaken;
mod web;
