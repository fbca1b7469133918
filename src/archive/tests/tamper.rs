//! Every known way to tamper with a stream, and any change of any file of it.

use super::super::seal::Data;
use super::*;

/// The kinds of tampering that are seen without an anchor, each with the fault that is found first.
pub(super) const TAMPERS: [(&str, Fault); 10] = [
    ("a byte flipped", Fault::Altered),
    ("an object deleted", Fault::Missing),
    ("an object and its seal deleted", Fault::Missing),
    ("objects swapped", Fault::Altered),
    ("seals swapped", Fault::Missing),
    ("a foreign object", Fault::Foreign),
    ("a seal edited", Fault::Signature),
    ("the tail cut", Fault::End),
    ("re-signed with a foreign key", Fault::Signature),
    ("an old epoch re-signed with the present key", Fault::Signature),
];

fn swap(one: &Path, other: &Path) {
    let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, second).unwrap();
    fs::write(other, first).unwrap();
}

pub(super) fn tamper(stream: &mut Stream, how: usize) {
    let objects = stream.objects();
    let last = objects.len() - 1;
    // Not the last: without it the end would not be proved either.
    let one = stream.random.usize(..last);
    let (seal, object, read) = &objects[one];
    match how {
        0 => {
            let mut bytes = fs::read(object).unwrap();
            let at = stream.random.usize(..bytes.len());
            bytes[at] ^= 1 << stream.random.u32(..8);
            fs::write(object, bytes).unwrap();
        }
        1 => fs::remove_file(object).unwrap(),
        2 => {
            fs::remove_file(object).unwrap();
            fs::remove_file(seal).unwrap();
        }
        3 => swap(object, &objects[last].1),
        // Two under one key: else the signature tells first.
        4 => swap(&objects[last - 2].0, &objects[last - 1].0),
        5 => fs::copy(object, object.with_file_name("999999999999.ndjson.zst")).map(drop).unwrap(),
        6 => {
            let text = fs::read_to_string(seal).unwrap();
            fs::write(seal, text.replace("dropped=0", "dropped=1")).unwrap();
        }
        7 => {
            let size = objects[last - 1].2.seq;
            for (path, seal) in stream.seals().iter().filter(|(_, seal)| seal.seq >= size) {
                if let Body::Data(data) = &seal.body {
                    fs::remove_file(stream.root().join(&data.object)).unwrap();
                }
                fs::remove_file(path).unwrap();
            }
            for (key, _) in Dir::new(stream.root()).keys("checkpoint").unwrap() {
                if key.rsplit('/').next().unwrap().parse::<u64>().unwrap() > size {
                    fs::remove_file(stream.root().join(key)).unwrap();
                }
            }
            stream.now.0 += 15 * MINUTE;
        }
        8 => {
            let key = SigningKey::generate(stream.key.name()).unwrap();
            fs::write(seal, sign(&read.to_string(), &[&key]).unwrap()).unwrap();
        }
        9 => {
            let key = stolen(stream);
            let old: Vec<_> = objects.iter().filter(|(.., seal)| seal.epoch == 0).collect();
            let (path, _, seal) = old[stream.random.usize(..old.len())];
            fs::write(path, sign(&seal.to_string(), &[&key]).unwrap()).unwrap();
        }
        _ => unreachable!(),
    }
}

#[test]
fn every_kind_of_tampering_is_told_apart() {
    for seed in 0..100 {
        let original = Stream::random(seed);
        let before = original.report(&[]);
        assert_eq!(before.verdict(), Verdict::Good, "seed {seed}: {:?}", before.findings);
        for (how, (name, fault)) in TAMPERS.iter().enumerate() {
            let mut stream = original.copy();
            tamper(&mut stream, how);
            let report = stream.report(&[]);
            assert_eq!(report.verdict(), Verdict::Bad(*fault), "seed {seed}, {name}: {:?}", report.findings);
        }
    }
}

#[test]
fn any_change_of_any_file_is_found() {
    let original = Stream::random(77);
    assert_eq!(original.report(&[]).verdict(), Verdict::Good);
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let stream = original.copy();
        let store = Dir::new(stream.root());
        let keys: Vec<_> =
            ["data", "seal", "checkpoint"].iter().flat_map(|folder| store.keys(folder).unwrap()).collect();
        let (key, _) = &keys[random.usize(..keys.len())];
        let path = stream.root().join(key);
        let mut bytes = fs::read(&path).unwrap();
        let at = random.usize(..bytes.len());
        match random.u32(0..6) {
            0 => bytes[at] ^= 1 << random.u32(..8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, random.u8(..)),
            3 => bytes.extend_from_slice(&bytes.clone()[at..]),
            4 => bytes = (0..random.usize(..4096)).map(|_| random.u8(..)).collect(),
            _ => fs::copy(&path, path.with_file_name(format!("more-{at}"))).map(drop).unwrap(),
        }
        fs::write(&path, bytes).unwrap();
        let report = stream.report(&[]);
        assert_ne!(report.verdict(), Verdict::Good, "seed {seed}: {key}");
    }
}

/// Who has the present key may sign what he likes; what does not go on from the seal before is seen.
#[test]
fn a_signed_seal_that_does_not_go_on_is_missing_its_neighbour() {
    let stream = Stream::random(12);
    let key = stolen(&stream);
    let (path, _, seal) = stream.objects().pop().unwrap();
    let Body::Data(data) = seal.body.clone() else { panic!("{seal:?}") };
    let later = Data { ingest: (data.ingest.0 + 1, data.ingest.1 + 1), ..data };
    for forged in [Seal { prev: [9; 32], ..seal.clone() }, Seal { body: Body::Data(later), ..seal.clone() }] {
        fs::write(&path, sign(&forged.to_string(), &[&key]).unwrap()).unwrap();
        assert_eq!(faults(&stream.report(&[])), [Fault::Missing], "{forged}");
    }
}
