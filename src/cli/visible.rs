//! Text from outside, made fit for a terminal.

pub(super) use wharfinger_formats::visible::{visible, visible_bytes, visible_lines};
