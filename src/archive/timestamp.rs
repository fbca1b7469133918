//! Time stamps (RFC 3161): a third party signs that the bytes of a checkpoint existed at a time.
//!
//! Beside a checkpoint stands the answer of the authority as it came. Chains of certificates are checked by
//! the library that checks those of TLS.
//!
//! Invariant: total over any bytes; a time counts only with the imprint of the checkpoint beside it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, KeyUsage};
use wharfinger_formats::Time;

use super::chain::checkpoint_key;
use super::der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, NULL, OCTETS, OID, SEQUENCE, SET, TAGGED_0, Value, Values, value,
};
use super::merkle::{Hash, sha256};
use super::store::{Store, is_away, read_small};

/// No answer of an authority is longer.
pub const STAMP_BYTES_MAX: u64 = 1 << 20;
/// More checkpoints than that are not stamped after the event: the stamp of a later one is about all before it.
const UNSTAMPED_MAX: usize = 100;

const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA_512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
/// 1.2.840.113549.1.7.2 and 1.2.840.113549.1.9.16.1.4.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// Attributes: 1.2.840.113549.1.9.3, .9.4, .9.16.2.12 and .9.16.2.47.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
/// id-kp-timeStamping, 1.3.6.1.5.5.7.3.8.
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

/// The authorities in a PEM file, at least one.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn authorities(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let failed = |cause: String| io::Error::other(format!("`{}` holds no certificates: {cause}", path.display()));
    let found = CertificateDer::pem_slice_iter(&std::fs::read(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("nothing in it is one".to_owned())) } else { Ok(found) }
}

/// What an authority is asked: a `TimeStampReq` over the bytes, and for its certificates. The first byte of
/// the nonce is made positive.
pub fn request(bytes: &[u8], nonce: &mut [u8; 8]) -> Vec<u8> {
    nonce[0] = nonce[0] & 0x7f | 0x40;
    let algorithm = value(SEQUENCE, &[&value(OID, &[SHA_256]), &value(NULL, &[])]);
    let imprint = value(SEQUENCE, &[&algorithm, &value(OCTETS, &[&sha256(bytes)])]);
    let (version, nonce) = (value(INTEGER, &[&[1]]), value(INTEGER, &[nonce]));
    value(SEQUENCE, &[&version, &imprint, &nonce, &value(BOOLEAN, &[&[0xff]])])
}

/// The answer of an authority, read.
#[derive(Debug)]
pub struct Stamp<'a> {
    /// When, by the clock of the authority.
    pub time: Time,
    imprint: Hash,
    nonce: Option<&'a [u8]>,
    /// What is signed: the `TSTInfo`.
    info: &'a [u8],
    certificates: Vec<&'a [u8]>,
    signer: Signer<'a>,
}

#[derive(Debug)]
struct Signer<'a> {
    digest: &'a [u8],
    /// The attributes that are signed, as they stand there.
    attributes: Value<'a>,
    signature: &'a [u8],
}

impl<'a> Stamp<'a> {
    /// Reads a `TimeStampResp`.
    ///
    /// # Errors
    /// It is none, or the authority has refused: why.
    pub fn read(answer: &'a [u8]) -> Result<Stamp<'a>, String> {
        let damaged = || "it is no answer of a time stamp authority".to_owned();
        let mut whole = Values(answer);
        let mut response = whole.within(SEQUENCE).filter(|_| whole.0.is_empty()).ok_or_else(damaged)?;
        let mut status = response.within(SEQUENCE).ok_or_else(damaged)?;
        match status.read(INTEGER).ok_or_else(damaged)? {
            // granted, grantedWithMods
            [0 | 1] => Stamp::of_token(response).ok_or_else(damaged),
            code => {
                let texts = status.optional(SEQUENCE).map(|texts| Values(texts.content));
                let text = texts.and_then(|mut texts| texts.next()).map(|text| String::from_utf8_lossy(text.content));
                Err(format!("the authority refuses (status {code:?}): {}", text.unwrap_or_default()))
            }
        }
    }

    fn of_token(mut response: Values<'a>) -> Option<Stamp<'a>> {
        let mut token = response.within(SEQUENCE)?;
        if token.read(OID)? != SIGNED_DATA {
            return None;
        }
        let mut signed = token.within(TAGGED_0)?.within(SEQUENCE)?;
        signed.read(INTEGER)?;
        signed.read(SET)?;
        let mut inside = signed.within(SEQUENCE)?;
        if inside.read(OID)? != TST_INFO {
            return None;
        }
        let info = inside.within(TAGGED_0)?.read(OCTETS)?;
        let certificates = signed.optional(TAGGED_0).map_or(&[][..], |certificates| certificates.content);
        let certificates = Values(certificates).filter(|one| one.tag == SEQUENCE).map(|one| one.whole).collect();
        signed.optional(0xa1);
        let signer = signer(signed.within(SET)?.within(SEQUENCE)?)?;
        let mut fields = Values(info).within(SEQUENCE)?;
        fields.read(INTEGER)?;
        fields.read(OID)?;
        let mut imprint = fields.within(SEQUENCE)?;
        if imprint.within(SEQUENCE)?.read(OID)? != SHA_256 {
            return None;
        }
        let imprint = imprint.read(OCTETS)?.try_into().ok()?;
        fields.read(INTEGER)?;
        let time = time(fields.read(GENERALIZED_TIME)?)?;
        fields.optional(SEQUENCE);
        fields.optional(BOOLEAN);
        let nonce = fields.optional(INTEGER).map(|nonce| nonce.content);
        Some(Stamp { time, imprint, nonce, info, certificates, signer })
    }

    /// Whether it is over these bytes.
    pub fn is_over(&self, bytes: &[u8]) -> bool {
        self.imprint == sha256(bytes)
    }

    /// Whether one of these authorities vouches for it.
    ///
    /// # Errors
    /// It does not: why.
    pub fn check(&self, authorities: &[CertificateDer<'_>]) -> Result<(), String> {
        let attributes = self.signer.attributes.content;
        let attribute = |oid: &[u8]| attribute(attributes, oid);
        if attribute(CONTENT_TYPE).and_then(|mut value| value.read(OID)) != Some(TST_INFO) {
            return Err("what is signed is no time stamp".to_owned());
        }
        let digest =
            hash(self.signer.digest, self.info).ok_or("it is hashed in a way that is not safe or not known")?;
        if attribute(MESSAGE_DIGEST).and_then(|mut value| value.read(OCTETS)) != Some(&digest[..]) {
            return Err("what is signed is another time stamp".to_owned());
        }
        let certificate = self.certificate(attributes).ok_or("the certificate it is signed with is not in it")?;
        let certificate = CertificateDer::from(certificate);
        let of_chain = |error: webpki::Error| format!("its certificate leads to no authority that is trusted: {error}");
        let anchors: Vec<TrustAnchor<'_>> =
            authorities.iter().filter_map(|one| webpki::anchor_from_trusted_cert(one).ok()).collect();
        let between: Vec<_> = self.certificates.iter().map(|one| CertificateDer::from(*one)).collect();
        let end = EndEntityCert::try_from(&certificate).map_err(of_chain)?;
        let seconds = u64::try_from(self.time.0 / 1_000_000_000).map_err(|_| "it is of a time before 1970")?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let usage = KeyUsage::required(TIME_STAMPING);
        let kinds: &[&dyn SignatureVerificationAlgorithm] = webpki::ALL_VERIFICATION_ALGS;
        end.verify_for_usage(kinds, &anchors, &between, at, usage, None, None).map_err(of_chain)?;
        // RFC 5652 §5.4: "A separate encoding of the signedAttrs field is performed for message digest
        // calculation. The IMPLICIT [0] tag in the signedAttrs is not used for the DER encoding, rather an
        // EXPLICIT SET OF tag is used."
        let mut signed = self.signer.attributes.whole.to_vec();
        if let Some(tag) = signed.first_mut() {
            *tag = SET;
        }
        let is_signed = kinds.iter().any(|kind| end.verify_signature(*kind, &signed, self.signer.signature).is_ok());
        is_signed.then_some(()).ok_or_else(|| "its signature is bad".to_owned())
    }

    /// The certificate that the signed attributes name by its hash (RFC 2634 §5.4, RFC 5035).
    fn certificate(&self, attributes: &[u8]) -> Option<&'a [u8]> {
        let named = |oid| attribute(attributes, oid)?.within(SEQUENCE)?.within(SEQUENCE)?.within(SEQUENCE);
        let find = |by: &dyn Fn(&[u8]) -> Option<Vec<u8>>, hash: &[u8]| {
            self.certificates.iter().copied().find(|one| by(one).as_deref() == Some(hash))
        };
        if let Some(mut first) = named(SIGNING_CERTIFICATE_V2) {
            let algorithm = first.optional(SEQUENCE).map_or(Some(SHA_256), |one| Values(one.content).read(OID))?;
            return find(&|one| hash(algorithm, one), first.read(OCTETS)?);
        }
        let sha1 = |one: &[u8]| {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, one);
            Some(hash.as_ref().to_vec())
        };
        find(&sha1, named(SIGNING_CERTIFICATE)?.read(OCTETS)?)
    }
}

fn signer(mut signer: Values<'_>) -> Option<Signer<'_>> {
    signer.read(INTEGER)?;
    // Who it is, the attributes say so that nobody can change it.
    signer.next()?;
    let digest = signer.within(SEQUENCE)?.read(OID)?;
    let attributes = signer.optional(TAGGED_0)?;
    signer.read(SEQUENCE)?;
    Some(Signer { digest, attributes, signature: signer.read(OCTETS)? })
}

/// The values of the only attribute of a kind.
fn attribute<'a>(attributes: &'a [u8], oid: &[u8]) -> Option<Values<'a>> {
    let mut found = Values(attributes).filter_map(|one| {
        let mut attribute = Values(one.content);
        (attribute.read(OID)? == oid).then(|| attribute.within(SET))?
    });
    let only = found.next();
    found.next().is_none().then_some(only)?
}

fn hash(algorithm: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        SHA_256 => Some(Sha256::digest(bytes).to_vec()),
        SHA_384 => Some(Sha384::digest(bytes).to_vec()),
        SHA_512 => Some(Sha512::digest(bytes).to_vec()),
        _ => None,
    }
}

/// `20261121090000.123Z`; RFC 3161 §2.4.2 wants it in UTC and with seconds.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, rest) = text.split_at_checked(14)?;
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to).unwrap_or_default();
    let [year, month, day] = [part(0, 4), part(4, 6), part(6, 8)];
    let [hour, minute, second] = [part(8, 10), part(10, 12), part(12, 14)];
    let written = format!("{year}-{month}-{day}T{hour}:{minute}:{second}{rest}");
    let (time, used) = Time::parse_rfc3339(written.as_bytes())?;
    (rest.ends_with('Z') && used == written.len()).then_some(time)
}

/// Whether an answer may be kept beside the bytes it was asked for.
///
/// # Errors
/// It may not: why.
pub fn accept(
    answer: &[u8],
    bytes: &[u8],
    nonce: &[u8; 8],
    authorities: Option<&[CertificateDer<'_>]>,
) -> Result<Time, String> {
    let stamp = Stamp::read(answer)?;
    if !stamp.is_over(bytes) {
        return Err("it is the time stamp of something else".to_owned());
    }
    if stamp.nonce != Some(nonce) {
        return Err("it answers another request".to_owned());
    }
    if stamp.certificates.is_empty() {
        return Err("it comes without the certificates that were asked for".to_owned());
    }
    authorities.map_or(Ok(()), |authorities| stamp.check(authorities))?;
    Ok(stamp.time)
}

/// The checkpoints of a stream without a time stamp, up to its newest one, from the oldest on; of many, the
/// newest. Names that no checkpoint of it can have do not count.
///
/// # Errors
/// The store cannot be asked.
pub fn unstamped(store: &dyn Store, newest: u64) -> io::Result<Vec<String>> {
    let keys: BTreeSet<String> = store.keys("checkpoint")?.into_iter().map(|(key, _)| key).collect();
    let size = |key: &str| key.strip_prefix("checkpoint/")?.parse().ok().filter(|size| key == checkpoint_key(*size));
    let mut without: Vec<String> =
        keys.iter().filter(|key| size(key).is_some_and(|size| size <= newest)).cloned().collect();
    // Of the newest it is looked whether it is one: what is planted beside others was looked at when they were.
    let of_newest = checkpoint_key(newest);
    let is_stamped = |key: &String| keys.contains(&stamp_key(key)) && (*key != of_newest || is_stamp_of(store, key));
    without.retain(|key| !is_stamped(key));
    let surplus = without.len().saturating_sub(UNSTAMPED_MAX);
    Ok(without.split_off(surplus))
}

/// Whether a time stamp stands beside a checkpoint. In doubt there is one: a store that is away says so elsewhere.
fn is_stamp_of(store: &dyn Store, checkpoint: &str) -> bool {
    let stamp = read_small(store, &stamp_key(checkpoint), STAMP_BYTES_MAX);
    let checkpoint = read_small(store, checkpoint, STAMP_BYTES_MAX);
    match (stamp, checkpoint) {
        (Err(error), _) | (_, Err(error)) => is_away(&error),
        (Ok(stamp), Ok(checkpoint)) => {
            let stamp = stamp.unwrap_or_default();
            Stamp::read(&stamp).is_ok_and(|stamp| stamp.is_over(&checkpoint.unwrap_or_default()))
        }
    }
}

/// Where the time stamp of a checkpoint is kept.
pub fn stamp_key(checkpoint: &str) -> String {
    format!("{checkpoint}.tsr")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const CHECKPOINT: &[u8] = include_bytes!("../../fixtures/archive/stamped");
    const QUESTION: &[u8] = include_bytes!("../../fixtures/archive/stamped.tsq");
    /// By `openssl ts -reply`, with an older kind of name for the certificate (RFC 2634).
    const ANSWER: &[u8] = include_bytes!("../../fixtures/archive/stamped.tsr");
    const NONCE: &[u8; 8] = b"ABCDEFGH";

    fn authority() -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(include_bytes!("../../fixtures/archive/stamped.ca.pem")).unwrap()]
    }

    #[test]
    fn a_stamp_of_openssl_is_asked_for_and_read() {
        let mut nonce = *NONCE;
        assert_eq!(request(CHECKPOINT, &mut nonce), QUESTION);
        assert_eq!(request(CHECKPOINT, &mut [0xff; 8]).len(), QUESTION.len());
        let time = accept(ANSWER, CHECKPOINT, NONCE, Some(&authority())).unwrap();
        assert_eq!(Some(time), Time::parse_rfc3339(b"2026-11-22T01:07:03Z").map(|(time, _)| time));
    }

    #[test]
    fn an_answer_to_something_else_is_not_kept() {
        let refused = |answer: &[u8], bytes: &[u8], nonce: &[u8; 8]| accept(answer, bytes, nonce, None).unwrap_err();
        assert_eq!(refused(ANSWER, CHECKPOINT, b"ABCDEFGI"), "it answers another request");
        assert_eq!(refused(ANSWER, b"another", NONCE), "it is the time stamp of something else");
        // A refusal of an authority: RFC 3161 §2.4.2, badAlg.
        let refusal = [0x30, 0x0e, 0x30, 0x0c, 2, 1, 2, 0x30, 3, 0x0c, 1, b'x', 3, 2, 7, 0x80];
        assert_eq!(refused(&refusal, CHECKPOINT, NONCE), "the authority refuses (status [2]): x");
    }

    #[test]
    fn another_authority_does_not_vouch() {
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let stamp = Stamp::read(ANSWER).unwrap();
        for others in [vec![], vec![other.cert.der().clone()]] {
            assert!(stamp.check(&others).unwrap_err().starts_with("its certificate leads to no authority"));
        }
    }

    /// Versions, lists of algorithms, the certificate of the authority itself: nobody reads those in a stamp.
    /// Everything else is signed.
    #[test]
    fn no_change_makes_another_time_stamp() {
        let authority = authority();
        let answer = ANSWER.to_vec();
        let good = Stamp::read(&answer).unwrap();
        let place = |part: &[u8]| {
            let at = part.as_ptr() as usize - answer.as_ptr() as usize;
            at..at + part.len()
        };
        let signed = [good.info, good.signer.attributes.content, good.signer.signature].map(place);
        for at in 0..answer.len() {
            assert!(Stamp::read(&answer[..at]).is_err(), "cut off at {at}");
            for flip in [1, 0x80, 0xff] {
                let mut changed = answer.clone();
                changed[at] ^= flip;
                if let Ok(time) = accept(&changed, CHECKPOINT, NONCE, Some(&authority)) {
                    assert_eq!(time, good.time, "{at}");
                    assert!(!signed.iter().any(|part| part.contains(&at)), "{at} is not signed");
                }
            }
        }
    }

    #[test]
    fn times_are_in_utc_with_seconds() {
        let read = |text: &str| time(text.as_bytes()).map(|time| time.0);
        assert_eq!(read("19700101000001Z"), Some(1_000_000_000));
        assert_eq!(read("19700101000001.5Z"), Some(1_500_000_000));
        for wrong in ["", "Z", "197001010000Z", "19700101000001", "19700101000001+0100", "1970010100000\u{e9}Z"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
