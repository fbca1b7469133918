//! Which entries the gateway wrote itself: those are left out, or each would make another one.
//!
//! Invariant: decided by what journald says, and by more than a number. Process 7 of another machine, of another
//! boot, or outside of our container is somebody else.

use super::entry;

/// This process, as journald knows it.
#[derive(Debug)]
pub(super) struct Own {
    pid: String,
    /// Of the kernel, which a container shares with its machine.
    boot: String,
    /// The name of the program; another process of our number has another.
    program: String,
    /// What systemd calls this run of the unit, if it started us: known before the program has its name.
    invocation: Option<String>,
}

impl Own {
    /// None: the kernel does not tell, and nothing is left out.
    pub(super) fn of_this_process() -> Option<Own> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let program = std::fs::read_to_string("/proc/self/comm").ok()?;
        Some(Own {
            pid: std::process::id().to_string(),
            boot: boot.trim().replace('-', ""),
            program: program.trim_end().to_owned(),
            invocation: std::env::var("INVOCATION_ID").ok(),
        })
    }

    /// Whether this process wrote the entry.
    pub(super) fn wrote(&self, entry: &[u8]) -> bool {
        let (mut is_pid, mut is_boot, mut is_run) = (false, false, false);
        for (name, value) in entry::fields(entry) {
            match name {
                b"_PID" => is_pid = value == self.pid.as_bytes(),
                b"_BOOT_ID" => is_boot = value == self.boot.as_bytes(),
                b"_COMM" => is_run |= value == self.program.as_bytes(),
                b"_SYSTEMD_INVOCATION_ID" => {
                    is_run |= self.invocation.as_ref().is_some_and(|run| value == run.as_bytes());
                }
                _ => {}
            }
        }
        is_pid && is_boot && is_run
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_this_process_of_this_boot_is_the_gateway() {
        let text = |text: &str| text.to_owned();
        let own = Own { pid: text("1"), boot: text("b0"), program: text("wharfinger"), invocation: Some(text("17")) };
        let check = |entry: &str, expected: bool| assert_eq!(own.wrote(entry.as_bytes()), expected, "{entry}");
        check("_BOOT_ID=b0\n_PID=1\n_COMM=wharfinger\nMESSAGE=x\n", true);
        // The first lines, before the program has its name.
        check("_BOOT_ID=b0\n_PID=1\n_COMM=(harfinger)\n_SYSTEMD_INVOCATION_ID=17\n", true);
        // The machine's first process, where the gateway is the first one of its container.
        check("_BOOT_ID=b0\n_PID=1\n_COMM=systemd\n_SYSTEMD_INVOCATION_ID=18\nMESSAGE=Started x\n", false);
        // Another machine, or the time before a reboot.
        check("_BOOT_ID=b1\n_PID=1\n_COMM=wharfinger\n", false);
        check("_BOOT_ID=b0\n_PID=2\n_COMM=wharfinger\n", false);
        check("MESSAGE=_PID=1\n", false);
    }

    #[test]
    fn this_process_is_known() {
        let own = Own::of_this_process().unwrap();
        assert_eq!(own.boot.len(), 32);
        let entry = format!("_BOOT_ID={}\n_PID={}\n_COMM={}\n", own.boot, own.pid, own.program);
        assert!(own.wrote(entry.as_bytes()));
    }
}
