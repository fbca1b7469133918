//! Any bytes before every linter: findings inside of the line, and what is put right is a line again.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::siem::check_lint(input));
