//! Resume tokens: as a client sends them, and what is in one that was opened.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispute_service::fuzzing::resume_token(data));
