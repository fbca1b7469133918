//! Keys that somebody keeps: made there, destroyed there, and not always to be had.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

/// A token in memory.
#[derive(Debug, Default)]
struct Memory {
    keys: Mutex<BTreeMap<KeyId, u8>>,
    is_away: AtomicBool,
    /// Dies after a key was made, as a machine may.
    dies: AtomicBool,
}

impl Memory {
    fn count(&self) -> usize {
        self.keys.lock().unwrap().len()
    }

    fn asked(&self) -> Result<(), KeyError> {
        match self.is_away.load(Relaxed) {
            true => Err(KeyError::Away("unplugged".to_owned())),
            false => Ok(()),
        }
    }

    fn key(&self, id: &KeyId) -> Option<SigningKey> {
        self.keys.lock().unwrap().get(id).and_then(|seed| SigningKey::from_seed("k", [*seed; 32]))
    }
}

impl Keeper for Memory {
    fn generate(&self, id: &KeyId, _label: &str) -> Result<[u8; 32], KeyError> {
        self.asked()?;
        self.keys.lock().unwrap().insert(*id, id[0]);
        match self.dies.load(Relaxed) {
            true => Err(KeyError::Away("died".to_owned())),
            false => Ok(self.key(id).unwrap().verifying().public()),
        }
    }

    fn sign(&self, id: &KeyId, bytes: &[u8]) -> Result<[u8; 64], KeyError> {
        self.asked()?;
        let key = self.key(id).ok_or_else(|| KeyError::Away("no such key".to_owned()))?;
        Ok(key.signature(bytes))
    }

    fn destroy(&self, id: &KeyId) -> Result<(), KeyError> {
        self.asked()?;
        self.keys.lock().unwrap().remove(id);
        Ok(())
    }
}

fn open(dir: &Path, token: &Arc<Memory>, stores: OpenStore) -> Result<Chain, ChainError> {
    let origin = Origin { host: "gw".to_owned(), name: "audit".to_owned() };
    let keeper: Arc<dyn Keeper> = Arc::<Memory>::clone(token);
    Chain::open(dir.join("state"), origin, Keys { first: None, keeper: Some(keeper) }, stores, Time(BEGIN))
}

fn verdict(dir: &Path, chain: &Chain) -> Verdict {
    let question = question(&chain.first_key().unwrap(), Time(BEGIN));
    verify(&Dir::new(dir.join("audit")), &question, &mut |_, _, _| {}).unwrap().verdict()
}

#[test]
fn a_kept_key_signs_and_its_end_is_that_of_its_epoch() {
    let (dir, token) = (scratch(), Arc::new(Memory::default()));
    let mut chain = open(dir.path(), &token, stores(dir.path())).unwrap();
    chain.seal(&object(1, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap();
    let first: Vec<KeyId> = token.keys.lock().unwrap().keys().copied().collect();
    chain.rotate(Time(BEGIN)).unwrap();
    assert!(token.count() == 1 && !token.keys.lock().unwrap().contains_key(&first[0]), "the old key is destroyed");
    let text = fs::read_to_string(dir.path().join("state/key-1-1")).unwrap();
    assert!(text.starts_with("wharfinger-kept-key/v1 gw/audit "), "{text}");
    drop(chain);
    let mut chain = open(dir.path(), &token, stores(dir.path())).unwrap();
    chain.seal(&object(4, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap();
    assert_eq!(verdict(dir.path(), &chain), Verdict::Good);
    drop(chain);
    // Without the token nothing goes on, and nothing is made instead.
    let origin = Origin { host: "gw".to_owned(), name: "audit".to_owned() };
    let alone = Chain::open(dir.path().join("state"), origin, Keys::default(), stores(dir.path()), Time(BEGIN));
    assert!(matches!(alone, Err(ChainError::Key(KeyError::NoKeeper(_)))));
}

#[test]
fn a_token_that_is_away_holds_up_seals_and_loses_none() {
    let (dir, token) = (scratch(), Arc::new(Memory::default()));
    let mut chain = open(dir.path(), &token, stores(dir.path())).unwrap();
    chain.seal(&object(1, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap();
    token.is_away.store(true, Relaxed);
    for _ in 0..2 {
        let error = chain.seal(&object(4, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap_err();
        assert!(!error.is_for_people() && error.to_string().contains("unplugged"), "{error}");
        assert_eq!(chain.reached().next, 4, "what is not sealed is not accounted for");
    }
    assert!(chain.rotate(Time(BEGIN)).is_err());
    token.is_away.store(false, Relaxed);
    chain.seal(&object(4, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap();
    assert_eq!((verdict(dir.path(), &chain), token.count()), (Verdict::Good, 1));
}

#[test]
fn a_crash_leaves_no_key_behind() {
    let (dir, token) = (scratch(), Arc::new(Memory::default()));
    let mut chain = open(dir.path(), &token, stores(dir.path())).unwrap();
    chain.seal(&object(1, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap();
    token.dies.store(true, Relaxed);
    assert!(chain.rotate(Time(BEGIN)).is_err());
    drop(chain);
    assert_eq!(token.count(), 2);
    token.dies.store(false, Relaxed);
    let chain = open(dir.path(), &token, stores(dir.path())).unwrap();
    assert_eq!(token.count(), 1, "the key that never signed is gone");
    assert_eq!(verdict(dir.path(), &chain), Verdict::Good);
}
