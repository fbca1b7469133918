//! A store in memory that is only read, for tests and fuzz targets.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::store::{Put, Store};

/// A store in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Store for Memory {
    fn put_new(&self, _: &str, _: &[u8]) -> io::Result<Put> {
        Err(io::Error::other("it is only read"))
    }

    fn open(&self, key: &str) -> io::Result<Option<Box<dyn Read>>> {
        Ok(self.0.get(key).map(|bytes| Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>))
    }

    fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let own = self.0.iter().filter(|(key, _)| key.split('/').next() == Some(folder));
        Ok(own.map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect())
    }
}
