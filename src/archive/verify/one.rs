//! One object alone: its seal under the key of its epoch, and its bytes. Nothing else of the archive is read
//! but the seals that change keys before it, and those that lead to them.

use super::object::check_object;
use super::{Fault, Finding};
use crate::archive::read::{Reader, Sealed, Unread};
use crate::archive::store::is_away;

/// What the seal of an object says, and what is wrong with either.
///
/// # Errors
/// The store cannot be read: nothing is said about the object.
pub fn verify_object(reader: &mut Reader, object: &str, deep: bool) -> Result<(Option<Sealed>, Vec<Finding>), Unread> {
    let found = |fault, key: &str, what: String| Finding::new(fault, key, what);
    let (sealed, data) = match reader.sealed(object) {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return Ok((None, vec![found(Fault::Foreign, object, "no seal names it".to_owned())])),
        Err(Unread::Fault { fault, key, what }) => return Ok((None, vec![found(fault, &key, what)])),
        Err(error) => return Err(error),
    };
    let altered = |what: String| vec![found(Fault::Altered, object, what)];
    let store = reader.store();
    let findings = match store.open(object) {
        Ok(None) => vec![found(Fault::Missing, object, "it is sealed, and not there".to_owned())],
        Err(error) if is_away(&error) => return Err(error.into()),
        _ => match check_object(store, &data, deep) {
            Ok(what) => what.map(altered).unwrap_or_default(),
            Err(error) if is_away(&error) => return Err(error.into()),
            Err(error) => altered(format!("it cannot be read: {error}")),
        },
    };
    Ok((Some(sealed), findings))
}
