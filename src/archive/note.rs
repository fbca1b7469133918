//! Signed notes (c2sp.org/signed-note): a text and Ed25519 signatures under it, each with the name of its key.
//!
//! ```text
//! the text, every line with its end
//!
//! — name base64(key id 4 bytes, signature 64 bytes)
//! ```
//!
//! A verifying key is written `name+key id in hex+base64(0x01, public key)`. Invariant: a signature
//! counts only under a key the caller has; those of other keys are passed over.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keeper::{Keeper, KeyId};
use super::key_file::KeyError;
use super::merkle::sha256;

/// The kind of key: Ed25519.
const KIND: u8 = 1;
/// More signatures than that are no note of anybody.
const SIGNATURES_MAX: usize = 64;
const DASH: &str = "\u{2014} ";

/// A public key with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl VerifyingKey {
    fn new(name: &str, public: [u8; 32]) -> VerifyingKey {
        let hash = sha256(&[name.as_bytes(), b"\n", &[KIND], &public].concat());
        let id = [hash[0], hash[1], hash[2], hash[3]];
        VerifyingKey { name: name.to_owned(), id, public }
    }

    /// Reads the written form.
    pub fn parse(text: &str) -> Option<VerifyingKey> {
        // The base64 may hold a plus too, the name and the id may not.
        let (name, rest) = text.trim().split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let key = STANDARD.decode(key).ok()?;
        let (KIND, public) = key.split_first().map(|(kind, public)| (*kind, public))? else { return None };
        let key = VerifyingKey::new(name, public.try_into().ok()?);
        (is_name(name) && id == hex(&key.id)).then_some(key)
    }

    /// Its name: the origin of what it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg(test)]
    pub(super) fn public(&self) -> [u8; 32] {
        self.public
    }

    fn accepts(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[KIND][..], &self.public].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id))
    }
}

/// A private key with its name. Never printed, and overwritten in memory when it is no longer needed.
pub struct SigningKey {
    secret: Secret,
    verifying: VerifyingKey,
}

/// Where the private half is.
enum Secret {
    Here { seed: Zeroizing<[u8; 32]>, pair: Ed25519KeyPair },
    Kept { keeper: Arc<dyn Keeper>, id: KeyId },
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying)
    }
}

impl SigningKey {
    /// The key of a seed. None if the name is none: empty, or with a space or a plus.
    pub fn from_seed(name: &str, seed: impl Into<Zeroizing<[u8; 32]>>) -> Option<SigningKey> {
        let seed = seed.into();
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        let verifying = VerifyingKey::new(name, public);
        is_name(name).then_some(SigningKey { secret: Secret::Here { seed, pair }, verifying })
    }

    /// A key that somebody keeps.
    pub(super) fn kept(name: &str, public: [u8; 32], keeper: Arc<dyn Keeper>, id: KeyId) -> Option<SigningKey> {
        let verifying = VerifyingKey::new(name, public);
        is_name(name).then_some(SigningKey { secret: Secret::Kept { keeper, id }, verifying })
    }

    /// A new key.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn generate(name: &str) -> std::io::Result<SigningKey> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| std::io::Error::other(error.to_string()))?;
        SigningKey::from_seed(name, seed).ok_or_else(|| std::io::Error::other("this is no name of a key"))
    }

    /// What a file of it holds; none if somebody keeps it.
    pub(super) fn seed(&self) -> Option<&[u8; 32]> {
        match &self.secret {
            Secret::Here { seed, .. } => Some(seed),
            Secret::Kept { .. } => None,
        }
    }

    /// What others check its signatures with.
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// What a keeper answers.
    #[cfg(test)]
    pub(super) fn signature(&self, bytes: &[u8]) -> [u8; 64] {
        match &self.secret {
            Secret::Here { pair, .. } => pair.sign(bytes).as_ref().try_into().unwrap_or([0; 64]),
            Secret::Kept { .. } => [0; 64],
        }
    }

    /// The line under a text that says this key has signed it.
    ///
    /// # Errors
    /// Who keeps it does not sign.
    pub(super) fn line(&self, text: &str) -> Result<String, KeyError> {
        let signature = match &self.secret {
            Secret::Here { pair, .. } => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Secret::Kept { keeper, id } => keeper.sign(id, text.as_bytes())?.to_vec(),
        };
        // What nobody can check is not stored.
        if matches!(self.secret, Secret::Kept { .. }) && !self.verifying.accepts(text, &signature) {
            return Err(KeyError::Refused(format!("what was signed is not signed by {}", self.verifying)));
        }
        let both = STANDARD.encode([&self.verifying.id[..], &signature].concat());
        Ok(format!("{DASH}{} {both}\n", self.verifying.name))
    }
}

/// The note that some keys sign. The text ends with a line end.
///
/// # Errors
/// Who keeps a key does not sign.
pub(super) fn sign(text: &str, keys: &[&SigningKey]) -> Result<String, KeyError> {
    let lines: String = keys.iter().map(|key| key.line(text)).collect::<Result<_, _>>()?;
    Ok(format!("{text}\n{lines}"))
}

/// A note as it was read.
#[derive(Debug)]
pub(super) struct Note<'a> {
    pub(super) text: &'a str,
    /// Those of other kinds of keys may have any length.
    signatures: Vec<(&'a str, [u8; 4], Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Takes a note apart.
    ///
    /// # Errors
    /// It is none: why.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Note<'a>, &'static str> {
        let whole = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        if whole.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err("it holds a control character");
        }
        let at = whole.rfind("\n\n").ok_or("no empty line stands before signatures")? + 1;
        let (text, lines) = whole.split_at(at);
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n')).ok_or("its end is cut off")?;
        let signatures: Vec<_> = lines
            .split('\n')
            .take(SIGNATURES_MAX + 1)
            .map(signature_line)
            .collect::<Option<_>>()
            .ok_or("a line under the text is no signature")?;
        match signatures.len() > SIGNATURES_MAX {
            true => Err("it has too many signatures"),
            false => Ok(Note { text, signatures }),
        }
    }

    /// Whether the key has signed it.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let mut own = self.signatures_of(&key.name, key.id).peekable();
        own.peek().is_some() && own.all(|signature| key.accepts(self.text, signature))
    }

    /// What stands under the name and id of a key.
    pub(super) fn signatures_of(&self, name: &str, id: [u8; 4]) -> impl Iterator<Item = &[u8]> {
        self.signatures.iter().filter(move |line| line.0 == name && line.1 == id).map(|line| &*line.2)
    }
}

/// One line under a text: name, id of the key, signature.
pub(super) fn signature_line(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, both) = line.strip_prefix(DASH)?.split_once(' ')?;
    let both = STANDARD.decode(both).ok()?;
    let (id, signature) = both.split_first_chunk::<4>()?;
    is_name(name).then(|| (name, *id, signature.to_vec()))
}

/// Neither empty nor with a space or a plus.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == '+')
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_under_its_key_alone() {
        let (one, other) =
            (SigningKey::from_seed("a/b", [1; 32]).unwrap(), SigningKey::from_seed("a/b", [2; 32]).unwrap());
        let text = "first\n\nthird\n";
        let note = sign(text, &[&one, &other]).unwrap();
        let read = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(read.text, text);
        assert!(read.is_signed_by(one.verifying()) && read.is_signed_by(other.verifying()));
        let elsewhere = SigningKey::from_seed("a/c", [1; 32]).unwrap();
        assert!(!read.is_signed_by(elsewhere.verifying()), "another name");
        let edited = note.replace("first", "First");
        assert!(!Note::parse(edited.as_bytes()).unwrap().is_signed_by(one.verifying()));
        let alone = sign(text, &[&other]).unwrap();
        assert!(!Note::parse(alone.as_bytes()).unwrap().is_signed_by(one.verifying()));
    }

    #[test]
    fn keys_are_written_and_read() {
        let key = SigningKey::from_seed("gw-01.example/audit", [1; 32]).unwrap();
        let written = key.verifying().to_string();
        // The test vector of the format.
        assert_eq!(written, "gw-01.example/audit+23aca5da+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c");
        assert_eq!(VerifyingKey::parse(&written).as_ref(), Some(key.verifying()));
        for wrong in ["", "a+b", &written.replace("23aca5da", "23aca5db"), &written[1..], &written[..written.len() - 4]]
        {
            assert_eq!(VerifyingKey::parse(wrong), None, "{wrong}");
        }
        assert!(SigningKey::from_seed("a b", [1; 32]).is_none());
        assert!(!format!("{key:?}").contains(&STANDARD.encode([1; 32])));
    }

    #[test]
    fn what_is_no_note_is_told() {
        let key = SigningKey::from_seed("k", [1; 32]).unwrap();
        let note = sign("text\n", &[&key]).unwrap();
        for (wrong, why) in [
            (note[..note.len() - 1].to_owned(), "its end is cut off"),
            (note.replace('\u{2014}', "-"), "a line under the text is no signature"),
            (note.replace("text", "te\tt"), "it holds a control character"),
            ("text\n".to_owned(), "no empty line stands before signatures"),
            ("text\n\n".to_owned() + &key.line("text\n").unwrap().repeat(65), "it has too many signatures"),
        ] {
            assert_eq!(Note::parse(wrong.as_bytes()).map(|_| ()), Err(why));
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
    }
}
