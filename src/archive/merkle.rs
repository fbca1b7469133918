//! The Merkle tree of RFC 6962 §2.1: one hash over many pieces, in order, of which each can be proved alone.
//!
//! Invariant: a leaf and an inner node are never hashed alike (0x00 and 0x01 stand before them).

use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The hash of a leaf.
pub(super) fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that grows at its end. It keeps the roots of its full parts alone: at most 64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// From the largest part to the smallest: one for each bit of `size`.
    peaks: Vec<Hash>,
}

impl Tree {
    /// A tree as it was: none if there is not one peak for each bit of the size.
    pub(super) fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Tree> {
        (size.count_ones() as usize == peaks.len()).then_some(Tree { size, peaks })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf: a line without its end, the text of a seal.
    pub fn add(&mut self, bytes: &[u8]) {
        self.push(leaf(bytes));
    }

    /// Adds the hash of a leaf.
    pub(super) fn push(&mut self, leaf: Hash) {
        let mut joined = leaf;
        // Each part as large as what is behind it becomes one with it.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                joined = node(&left, &joined);
            }
        }
        self.peaks.push(joined);
        self.size += 1;
    }

    /// The root. That of no leaves is the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return sha256(b"") };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// What proves that a leaf stands at `index`: the roots of the parts beside its way up.
pub(super) fn proof(leaves: &[Hash], index: usize) -> Vec<Hash> {
    let mut beside = Vec::new();
    let (mut part, mut index) = (leaves, index);
    while part.len() > 1 && index < part.len() {
        let (left, right) = part.split_at(part.len().next_power_of_two() / 2);
        let (own, other) = if index < left.len() {
            (left, right)
        } else {
            index -= left.len();
            (right, left)
        };
        beside.push(root_of(other));
        part = own;
    }
    beside.reverse();
    beside
}

/// The root that a proof leads to; none if the proof has not the length it must have.
pub(super) fn root_from(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    let (mut at, mut last) = (index, size.checked_sub(1).filter(|last| index <= *last)?);
    let mut root = leaf;
    for beside in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = node(beside, &root);
            // A node without a right neighbour moves up as it is.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            root = node(&root, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// What proves that a tree has grown by these leaves and is otherwise the same (RFC 6962 §2.1.2).
pub(super) fn consistency(before: &Tree, leaves: &[Hash]) -> Vec<Hash> {
    let mut proof = Vec::new();
    let size = before.size + leaves.len() as u64;
    Grown { before, leaves }.subproof(before.size, 0, size, true, &mut proof);
    proof
}

/// A tree as it was, and what it has grown by.
struct Grown<'t> {
    before: &'t Tree,
    leaves: &'t [Hash],
}

impl Grown<'_> {
    /// `SUBPROOF(old, D[from:to], is_whole)`.
    fn subproof(&self, old: u64, from: u64, to: u64, is_whole: bool, proof: &mut Vec<Hash>) {
        let size = to - from;
        if old == size {
            if !is_whole {
                proof.extend(self.root(from, to));
            }
            return;
        }
        let middle = from + size.next_power_of_two() / 2;
        if old <= middle - from {
            self.subproof(old, from, middle, is_whole, proof);
            proof.extend(self.root(middle, to));
        } else {
            self.subproof(old - (middle - from), middle, to, false, proof);
            proof.extend(self.root(from, middle));
        }
    }

    /// The root of a part: one of those that were full before, or of new leaves alone. A proof needs no other.
    fn root(&self, from: u64, to: u64) -> Option<Hash> {
        let size = self.before.size;
        if from >= size {
            let place = usize::try_from(from - size).ok()?..usize::try_from(to - size).ok()?;
            return self.leaves.get(place).map(root_of);
        }
        // Parts stand in the order of the bits of the size, from the highest.
        let part = to - from;
        let is_full = part.is_power_of_two() && size & part != 0;
        is_full.then(|| self.before.peaks.get((size >> part.ilog2() >> 1).count_ones() as usize).copied())?
    }
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 6962 §2.1 as it is written there.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition_and_every_leaf_is_proved_by_it() {
        let leaves: Vec<Hash> = (0_u8..70).map(|byte| leaf(&[byte])).collect();
        for size in 0..leaves.len() {
            let leaves = &leaves[..size];
            let root = by_definition(leaves);
            assert_eq!(root_of(leaves), root, "{size}");
            for (index, leaf) in leaves.iter().enumerate() {
                let proof = proof(leaves, index);
                let lead = |index: usize, size: usize| root_from(*leaf, index as u64, size as u64, &proof);
                assert_eq!(lead(index, size), Some(root), "{index} of {size}");
                assert_ne!(lead(index ^ 1, size), Some(root), "another place");
                assert_ne!(root_from([7; 32], index as u64, size as u64, &proof), Some(root), "another leaf");
            }
        }
        assert_eq!(root_from(leaves[0], 0, 0, &[]), None);
        assert_eq!(root_from(leaves[0], 0, 1, &[leaves[1]]), None, "a proof that is too long");
    }

    /// RFC 6962 §2.1.2 as it is written there.
    fn subproof(old: usize, leaves: &[Hash], is_whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if is_whole { Vec::new() } else { vec![by_definition(leaves)] };
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        if old <= left.len() {
            [subproof(old, left, is_whole), vec![by_definition(right)]].concat()
        } else {
            [subproof(old - left.len(), right, false), vec![by_definition(left)]].concat()
        }
    }

    #[test]
    fn growth_is_proved_as_the_definition_says() {
        let leaves: Vec<Hash> = (0_u8..70).map(|byte| leaf(&[byte])).collect();
        for old in 1..leaves.len() {
            let mut before = Tree::default();
            leaves[..old].iter().for_each(|leaf| before.push(*leaf));
            for size in old..=leaves.len() {
                let expected = subproof(old, &leaves[..size], true);
                assert_eq!(consistency(&before, &leaves[old..size]), expected, "{old} to {size}");
            }
        }
    }

    #[test]
    fn a_tree_goes_on_from_its_peaks() {
        let mut whole = Tree::default();
        for byte in 0_u8..40 {
            assert_eq!(Tree::from_peaks(whole.size(), whole.peaks().to_vec()), Some(whole.clone()));
            whole.push(leaf(&[byte]));
        }
        assert_eq!(Tree::from_peaks(7, vec![[0; 32]; 2]), None, "three parts of 4, 2 and 1 leaves");
    }
}
