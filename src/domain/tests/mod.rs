//! The rules, case by case. The names of the cases are sentences of the rules.

mod answering;
mod expiry;
mod fixtures;
mod matrix;
mod opening;
mod upsert;
mod walks;
