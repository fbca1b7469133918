//! The handshake of the forward protocol: both sides prove that they know a shared key before anything is sent.
//!
//! Forward protocol v1: server `["HELO", {"nonce": …, "auth": "", "keepalive": true}]`, client `["PING", host, salt,
//! hash, user, password]`, server `["PONG", true, "", host, hash]`, where a hash is SHA-512 in hexadecimal digits over
//! salt, host of who sends it, nonce and key. Invariant: the key goes to nobody, and who does not know it sends no
//! event.

use sha2::{Digest, Sha256, Sha512};

use super::message::{list, split, text};

const NONCE_BYTES: usize = 16;

/// A key that both sides know, and the name of this one.
#[derive(Clone)]
pub(super) struct SharedKey {
    key: String,
    host: String,
}

/// What a client was sent.
pub(super) struct Handshake<'k> {
    shared: &'k SharedKey,
    nonce: [u8; NONCE_BYTES],
}

impl SharedKey {
    pub(super) fn new(key: String, host: String) -> SharedKey {
        SharedKey { key, host }
    }

    /// A handshake of its own for each connection.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn begin(&self) -> Result<Handshake<'_>, getrandom::Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        Ok(Handshake { shared: self, nonce })
    }
}

impl Handshake<'_> {
    /// The first message, to the client.
    pub(super) fn helo(&self) -> Vec<u8> {
        let mut helo = vec![0x92];
        put(&mut helo, b"HELO");
        helo.push(0x83);
        put(&mut helo, b"nonce");
        helo.extend_from_slice(&[0xc4, NONCE_BYTES as u8]);
        helo.extend_from_slice(&self.nonce);
        put(&mut helo, b"auth");
        put(&mut helo, b"");
        put(&mut helo, b"keepalive");
        helo.push(0xc3);
        helo
    }

    /// The answer to a client's `PING`, and whether it may go on. Who does not know the key gets no hash of it to
    /// guess at.
    pub(super) fn answer(&self, ping: &[u8]) -> (Vec<u8>, bool) {
        let salt = self.salt_of(ping);
        let mut pong = vec![0x95];
        put(&mut pong, b"PONG");
        pong.push(if salt.is_some() { 0xc3 } else { 0xc2 });
        put(&mut pong, if salt.is_some() { b"" } else { b"shared_key mismatch" });
        let host = if salt.is_some() { self.host() } else { b"" };
        put(&mut pong, host);
        put(&mut pong, salt.map(|salt| self.hash(salt, host)).unwrap_or_default().as_bytes());
        (pong, salt.is_some())
    }

    /// The salt of a client that knows the key.
    fn salt_of<'p>(&self, ping: &'p [u8]) -> Option<&'p [u8]> {
        let (6, mut rest) = list(ping)? else { return None };
        let mut next = || {
            let (value, after) = split(rest)?;
            rest = after;
            text(value)
        };
        let (word, host, salt, hash) = (next()?, next()?, next()?, next()?);
        // Hashes of hashes: how long it takes to compare them tells nothing.
        let is_right = Sha256::digest(self.hash(salt, host)) == Sha256::digest(hash);
        (word == b"PING" && is_right).then_some(salt)
    }

    /// A text of up to 255 bytes.
    fn host(&self) -> &[u8] {
        let host = self.shared.host.as_bytes();
        &host[..host.len().min(255)]
    }

    fn hash(&self, salt: &[u8], host: &[u8]) -> String {
        let mut hasher = Sha512::new();
        for part in [salt, host, &self.nonce, self.shared.key.as_bytes()] {
            hasher.update(part);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A text of up to 255 bytes.
fn put(message: &mut Vec<u8>, text: &[u8]) {
    message.extend_from_slice(&[0xd9, text.len() as u8]);
    message.extend_from_slice(text);
}
