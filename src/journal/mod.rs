//! The journal: the one log on local disk between sources and sinks. It stores opaque bytes.
//!
//! Way of an event: … judge → **journal** → receipt back to the source; each sink reads with its
//! own cursor. Layers: storage (bytes, sync) → record (length, checksum) → segment (file) → log
//! (positions, group commit) → cursor.
//!
//! Invariants: `append` returns only after the bytes are synced; a cursor reads only synced
//! records; a batch is whole or absent; sequences are dense and never reused.

// The public surface (see below) is what intake, sinks::drive, gateway and admin use.
