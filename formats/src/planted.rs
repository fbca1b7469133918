//! Planted bugs: mistakes that somebody could make, built in on purpose to see that the fuzz targets find
//! them. A target that never failed proves nothing.
//!
//! `planted!("cef")` stands in the code where the mistake of the target `cef` would be, and
//! `planted!("leef" => { … })` before the code that would not have made it. They are only there with the
//! feature `planted`, and even then only once [`plant`] was told which; in every other build they are the
//! constant `false`, and nothing.

#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:literal => $mistake:block) => {
        if $crate::planted::is_planted($bug) $mistake
    };
    ($bug:literal) => {
        $crate::planted::is_planted($bug)
    };
}

#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($bug:literal => $mistake:block) => {};
    ($bug:literal) => {
        false
    };
}

#[cfg(feature = "planted")]
pub use present::{is_planted, plant};

#[cfg(feature = "planted")]
mod present {
    use std::sync::OnceLock;

    static PLANTED: OnceLock<String> = OnceLock::new();

    /// Makes the mistake of that name from now on; only the first call counts.
    pub fn plant(bug: &str) {
        PLANTED.get_or_init(|| bug.to_owned());
    }

    /// Whether this program makes that mistake.
    pub fn is_planted(bug: &str) -> bool {
        PLANTED.get().is_some_and(|planted| planted == bug)
    }
}
