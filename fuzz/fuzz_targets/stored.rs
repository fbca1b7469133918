//! Any bytes as a record of the journal: refused, or an event that is stored and read again unchanged.
#![no_main]

use wharfinger_formats::{Event, stored};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(event) = stored::decode(input, Event::new(b"")) {
        let mut record = Vec::new();
        stored::encode(&event, &mut record);
        assert_eq!(stored::decode(&record, Event::new(b"")).expect("what was stored can be read"), event);
    }
});
