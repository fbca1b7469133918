//! With the feature `planted` a target makes the mistake that has its name, to see that it finds it.

/// Makes the mistake, once.
pub(crate) fn plant() {
    #[cfg(feature = "planted")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            let program = std::env::args().next().unwrap_or_default();
            let name = std::path::Path::new(&program).file_name().unwrap_or_default();
            wharfinger_formats::plant(&name.to_string_lossy());
        });
    }
}
