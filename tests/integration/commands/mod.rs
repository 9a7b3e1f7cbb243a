//! Commands over gRPC: what they answer, refuse and change, and what each caller may see of it.

mod audit;
mod batches;
mod confidentiality;
mod currencies;
mod deal;
mod end_to_end;
pub mod errors;
mod escalation;
mod options;
mod orders;
mod policy;
mod refusals;
mod settlement;
mod standing;
mod texts;
mod trying;
