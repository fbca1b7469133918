//! The Merkle root of an object's lines, made while they come.

use super::merkle::{Hash, Tree, leaf};

/// Lines so far, without their ends.
#[derive(Debug, Clone, Default)]
pub struct Leaves {
    tree: Tree,
}

impl Leaves {
    /// Adds a line without its end.
    pub fn add(&mut self, line: &[u8]) {
        self.tree.push(leaf(line));
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.tree.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tree.size() == 0
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }
}
