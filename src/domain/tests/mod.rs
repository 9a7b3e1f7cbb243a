//! The rules, case by case. The names of the cases are sentences of the rules.

mod answering;
mod audit;
mod bargaining;
mod crossing;
mod dating;
mod deciding;
mod diagram;
mod escalation;
mod etags;
mod expiry;
mod extension;
mod fixtures;
mod given;
mod guards;
mod matrix;
mod no_fault;
mod opening;
mod options;
mod policy;
mod postponing;
mod reasons;
mod rights;
mod settlement;
mod texts;
mod upsert;
mod walks;
