//! What must hold of messages of the forward protocol, whatever bytes they hold, and of its handshake.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha512};
use wharfinger::fuzzing::forward::{TAG_BYTES_MAX, Taken, acknowledgement, shake_hands, take};
use wharfinger_formats::frame::{Object, Scanner};

/// What a message may inflate to.
const BODY_MAX: usize = 1 << 20;
/// More events of one message show nothing more.
const EVENTS_MAX: usize = 32;
const KEY: &str = "the shared key";

/// The first byte says what is done with the rest.
pub fn check(input: &[u8]) {
    crate::planted::plant();
    let [kind, rest @ ..] = input else { return };
    match kind % 4 {
        0 => check_hostile(rest),
        1 => check_modes(rest),
        2 => check_handshake(rest),
        _ => assert!(!shake_hands(KEY, |_| rest.to_vec()).1, "who does not know the key is let in"),
    }
}

/// The length of the MessagePack object that begins here, if it is whole.
fn object_length(bytes: &[u8]) -> Option<usize> {
    Object::default().scan(bytes).ok().flatten()
}

/// Any object: every event is one object, and a short message does not become a long one.
fn check_hostile(bytes: &[u8]) {
    let Some(object) = object_length(bytes).map(|length| &bytes[..length]) else { return };
    let Some(taken) = take(object, BODY_MAX) else { return };
    let held: usize = taken.frames.iter().map(|(frame, _)| frame.len()).sum();
    assert!(held <= BODY_MAX.max(object.len()) + taken.frames.len() * (TAG_BYTES_MAX + 6));
    for (frame, _) in taken.frames.iter().filter(|(_, is_event)| *is_event) {
        assert_eq!(object_length(frame), Some(frame.len()), "one object");
    }
    if let Some(chunk) = &taken.chunk {
        let answer = acknowledgement(chunk);
        assert_eq!(object_length(&answer), Some(answer.len()), "one object");
        assert!(answer.ends_with(chunk));
    }
}

/// The same events in a mode of the protocol: `mode`, `cut`, tag and chunk with their lengths, objects.
fn check_modes(input: &[u8]) {
    let [mode, cut, input @ ..] = input else { return };
    let Some((tag, input)) = short(input) else { return };
    let Some((chunk, input)) = short(input) else { return };
    let (tag, mut records, mut rest) = (text(tag), Vec::new(), input);
    while let Some((record, after)) = object_length(rest).map(|length| rest.split_at(length)) {
        if records.len() == EVENTS_MAX {
            break;
        }
        records.push(record);
        rest = after;
    }
    let event = |at: usize| [&[0x93][..], &tag, &time(at), records[at]].concat();
    let entry = |at: usize| match mode & 8 {
        0 => [&[0x92][..], &time(at), records[at]].concat(),
        // Fluent Bit: time and metadata.
        _ => [&[0x92, 0x92][..], &time(at), &[0x80], records[at]].concat(),
    };
    let entries: Vec<Vec<u8>> = (0..records.len()).map(entry).collect();
    let mut frames: Vec<(Vec<u8>, bool)> = (0..records.len()).map(|at| (event(at), true)).collect();
    let compressed = [text(b"compressed"), text(b"gzip")].concat();
    let message = match mode % 4 {
        0 if records.is_empty() => return,
        0 => {
            frames.truncate(1);
            let parts = [&[0x94][..], &tag, &time(0), records[0]].concat();
            let message = with_options(parts, chunk, &[]);
            frames[0].0.clone_from(&message);
            message
        }
        1 => {
            let list = [&[0xdc, 0, records.len() as u8][..], &entries.concat()].concat();
            with_options([&[0x93][..], &tag, &list].concat(), chunk, &[])
        }
        2 => {
            // The last one did not come whole.
            let mut packed = entries.concat();
            packed.truncate(packed.len().saturating_sub(usize::from(*cut)));
            let mut whole = 0;
            let mut left = &packed[..];
            while let Some(after) = entries.get(whole).and_then(|entry| left.strip_prefix(&entry[..])) {
                (whole, left) = (whole + 1, after);
            }
            frames.truncate(whole);
            frames.extend((!left.is_empty()).then(|| (left.to_vec(), false)));
            with_options([&[0x93][..], &tag, &bytes(&packed)].concat(), chunk, &[])
        }
        _ => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&entries.concat()).expect("in memory");
            let packed = encoder.finish().expect("in memory");
            with_options([&[0x93][..], &tag, &bytes(&packed)].concat(), chunk, &compressed)
        }
    };
    assert_eq!(take(&message, BODY_MAX), Some(Taken { frames, chunk: Some(chunk.to_vec()) }));
}

/// Who knows the key is let in and shown that we know it too; with one bit that is other, nobody is.
fn check_handshake(input: &[u8]) {
    let Some((host, input)) = short(input) else { return };
    let Some((salt, input)) = short(input) else { return };
    let flipped = input.first().map(|at| usize::from(*at) % 128);
    let mut proof = String::new();
    let (pong, is_right) = shake_hands(KEY, |helo| {
        let nonce = nonce(helo);
        let mut hash = digest(salt, host, nonce).into_bytes();
        if let Some(at) = flipped {
            hash[at] ^= 1;
        }
        proof = digest(salt, b"gateway", nonce);
        [&[0x96][..], &text(b"PING"), &text(host), &text(salt), &text(&hash), &text(b""), &text(b"")].concat()
    });
    assert_eq!(is_right, flipped.is_none());
    assert_eq!(object_length(&pong), Some(pong.len()), "one object");
    assert_eq!(pong.ends_with(proof.as_bytes()), is_right, "the proof goes only to who knows the key");
}

/// Of `["HELO", {"nonce": 16 bytes, …}]`.
fn nonce(helo: &[u8]) -> &[u8] {
    let name = b"nonce\xc4\x10";
    let at = helo.windows(name.len()).position(|window| window == name).expect("a nonce") + name.len();
    &helo[at..at + 16]
}

fn digest(salt: &[u8], host: &[u8], nonce: &[u8]) -> String {
    let hash = Sha512::digest([salt, host, nonce, KEY.as_bytes()].concat());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds, or an EventTime.
fn time(at: usize) -> Vec<u8> {
    match at % 2 {
        0 => vec![0xce, 0x6b, 0x01, 0x2f, at as u8],
        _ => vec![0xd7, 0x00, 0x6b, 0x01, 0x2f, 0x4c, 0, 0, 0, at as u8],
    }
}

fn with_options(mut message: Vec<u8>, chunk: &[u8], more: &[u8]) -> Vec<u8> {
    message.push(if more.is_empty() { 0x81 } else { 0x82 });
    message.extend_from_slice(more);
    message.extend([text(b"chunk"), text(chunk)].concat());
    message
}

/// The bytes behind a length of one byte.
fn short(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A text of up to 255 bytes.
fn text(text: &[u8]) -> Vec<u8> {
    [&[0xd9, text.len() as u8][..], text].concat()
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&[0xc6][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
