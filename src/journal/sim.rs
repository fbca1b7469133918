//! A disk for tests: in memory, seeded, and as unkind as a real one may be.
//!
//! It keeps what is durable apart from what was only written, per block of 512 bytes and per change
//! of a name. A power loss keeps any part of what was not synced; a failed sync leaves pages that
//! look clean and are not on disk, as Linux does; the nth call fails; the disk fills up; bits flip.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::locked;
use super::storage::{Lock, LockError, Storage, StorageFile};

/// What a disk writes as a whole.
const BLOCK_BYTES: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

struct World {
    random: fastrand::Rng,
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// What happened to names since they were last made durable, in order.
    changes: Vec<Change>,
    locks: BTreeSet<PathBuf>,
    /// Grows with each crash: older handles are dead.
    life: u64,
    calls: u64,
    fault: Option<Fault>,
    /// The process ends before the call with that number, counted from 0.
    dies_at: Option<u64>,
    capacity: Option<u64>,
}

#[derive(Default, Clone)]
struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Blocks that a sync would write.
    dirty: BTreeSet<usize>,
    length_dirty: bool,
}

#[derive(Clone)]
enum Change {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

/// Which calls fail, counted from now.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Calls that still work.
    pub after: u64,
    /// Calls that then fail.
    pub times: u64,
    pub kind: ErrorKind,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    /// An empty disk; the same seed gives the same fates.
    pub fn new(seed: u64) -> Self {
        SimDisk { world: Arc::new(Mutex::new(World::new(seed))) }
    }

    /// Another disk with the same files, all of them durable.
    pub fn copy(&self, seed: u64) -> Self {
        let copy = SimDisk::new(seed);
        let from = locked(&self.world);
        let mut to = locked(&copy.world);
        for (path, &file) in &from.names {
            let bytes = from.files[file].current.clone();
            let index = to.files.len();
            to.files.push(Contents { durable: bytes.clone(), current: bytes, ..Contents::default() });
            to.names.insert(path.clone(), index);
            to.durable_names.insert(path.clone(), index);
        }
        drop(to);
        copy
    }

    /// The power goes: of what was not synced, any part is on disk.
    pub fn power_loss(&self) {
        let mut world = locked(&self.world);
        world.end_process();
        let World { random, files, names, durable_names, changes, .. } = &mut *world;
        let kept = random.usize(..=changes.len());
        for change in changes.drain(..).take(kept) {
            change.apply(durable_names);
        }
        *names = durable_names.clone();
        for contents in files {
            contents.lose(random);
        }
    }

    /// The process is killed: what it wrote is in the page cache.
    pub fn kill(&self) {
        locked(&self.world).end_process();
    }

    /// From now on calls fail as told; `None` ends it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        locked(&self.world).fault = fault;
    }

    /// The process ends after so many calls: none after that does anything.
    pub fn die_after(&self, calls: u64) {
        let mut world = locked(&self.world);
        world.dies_at = Some(world.calls + calls);
    }

    /// How many blocks and lengths of files, and how many changes of names, are not durable.
    pub fn unsynced(&self) -> (usize, usize) {
        let world = locked(&self.world);
        let units = world.files.iter().map(|contents| contents.dirty.len() + usize::from(contents.length_dirty));
        (units.sum(), world.changes.len())
    }

    /// The disk as a power loss could leave it: with the units `keep` says and the first changes of names.
    pub fn after_power_loss(&self, keep: impl Fn(usize) -> bool, changes: usize) -> Self {
        let world = locked(&self.world);
        let mut names = world.durable_names.clone();
        world.changes.iter().take(changes).for_each(|change| change.clone().apply(&mut names));
        let mut unit = 0..;
        let mut files = Vec::with_capacity(world.files.len());
        for contents in &world.files {
            let mut kept = contents.clone();
            for block in std::mem::take(&mut kept.dirty) {
                if unit.next().is_some_and(&keep) {
                    kept.write_back(block);
                }
            }
            if kept.length_dirty && unit.next().is_some_and(&keep) {
                set_length(&mut kept.durable, kept.current.len());
            }
            files.push(Contents { current: kept.durable.clone(), durable: kept.durable, ..Contents::default() });
        }
        let copy = World { files, names: names.clone(), durable_names: names, ..World::new(0) };
        SimDisk { world: Arc::new(Mutex::new(copy)) }
    }

    /// How many bytes files may take in all.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        locked(&self.world).capacity = bytes;
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        locked(&self.world).calls
    }

    /// The files there are, with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let world = locked(&self.world);
        world.names.iter().map(|(path, &file)| (path.clone(), world.files[file].current.len())).collect()
    }

    /// Changes the bytes of a file where they lie, on disk as in the cache.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = locked(&self.world);
        if let Some(&file) = world.names.get(path) {
            let contents = &mut world.files[file];
            change(&mut contents.current);
            contents.durable = contents.current.clone();
            contents.dirty.clear();
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        World {
            random: fastrand::Rng::with_seed(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            locks: BTreeSet::new(),
            life: 0,
            calls: 0,
            fault: None,
            dies_at: None,
            capacity: None,
        }
    }

    /// Counts a call; fails it if it is its turn.
    fn call(&mut self) -> io::Result<()> {
        if self.dies_at.is_some_and(|dies_at| dies_at <= self.calls) {
            self.life += 1;
            return Err(io::Error::other("this process is dead"));
        }
        self.calls += 1;
        let Some(fault) = &mut self.fault else { return Ok(()) };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        if fault.times == 0 {
            self.fault = None;
            return Ok(());
        }
        fault.times -= 1;
        Err(fault.kind.into())
    }

    fn end_process(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.fault = None;
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Bytes that may still be written.
    fn room(&self) -> u64 {
        let used: usize = self.names.values().map(|&file| self.files[file].current.len()).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used as u64))
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Change::Link(path, file) => {
                names.insert(path, file);
            }
            Change::Rename(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
            Change::Unlink(path) => {
                names.remove(&path);
            }
        }
    }
}

impl Contents {
    fn write(&mut self, bytes: &[u8], at: usize) {
        if self.current.len() < at + bytes.len() {
            self.set_length(at + bytes.len());
        }
        self.current[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty.extend(at / BLOCK_BYTES..(at + bytes.len()).div_ceil(BLOCK_BYTES));
    }

    fn set_length(&mut self, bytes: usize) {
        set_length(&mut self.current, bytes);
        self.length_dirty = true;
    }

    /// Writes a dirty block, or part of what it still covers, to disk.
    fn write_back(&mut self, block: usize) {
        let start = block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.current.len());
        if start < end {
            if self.durable.len() < end {
                set_length(&mut self.durable, end);
            }
            self.durable[start..end].copy_from_slice(&self.current[start..end]);
        }
    }

    fn sync(&mut self) {
        for block in std::mem::take(&mut self.dirty) {
            self.write_back(block);
        }
        set_length(&mut self.durable, self.current.len());
        self.length_dirty = false;
    }

    /// A failed sync: some blocks are written, all look clean.
    fn sync_badly(&mut self, random: &mut fastrand::Rng) {
        for block in std::mem::take(&mut self.dirty) {
            if random.bool() {
                self.write_back(block);
            }
        }
    }

    fn lose(&mut self, random: &mut fastrand::Rng) {
        // All, nothing or any part: pure chance would never keep a long run of blocks.
        let odds = [0, 20, 50, 80, 100][random.usize(..5)];
        for block in std::mem::take(&mut self.dirty) {
            if random.u8(..100) < odds {
                self.write_back(block);
            }
        }
        if std::mem::take(&mut self.length_dirty) && random.bool() {
            set_length(&mut self.durable, self.current.len());
        }
        self.current = self.durable.clone();
    }
}

/// `Vec::resize` takes a test's time byte by byte.
fn set_length(bytes: &mut Vec<u8>, length: usize) {
    let grown = length.saturating_sub(bytes.len());
    bytes.extend_from_slice(&vec![0; grown]);
    bytes.truncate(length);
}

impl Storage for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        locked(&self.world).call()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut world = locked(&self.world);
        world.call()?;
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut world = locked(&self.world);
        world.call()?;
        world.files.push(Contents::default());
        let file = world.files.len() - 1;
        world.change(Change::Link(path.to_owned(), file));
        Ok(Arc::new(SimFile { disk: self.clone(), file, life: world.life }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut world = locked(&self.world);
        world.call()?;
        Ok(Arc::new(SimFile { disk: self.clone(), file: world.find(path)?, life: world.life }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = locked(&self.world);
        world.call()?;
        world.find(from)?;
        world.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut world = locked(&self.world);
        world.call()?;
        world.find(path)?;
        world.change(Change::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut world = locked(&self.world);
        world.call()?;
        let World { changes, durable_names, .. } = &mut *world;
        changes.drain(..).for_each(|change| change.apply(durable_names));
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut world = locked(&self.world);
        world.call().map_err(LockError::Io)?;
        if !world.locks.insert(path.to_owned()) {
            return Err(LockError::Held { pid: Some(1) });
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), life: world.life }))
    }

    fn random(&self) -> io::Result<u64> {
        let mut world = locked(&self.world);
        world.call()?;
        Ok(world.random.u64(..))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = locked(&self.disk.world);
        if world.life == self.life {
            world.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
    life: u64,
}

impl SimFile {
    /// One call on the file's contents, unless the process that opened it is gone.
    fn call<T>(&self, work: impl FnOnce(&mut World, usize) -> io::Result<T>) -> io::Result<T> {
        let mut world = locked(&self.disk.world);
        if world.life != self.life {
            return Err(io::Error::other("this process is dead"));
        }
        world.call()?;
        work(&mut world, self.file)
    }
}

impl StorageFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        self.call(|world, file| Ok(world.files[file].current.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(|world, file| {
            let bytes = world.files[file].current.get(offset as usize..).unwrap_or_default();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let result = self.call(|world, file| {
            let grown = (offset as usize + bytes.len()).saturating_sub(world.files[file].current.len()) as u64;
            let room = world.room();
            let written = if grown > room { bytes.len() - (grown - room) as usize } else { bytes.len() };
            world.files[file].write(&bytes[..written], offset as usize);
            if written < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        if result.is_err() {
            // Any first part of a failed write may have been done.
            let mut world = locked(&self.disk.world);
            let written = world.random.usize(..=bytes.len());
            if world.life == self.life && world.room() > written as u64 {
                world.files[self.file].write(&bytes[..written], offset as usize);
            }
        }
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.call(|world, file| {
            world.files[file].sync();
            Ok(())
        });
        if result.is_err() {
            let mut world = locked(&self.disk.world);
            let World { files, random, life, .. } = &mut *world;
            if *life == self.life {
                files[self.file].sync_badly(random);
            }
        }
        result
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.call(|world, file| {
            let grown = bytes.saturating_sub(world.files[file].current.len() as u64);
            if grown > world.room() {
                return Err(ErrorKind::StorageFull.into());
            }
            if grown > 0 {
                world.files[file].set_length(bytes as usize);
            }
            Ok(())
        })
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.call(|world, file| {
            world.files[file].set_length(bytes as usize);
            Ok(())
        })
    }
}
