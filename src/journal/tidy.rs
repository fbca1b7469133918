//! Tidy: releases segments that no cursor needs, after syncing what the cursors say.
//!
//! A drained segment becomes the spare one, to be written again: a preallocated file that was
//! written before needs neither new pages nor a transaction of the file system for each sync
//! (measured on ext4: 0.18 ms against 0.31 ms per synced 4 KiB, and unlinking 64 MiB takes 20 ms).
//!
//! Invariant: cursor files first, then the segment.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::catalogue::{Segment, Unsynced};
use super::locked;
use super::segment;
use super::shared::Shared;

/// Releases what may go.
pub(super) fn tidy(shared: &Arc<Shared>) {
    let wanted = shared.wanted.swap(false, Relaxed);
    // What the cursors say now is in their files already; the sync makes it durable.
    let oldest = locked(&shared.catalogue).oldest_needed();
    if !locked(&shared.catalogue).releasable(oldest, wanted) || !(planted!(CursorsNotSynced) || sync_cursors(shared)) {
        return;
    }
    while let Some(segment) = take_oldest(shared, oldest, wanted) {
        if let Err(error) = put_away(shared, &segment) {
            // The next start finds the file, and no cursor that needs it.
            tracing::warn!("segment {} of the journal cannot be removed: {error}", segment.id);
        }
        shared.budget.release(segment.charged);
        if oldest.is_none() {
            break;
        }
    }
    if let Err(error) = shared.storage.sync_dir(&shared.settings.dir) {
        tracing::warn!("the folder `{}` cannot be synced: {error}", shared.settings.dir.display());
    }
}

fn take_oldest(shared: &Shared, oldest: Option<u64>, wanted: bool) -> Option<Segment> {
    let mut catalogue = locked(&shared.catalogue);
    // A cursor that came meanwhile starts at the oldest segment and may need it.
    let oldest = oldest.min(catalogue.oldest_needed()).or(catalogue.oldest_needed());
    if catalogue.releasable(oldest, wanted) { catalogue.segments.pop_front() } else { None }
}

fn put_away(shared: &Shared, segment: &Segment) -> io::Result<()> {
    let path = segment::path(&shared.settings.dir, segment.id);
    let recycle = {
        let catalogue = locked(&shared.catalogue);
        let standard = segment.end >= shared.settings.segment_bytes() / 2;
        standard && catalogue.spare_bytes == 0 && catalogue.segment_bytes() + segment.end <= shared.settings.bytes_max
    };
    if recycle {
        shared.storage.rename(&path, &segment::spare_path(&shared.settings.dir))?;
        locked(&shared.catalogue).spare_bytes = segment.end;
        return Ok(());
    }
    shared.storage.unlink(&path)
}

/// Syncs the cursor files; false if one of them is not durable now.
pub(super) fn sync_cursors(shared: &Arc<Shared>) -> bool {
    let unsynced = locked(&shared.catalogue).unsynced_cursors();
    let mut durable = true;
    for Unsynced { name, generation, file } in unsynced {
        let synced = file.is_some_and(|file| file.sync_data().is_ok());
        let mut catalogue = locked(&shared.catalogue);
        let Some(cursor) = catalogue.cursors.get_mut(&name) else { continue };
        let result = if synced {
            Ok(())
        } else {
            cursor.file.distrust();
            cursor.file.renew(&*shared.storage, cursor.at)
        };
        match result {
            Ok(()) => cursor.file.synced(generation),
            Err(error) => {
                tracing::warn!("the position of `{name}` in the journal cannot be synced: {error}");
                durable = false;
            }
        }
    }
    durable
}
