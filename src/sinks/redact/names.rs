//! Which names say that their value is a secret, and what stands in its place: what [`super::secrets`] and the
//! masker go by.
//!
//! Invariant: nothing but a whole stand-in counts as one, or a sender could keep his secrets by beginning so.

/// A rule, and how the names end, in lower case, whose values it is about.
const NAMES: &[(&str, &[&str])] = &[
    ("password", &["password", "passwd", "passphrase", "_pass", "-pass", "_pwd", "-pwd"]),
    ("token", &["token"]),
    ("secret", &["secret"]),
    ("key", &["api_key", "api-key", "apikey", "access_key", "access-key", "accesskey"]),
    ("key", &["secret_key", "secret-key", "secretkey", "private_key", "private-key", "privatekey"]),
    ("key", &["encryption_key", "signing_key", "account_key", "accountkey", "secret_key_base"]),
    (AUTHORIZATION, &["authorization"]),
    (AUTH, &["_auth", "-auth"]),
];
/// Names that are such by themselves, and not as the end of another: `OLDPWD` and `oauth` are none.
const WHOLE_NAMES: &[(&str, &str)] = &[("password", "pwd"), (AUTH, "auth")];
pub(super) const AUTHORIZATION: &str = "authorization";
/// Credentials of a registry, or how somebody has authenticated: their shape tells.
const AUTH: &str = "auth";

/// What those names end with, so that most others need one look.
const LAST_FOUR: &[&[u8; 4]] = &[
    b"word", b"sswd", b"rase", b"pass", b"oken", b"cret", b"_key", b"-key", b"ikey", b"skey", b"tkey", b"ekey",
    b"tion", b"_pwd", b"-pwd", b"base", b"auth",
];

/// Every rule that a stand-in without a hash may name: any other word could be a secret.
const RULES: &[&str] = &[
    "password",
    "token",
    "secret",
    "key",
    AUTHORIZATION,
    AUTH,
    "url",
    "aws_key",
    "jwt",
    "bearer",
    "private_key",
    "env",
    "card",
    "email",
];

/// What stands in the place of a secret begins so.
pub(super) const MASK: &str = "[masked/";
/// No stand-in is longer.
pub(super) const STAND_IN_BYTES_MAX: usize = 64;
const HASH_DIGITS: usize = 16;
/// So much of the end of a name is looked at: the longest ending is shorter.
pub(super) const NAME_BYTES_MAX: usize = 24;

/// The bytes of the stand-in that a text begins with, `[masked/RULE/BYTES/HASH]` or `[masked/RULE]`: nothing less
/// is one.
pub(super) fn stand_in_len(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(MASK.as_bytes())?;
    let end = memchr::memchr(b']', &rest[..rest.len().min(STAND_IN_BYTES_MAX)])?;
    if RULES.iter().any(|rule| rule.as_bytes() == &rest[..end]) {
        return Some(MASK.len() + end + 1);
    }
    let mut parts = rest[..end].split(|byte| *byte == b'/');
    let (rule, bytes, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let is_rule = !rule.is_empty() && rule.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    let is_len = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let is_hash = hash.len() == HASH_DIGITS && hash.iter().all(|byte| b"0123456789abcdef".contains(byte));
    (is_rule && is_len && is_hash && parts.next().is_none()).then_some(MASK.len() + end + 1)
}

/// The rule about values of that name.
pub(super) fn rule_of(name: &[u8]) -> Option<&'static str> {
    let name = unnumbered(name);
    let ends = |ending: &str| {
        name.len().checked_sub(ending.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    let whole = WHOLE_NAMES.iter().find(|(_, whole)| name.eq_ignore_ascii_case(whole.as_bytes()));
    let rule = whole.map(|(rule, _)| *rule);
    rule.or_else(|| NAMES.iter().find(|(_, endings)| endings.iter().any(|ending| ends(ending))).map(|(rule, _)| *rule))
}

/// Whether a value can be what the rule of its name is about: `PWD` is a folder in most environments, and
/// `auth` often a word.
pub(super) fn is_value(name: &[u8], value: &[u8]) -> bool {
    match rule_of(name) {
        Some(AUTH) => {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_.-".contains(byte);
            let is_mixed = value.iter().any(u8::is_ascii_digit)
                || value.windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
            value.len() >= 8 && is_mixed && value.iter().all(is_part)
        }
        _ => !(name.eq_ignore_ascii_case(b"pwd") && value.starts_with(b"/")),
    }
}

/// `POSTGRES_PASSWORD_1` is a password as well.
fn unnumbered(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let name = &name[..name.len() - digits];
    if digits > 0 { name.strip_suffix(b"_").unwrap_or(name) } else { name }
}

/// For the last letter but one, by its lower five bits, those that may follow in the names of secrets.
const LAST_TWO: [u32; 32] = {
    let (mut table, mut at) = ([0_u32; 32], 0);
    while at < LAST_FOUR.len() {
        let four = LAST_FOUR[at];
        table[(four[2] & 31) as usize] |= 1 << (four[3] & 31);
        at += 1;
    }
    table
};

/// Whether the letters before a sign, or before a quote and a sign, end no name of a secret: most do not.
#[inline]
pub(super) fn is_other(before: &[u8]) -> bool {
    match before {
        [.., one, two, b'"'] | [.., one, two] if one.is_ascii_alphabetic() && two.is_ascii_alphabetic() => {
            !is_end(*one, *two)
        }
        _ => false,
    }
}

fn is_end(one: u8, two: u8) -> bool {
    LAST_TWO[usize::from(one & 31)] >> (two & 31) & 1 == 1
}

/// Whether the name of a secret may end there: of most others the last two letters tell.
pub(super) fn may_end(text: &[u8], name_end: usize) -> bool {
    let mut end = name_end;
    // As in `unnumbered`.
    while end > 0 && text[end - 1].is_ascii_digit() && name_end - end < NAME_BYTES_MAX {
        end -= 1;
    }
    if end < name_end && end > 0 && text[end - 1] == b'_' {
        end -= 1;
    }
    end >= 2 && is_end(text[end - 2], text[end - 1])
}

/// Whether a name ends like those of secrets, with one look at most others.
pub(super) fn ends_like_one(name: &[u8]) -> bool {
    let end = unnumbered(name);
    let Some(last) = end.last_chunk::<4>() else { return end.eq_ignore_ascii_case(b"pwd") };
    let last = last.map(|byte| byte.to_ascii_lowercase());
    LAST_FOUR.iter().any(|four| **four == last) && rule_of(name).is_some()
}
