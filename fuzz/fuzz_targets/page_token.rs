//! Page tokens: as a client sends them, and what is in one that was opened.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispute_service::fuzzing::page_token(data));
