//! What the fuzz target `forward` sees of the inside: what a message becomes, and who passes the handshake.

pub use super::message::{TAG_BYTES_MAX, acknowledgement};

use super::handshake::SharedKey;
use super::message::Message;

/// What a message became.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// Each with whether it is an event.
    pub frames: Vec<(Vec<u8>, bool)>,
    /// What the sender waits for.
    pub chunk: Option<Vec<u8>>,
}

/// What this object becomes; nothing if it is no message.
#[must_use]
pub fn take(object: &[u8], bytes_max: usize) -> Option<Taken> {
    let message = Message::read(object)?;
    let chunk = message.chunk.map(<[u8]>::to_vec);
    let bytes = match message.bytes(bytes_max) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Some(Taken { frames: vec![(object.to_vec(), true)], chunk }),
        Err(_) => return Some(Taken { frames: vec![(object.to_vec(), false)], chunk }),
    };
    let (mut entries, mut frames, mut frame) = (message.entries(&bytes), Vec::new(), Vec::new());
    while let Some(is_event) = entries.next_into(&mut frame) {
        frames.push((frame.clone(), is_event));
    }
    Some(Taken { frames, chunk })
}

/// What the host `gateway` answers to the `PING` that is made of its `HELO`, and whether it lets in who sent that.
pub fn shake_hands(key: &str, ping: impl FnOnce(&[u8]) -> Vec<u8>) -> (Vec<u8>, bool) {
    let shared = SharedKey::new(key.to_owned(), "gateway".to_owned());
    let handshake = shared.begin().expect("random numbers");
    handshake.answer(&ping(&handshake.helo()))
}
