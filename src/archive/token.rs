//! A token that keeps the keys (PKCS#11 v2.40 and later): made in it, sensitive and not extractable, and found
//! by their id.
//!
//! Invariants: a PIN that was refused is not tried again until its file is written anew, nor where one more
//! wrong one would lock the token; it stands in no message. A session that is lost is opened again once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::keeper::{Keeper, KeyId};
use super::key_file::KeyError;
use super::outbox::write_whole;

/// How the curve is named: by PKCS#11 v3.0 §2.3.10 as a string, by others as its OID (RFC 8410).
const CURVES: [&[u8]; 2] = [b"\x13\x0cedwards25519", &[0x06, 0x03, 0x2b, 0x65, 0x70]];

/// The modules of this process: one that is opened twice is the same. Held in every call, because a module may
/// be closed only while nobody is in it.
static MODULES: Mutex<Modules> = Mutex::new(Modules(BTreeMap::new()));

struct Modules(BTreeMap<PathBuf, Module>);

#[derive(Default)]
struct Module {
    loaded: Option<Pkcs11>,
    /// How often it was closed. Its sessions are gone then, and their numbers may be those of other sessions.
    closed: u64,
}

/// A token.
#[derive(Debug)]
pub struct Token {
    module: PathBuf,
    label: String,
    pin_file: PathBuf,
    /// Remembers that the PIN was refused.
    refused: PathBuf,
    /// And how often the module was closed before.
    session: Mutex<Option<(u64, Session)>>,
}

impl Token {
    /// Nothing is asked of it yet. `state` is where the archive keeps what it must not forget.
    pub fn new(module: PathBuf, label: String, pin_file: PathBuf, state: &Path) -> Token {
        Token { module, label, pin_file, refused: state.join("pin-refused"), session: Mutex::new(None) }
    }

    /// Works in the session that there is, or in a new one.
    fn within<T>(&self, work: impl Fn(&Session) -> Result<T, Error>) -> Result<T, KeyError> {
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = modules.closed(&self.module);
        if let Some((_, gone)) = held.take_if(|(before, _)| *before != closed) {
            // To close it would close whichever session has its number now.
            mem::forget(gone);
        }
        if let Some(Ok(done)) = held.as_ref().map(|(_, session)| work(session)) {
            return Ok(done);
        }
        // Whatever it was, a session that was lost is the likeliest.
        *held = None;
        let session = self.open(&mut modules)?;
        let done = work(&session).map_err(|error| self.away(error))?;
        *held = Some((modules.closed(&self.module), session));
        Ok(done)
    }

    fn away(&self, error: Error) -> KeyError {
        KeyError::Away(format!("`{}`: {error}", self.label))
    }

    fn refuse(&self, why: &str) -> KeyError {
        KeyError::Refused(format!("`{}`: {why}", self.label))
    }

    fn open(&self, modules: &mut Modules) -> Result<Session, KeyError> {
        let module = modules.load(&self.module).map_err(|error| self.away(error))?;
        let slots = module.get_slots_with_token().map_err(|error| self.away(error))?;
        let info = |slot| Some((slot, module.get_token_info(slot).ok()?));
        let found = slots.into_iter().filter_map(info).filter(|(_, info)| info.label() == self.label);
        let (slot, info) = match &*found.collect::<Vec<_>>() {
            [(slot, info)] => (*slot, info.clone()),
            [] => {
                modules.unload(&self.module);
                return Err(KeyError::Away(format!("`{}` has no token `{}`", self.module.display(), self.label)));
            }
            _ => return Err(self.refuse("there are several of that label")),
        };
        if info.user_pin_locked() {
            return Err(self.refuse("its PIN is locked"));
        }
        if info.user_pin_final_try() {
            return Err(self.refuse("one more wrong PIN would lock it: log in to it by hand first"));
        }
        let (pin, written) = self.pin()?;
        let session = module.open_rw_session(slot).map_err(|error| self.away(error))?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) => match fs::remove_file(&self.refused) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeyError::Away(error.to_string())),
                _ => Ok(session),
            },
            // Of another archive, in the same process.
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(Error::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired,
                _,
            )) => {
                let noted = write_whole(&self.refused, written.as_bytes());
                noted.map_err(|cause| KeyError::Write { path: self.refused.clone(), cause })?;
                Err(self.pin_was_refused())
            }
            Err(error) => Err(self.away(error)),
        }
    }

    fn pin_was_refused(&self) -> KeyError {
        let file = self.pin_file.display();
        self.refuse(&format!("the PIN in `{file}` was refused; it is tried again when the file is written anew"))
    }

    /// The PIN, and when its file was written.
    fn pin(&self) -> Result<(AuthPin, String), KeyError> {
        let path = || self.pin_file.clone();
        let unread = |cause| KeyError::Read { path: path(), cause };
        let metadata = fs::metadata(&self.pin_file).map_err(unread)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Open(path()));
        }
        let written = format!("{}.{} {}\n", metadata.mtime(), metadata.mtime_nsec(), metadata.ino());
        if fs::read_to_string(&self.refused).is_ok_and(|refused| refused == written) {
            return Err(self.pin_was_refused());
        }
        let text = Zeroizing::new(fs::read_to_string(&self.pin_file).map_err(unread)?);
        Ok((AuthPin::from(text.trim_end_matches(['\r', '\n'])), written))
    }
}

impl Drop for Token {
    /// A session is closed as everything is done in a module: while nobody else is in it. Where somebody is, it is
    /// left to the end of the process, as is one of a module that was closed.
    fn drop(&mut self) {
        let held = self.session.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some((before, session)) = held else { return };
        match MODULES.try_lock() {
            Ok(modules) if before == modules.closed(&self.module) => drop(session),
            _ => mem::forget(session),
        }
    }
}

impl Modules {
    fn load(&mut self, path: &Path) -> Result<Pkcs11, Error> {
        if let Some(loaded) = self.0.get(path).and_then(|module| module.loaded.clone()) {
            return Ok(loaded);
        }
        let module = Pkcs11::new(path)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error),
        }
        self.0.entry(path.to_owned()).or_default().loaded = Some(module.clone());
        Ok(module)
    }

    /// Some modules look for tokens only when they are loaded. Sessions of other tokens are opened again.
    fn unload(&mut self, path: &Path) {
        let Some(module) = self.0.get_mut(path) else { return };
        module.closed += 1;
        if let Some(Err(error)) = module.loaded.take().map(Pkcs11::finalize) {
            tracing::debug!("`{}` cannot be closed: {error}", path.display());
        }
    }

    fn closed(&self, path: &Path) -> u64 {
        self.0.get(path).map_or(0, |module| module.closed)
    }
}

fn find(session: &Session, class: ObjectClass, id: &KeyId) -> Result<Vec<ObjectHandle>, Error> {
    session.find_objects(&[Attribute::Class(class), Attribute::Id(id.to_vec())])
}

fn make(session: &Session, id: &KeyId, label: &str, curve: &[u8]) -> Result<[u8; 32], Error> {
    let named = [Attribute::Token(true), Attribute::Id(id.to_vec()), Attribute::Label(label.as_bytes().to_vec())];
    let [public, private] = [
        vec![Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(curve.to_vec())],
        vec![
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ],
    ]
    .map(|own| [named.to_vec(), own].concat());
    let (public, _) = session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private)?;
    let point = session.get_attributes(public, &[AttributeType::EcPoint])?;
    let Some(Attribute::EcPoint(point)) = point.first() else { return Err(Error::InvalidValue) };
    // An octet string in DER, or the bytes alone.
    let point = point.strip_prefix(&[0x04, 0x20]).filter(|point| point.len() == 32).unwrap_or(point);
    point.try_into().map_err(Error::TryFromSlice)
}

impl Keeper for Token {
    fn generate(&self, id: &KeyId, label: &str) -> Result<[u8; 32], KeyError> {
        self.within(|session| {
            let [by_name, by_oid] = CURVES;
            make(session, id, label, by_name).or_else(|_| make(session, id, label, by_oid))
        })
    }

    fn sign(&self, id: &KeyId, bytes: &[u8]) -> Result<[u8; 64], KeyError> {
        self.within(|session| {
            let key = find(session, ObjectClass::PRIVATE_KEY, id)?;
            let key = key
                .first()
                .ok_or(Error::Pkcs11(RvError::KeyHandleInvalid, cryptoki::context::Function::FindObjects))?;
            let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
            session.sign(&mechanism, *key, bytes)?.as_slice().try_into().map_err(Error::TryFromSlice)
        })
    }

    fn destroy(&self, id: &KeyId) -> Result<(), KeyError> {
        self.within(|session| {
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                for object in find(session, class, id)? {
                    session.destroy_object(object)?;
                }
            }
            Ok(())
        })
    }
}
