//! A process that a test starts: its output kept and waited for, killed when the value is dropped.
//!
//! Invariant: nothing a test starts outlives it, and when a test fails what the process said is
//! printed.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many lines of a process's output are shown when a test fails, and how many characters of each: few enough
/// that who sees only the end of a run's output still sees why the test failed.
const LINES_SHOWN: usize = 40;
const COLUMNS_SHOWN: usize = 200;

/// A running child process.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

/// What the process wrote to stdout and stderr, line by line.
#[derive(Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    streams_closed: usize,
}

impl Process {
    /// Starts `command` with both output streams collected and nothing on stdin.
    pub fn start(name: &str, command: &mut Command) -> Process {
        Process::start_with_input(name, command, Stdio::null())
    }

    /// Starts `command` so that it ends with this test binary, however that ends, and then removes
    /// `folder`. For peers that all tests of a binary share: a `static` is never dropped.
    pub fn start_shared(name: &str, folder: &Path, command: &Command) -> Process {
        // The shell's stdin is a pipe whose other end we hold: it closes when this process is gone.
        let script = r#"folder=$1; shift; "$@" </dev/null & child=$!; exec >/dev/null 2>&1
            read -r _; kill -TERM "$child"; wait "$child"; rm -rf --one-file-system "$folder""#;
        let mut minder = Command::new("sh");
        minder.args(["-c", script, "minder"]).arg(folder).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            minder.env(key, value.unwrap_or_default());
        }
        if let Some(directory) = command.get_current_dir() {
            minder.current_dir(directory);
        }
        Process::start_with_input(name, &mut minder, Stdio::piped())
    }

    fn start_with_input(name: &str, command: &mut Command, stdin: Stdio) -> Process {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} (`{command:?}`): {error}; run tests/setup-peers"));
        let output = Arc::new(Output::default());
        output.collect(child.stdout.take().expect("stdout is piped"));
        output.collect(child.stderr.take().expect("stderr is piped"));
        Process { name: name.to_owned(), child, output }
    }

    /// The memory that it has now, in KiB.
    pub fn rss_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line for its memory");
        line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `found` answers for a line of the output; panics when the process ends before
    /// or the time is over.
    pub fn wait_for<T>(&self, what: &str, within: Duration, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        let mut state = self.output.lines();
        let mut seen = 0;
        loop {
            while let Some(line) = state.lines.get(seen) {
                if let Some(answer) = found(line) {
                    return answer;
                }
                seen += 1;
            }
            assert!(state.streams_closed < 2, "{} ended before {what}:\n{}", self.name, tail(&state.lines));
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{}: no {what} within {within:?}:\n{}", self.name, tail(&state.lines));
            state = self.output.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until something accepts connections on that port of the loopback interface.
    pub fn wait_for_port(&self, port: u16, within: Duration) {
        eventually(&format!("{} listens on port {port}", self.name), within, || {
            assert!(!self.has_closed_output(), "{} ended at start:\n{}", self.name, self.log());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }

    /// Both its streams are closed: it has ended, or is about to.
    pub fn has_closed_output(&self) -> bool {
        self.output.lines().streams_closed == 2
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        let name = self.name.clone();
        eventually(&format!("{name} ends after SIGTERM"), within, || self.child.try_wait().expect("wait for child"))
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(status.expect("run kill").success(), "cannot signal {}", self.name);
    }

    /// kill -9, at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill child");
        self.child.wait().expect("wait for child");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("wait for child")
    }

    /// Everything the process said so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines().lines.clone()
    }

    /// It has said so.
    pub fn said(&self, text: &str) -> bool {
        self.output.lines().lines.iter().any(|line| line.contains(text))
    }

    /// The end of what the process said so far, for people.
    pub fn log(&self) -> String {
        tail(&self.output.lines().lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.log());
        }
    }
}

impl Output {
    fn collect(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                output.change(|state| state.lines.push(text));
                line.clear();
            }
            output.change(|state| state.streams_closed += 1);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines());
        self.changed.notify_all();
    }

    /// The lines, also after a test panicked with them in its hands: what the process said is
    /// printed then, and a second panic would hide the first.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tail(lines: &[String]) -> String {
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    let cut = |line: &String| line.chars().take(COLUMNS_SHOWN).collect::<String>();
    shown.iter().map(cut).collect::<Vec<_>>().join("\n")
}

/// Asks again and again until there is an answer; panics with `what` when the time is over.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port of the loopback interface nobody listens on, for peers that cannot choose one themselves.
/// Below the range the kernel gives to outgoing connections, so that none takes it meanwhile.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time start at different places.
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).expect("below COUNT");
    loop {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
