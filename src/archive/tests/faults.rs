//! Disks and stores that fail between two steps: what was begun is ended, or was never there.

use super::*;

/// The checkpoint behind a change of keys goes out also where the store was down for any of its steps.
#[test]
fn a_checkpoint_is_answered_however_late_the_store_took_it() {
    for nth in 1..=3 {
        for (happens, with_crash) in [(false, false), (false, true), (true, false), (true, true)] {
            let dir = scratch();
            let puts_left = Arc::new(AtomicU64::new(u64::MAX));
            let (root, left) = (dir.path().to_owned(), Arc::clone(&puts_left));
            let stores: OpenStore = Arc::new(move |folder| {
                let inner = Dir::new(root.join(folder));
                Arc::new(Failing { inner, puts_left: Arc::clone(&left), happens })
            });
            let mut chain = open(dir.path(), Time(BEGIN), stores.clone()).unwrap();
            chain.seal(&object(7, 3, Time(BEGIN)), Vec::new(), Time(BEGIN)).unwrap();
            puts_left.store(nth, Relaxed);
            // A day later the key changes: a seal, and a checkpoint over it.
            let (mut later, mut answered) = (BEGIN + 24 * 60 * MINUTE, None);
            for _ in 0..4 {
                later += MINUTE;
                match chain.tick(Time(later), false) {
                    Ok(checkpoint) => answered = answered.or(checkpoint),
                    Err(_) if with_crash => {
                        drop(chain);
                        chain = open(dir.path(), Time(later), stores.clone()).unwrap();
                    }
                    Err(_) => {}
                }
            }
            let written = Dir::new(dir.path().join("audit")).keys("checkpoint").unwrap();
            assert_eq!(written.len(), 1, "{nth} {happens} {with_crash}");
            let text = fs::read_to_string(dir.path().join("audit").join(&written[0].0)).unwrap();
            assert_eq!(answered, Some(text), "{nth} {happens} {with_crash}");
        }
    }
}

/// A list of what is to be put whose object never came must not be read beside the next object.
#[test]
fn what_was_staged_in_part_is_not_put_beside_another_object() {
    let mut stream = Stream::begin(1);
    stream.object();
    let (state, now) = (stream.dir.path().join("state"), stream.now);
    // The list of an object that goes no further than this machine.
    let root = stream.root();
    fs::rename(&root, root.with_extension("away")).unwrap();
    fs::write(&root, "a disk that takes nothing").unwrap();
    let first = object(stream.next, 3, now);
    stream.chain.seal(&first, Vec::new(), now).unwrap_err();
    let left = fs::read(state.join("outbox/pending.json")).unwrap();
    fs::remove_file(&root).unwrap();
    fs::rename(root.with_extension("away"), &root).unwrap();
    stream.chain.flush().unwrap();
    // It is there again, as after a sync that failed behind the rename; the next object cannot be listed.
    fs::write(state.join("outbox/pending.json"), left).unwrap();
    fs::create_dir(state.join("outbox/pending.part")).unwrap();
    let second = object(stream.next + 3, 5, now);
    stream.chain.seal(&second, Vec::new(), now).unwrap_err();
    drop(stream.chain);
    fs::remove_dir(state.join("outbox/pending.part")).unwrap();
    stream.chain = open(stream.dir.path(), now, stores(stream.dir.path())).unwrap();
    stream.chain.seal(&second, Vec::new(), now).unwrap();
    let report = stream.report(&[]);
    assert_eq!((report.verdict(), report.objects), (Verdict::Good, 3), "{:?}", report.findings);
}
