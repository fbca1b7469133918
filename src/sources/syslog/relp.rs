//! RELP over TCP and TLS: syslog whose every message is answered.
//!
//! The messages of one read make one batch, and their answers (`rsp`, `200 OK`) are written when it is on
//! disk. Whoever gets no answer sends again on its next connection. Invariant: no answer before the sync.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wharfinger_formats::frame::relp::{self, Relp, RelpFramer};
use wharfinger_formats::frame::{Frame, HEAD_BYTES};

use crate::intake::{AppendError, Frames, Intake, Origin};
use crate::part::SetupError;
use crate::sources::fill::{PIECE_BYTES, fill};
use crate::sources::journal_failed;
use crate::sources::throttle::Throttle;
use crate::sources::weight::Weight;

static MALFORMED: Throttle = Throttle::new();

/// What a frame holds beside its message: numbers, the command, spaces.
const HEADER_BYTES: usize = 64;
/// How long a sender may leave its answers unread.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// With a full journal a sender is shown out after this time, before it counts the session as dead (rsyslog: 90 s).
const FULL_PAUSE: Duration = Duration::from_secs(5);
/// What we are and can, in answer to what the sender offers.
const OFFERS: &str =
    concat!("200 OK\nrelp_version=0\nrelp_software=wharfinger,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog");

/// One connection, until it is closed or `stop`.
pub(super) async fn follow(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    origin: Origin,
    message_bytes_max: usize,
    intake: Intake,
    stop: CancellationToken,
) -> Result<(), SetupError> {
    let frame_bytes_max = message_bytes_max.saturating_add(HEADER_BYTES);
    let mut frames = intake.frames(origin);
    let mut session = Session { framer: RelpFramer::new(frame_bytes_max), stage: Stage::New, answers: Vec::new() };
    let mut buffer = Vec::new();
    loop {
        let open = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            read = fill(&mut stream, &mut buffer, PIECE_BYTES.max(frame_bytes_max)) => read.unwrap_or_else(|error| {
                tracing::debug!(peer = %frames.origin().peer, %error, "connection broke");
                false
            }),
        };
        loop {
            let more = session.take(&mut buffer, &intake, &mut frames);
            match intake.try_append(&mut frames).await {
                Ok(()) => {}
                Err(AppendError::Full { .. }) => {
                    // The sender has it all, and after a while would send it again beside what waits here.
                    session.answers.clear();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(FULL_PAUSE) => {}
                    }
                    session.reply(0, "serverclose", "");
                    session.answer(&mut stream).await;
                    let _ = stream.shutdown().await;
                    return Ok(());
                }
                Err(error) => return Err(journal_failed(error)),
            }
            if !more {
                break;
            }
            if !session.answer(&mut stream).await {
                return Ok(());
            }
        }
        if !open && session.stage != Stage::Closed {
            // A hint that no answer will come any more; what is left in the buffer has none.
            session.reply(0, "serverclose", "");
        }
        if !session.answer(&mut stream).await || !open || session.stage == Stage::Closed {
            let _ = stream.shutdown().await;
            return Ok(());
        }
    }
}

/// What was said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    Closed,
}

struct Session {
    framer: RelpFramer,
    stage: Stage,
    /// To be written when what they are about is on disk.
    answers: Vec<u8>,
}

impl Session {
    /// Hands the messages of the buffer to intake and leaves what is no whole frame yet. True when the batch
    /// is full and there may be more.
    fn take(&mut self, buffer: &mut Vec<u8>, intake: &Intake, frames: &mut Frames) -> bool {
        let mut at = 0;
        let mut weight = Weight::default();
        while !weight.is_full() && self.stage != Stage::Closed {
            let rest = &buffer[at..];
            match self.framer.next(rest) {
                Frame::Complete { start, end, used } | Frame::Truncated { start, end, used } => {
                    self.frame(&rest[start..end], None, intake, frames);
                    weight.add(end - start);
                    at += used;
                }
                Frame::TooLong { used, bytes_total } => {
                    let head = self.framer.head().to_vec();
                    self.frame(&head, Some(bytes_total), intake, frames);
                    weight.add(head.len());
                    at += used;
                }
                Frame::NeedMore { used } => {
                    buffer.drain(..at + used);
                    return false;
                }
                Frame::Malformed(error) => {
                    // What cannot be cut is kept by its head, as an event that says so.
                    intake.take(frames, &rest[..rest.len().min(HEAD_BYTES)]);
                    if let Some(connections) = MALFORMED.speak() {
                        let peer = &frames.origin().peer;
                        tracing::warn!(%peer, %error, connections, "connection closed: no frame can be found in it");
                    }
                    self.stage = Stage::Closed;
                }
            }
        }
        buffer.drain(..at);
        self.stage != Stage::Closed
    }

    /// One frame; of one that is too long its head and how many bytes it had.
    fn frame(&mut self, frame: &[u8], bytes_total: Option<u64>, intake: &Intake, frames: &mut Frames) {
        // The framer has read numbers and command already.
        let Some(Relp { txnr, command, data }) = relp::parse(frame) else { return };
        match (command, self.stage) {
            ("open", _) => {
                self.stage = Stage::Open;
                self.reply(txnr, "rsp", OFFERS);
            }
            ("syslog", Stage::Open) => {
                match bytes_total {
                    Some(total) => {
                        // Its header and its line end.
                        let around = (frame.len() - data.len() + 1) as u64;
                        intake.take_oversize(frames, data, total.saturating_sub(around));
                    }
                    None => intake.take(frames, data.strip_suffix(b"\n").unwrap_or(data)),
                }
                self.reply(txnr, "rsp", "200 OK");
            }
            ("close", _) => {
                self.reply(txnr, "rsp", "");
                self.reply(0, "serverclose", "");
                self.stage = Stage::Closed;
            }
            ("syslog", _) => {
                self.reply(txnr, "rsp", "500 open the session first");
                self.stage = Stage::Closed;
            }
            _ => self.reply(txnr, "rsp", "500 the command is not known"),
        }
    }

    fn reply(&mut self, txnr: u32, command: &str, text: &str) {
        relp::write(&Relp { txnr, command, data: text.as_bytes() }, &mut self.answers);
    }

    /// Writes what is to be answered. False when the sender takes no answer.
    async fn answer(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> bool {
        let write = async {
            stream.write_all(&self.answers).await?;
            stream.flush().await
        };
        let written = tokio::time::timeout(ANSWER_MAX, write).await;
        self.answers.clear();
        matches!(written, Ok(Ok(())))
    }
}
