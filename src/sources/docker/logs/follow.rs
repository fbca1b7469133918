//! One container: its output as it comes, over breaks and restarts of either side.
//!
//! Invariant: where reading stands is stored with the lines before it, and a line is handed on once. A container
//! that runs is never given up: what cannot be read is declared once and asked for again. Nothing but
//! this task waits for the container, and nothing of the container waits for it: the engine reads its own files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::{Event, Field};

use super::super::client::{Call, ClientError, EventStream};
use super::super::glance::{Attributes, SECOND};
use super::super::place::Place;
use super::super::select::Selection;
use super::super::session::at;
use super::cut::{Cut, LogLine};
use super::mark;
use super::reached::{Reached, Resume};
use crate::intake::{Frames, Gap, Intake};
use crate::part::SetupError;
use crate::sources::journal_failed;
use crate::sources::weight::Weight;

/// Longest line; of a longer one so much is kept.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// The engine sends each line by itself: so long they are gathered for one sync.
const GATHER: Duration = Duration::from_millis(20);

/// An engine ends the log of a container before the last line is in its own file, where that has no end: so it is
/// asked once more.
const ASK_AGAIN: Duration = Duration::from_millis(300);

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How following a container has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It has ended, or the gateway is to: where reading stands is stored.
    Read,
    /// The engine does not know it any more.
    Gone,
    /// It is not to be read.
    LeftOut,
}

/// See above.
pub(super) struct Follower {
    pub(super) id: String,
    pub(super) place: Arc<Place>,
    pub(super) selection: Arc<Selection>,
    pub(super) intake: Intake,
    pub(super) frames: Frames,
    /// Where the last answer has ended, with the line that it has left open.
    pub(super) last: Option<(Answer, Described)>,
    /// Why lines cannot be read, as it was declared last; none since there were new ones.
    pub(super) declared: Option<String>,
}

/// What the engine sends after it was asked.
pub(super) struct Answer {
    cut: Cut,
    resume: Resume,
}

/// How an answer has ended.
enum Ended {
    Stopped,
    Broken,
    /// The engine has ended it.
    Whole,
    NotUnderstood,
}

/// Of the answer to `GET /containers/ID/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Described {
    name: String,
    config: Settings,
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    running: bool,
    /// It has ended, and is to be started again: also then it is called running.
    restarting: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Settings {
    image: String,
    tty: bool,
    labels: Option<HashMap<String, String>>,
}

impl Described {
    fn attributes(&self) -> Attributes<'_> {
        let labels = self.config.labels.iter().flatten().map(|(name, value)| (&**name, &**value));
        let all = labels.chain([("name", self.name()), ("image", &*self.config.image)]);
        Attributes::new(all.map(|(name, value)| (name.into(), value.into())).collect())
    }

    fn runs(&self) -> bool {
        self.state.running && !self.state.restarting
    }

    fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }
}

impl Follower {
    /// Reads until the container has ended, or `stop`.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<End, SetupError> {
        let mut backoff = BACKOFF_MIN;
        loop {
            // Who is not asked, or does not say, may run.
            let mut runs = true;
            let Some(opened) = stop.run_until_cancelled(self.open(&mut runs)).await else { return Ok(End::Read) };
            let mut has_news = false;
            match opened {
                Ok(Some((stream, container))) => match self.read(stream, container, &mut has_news, stop).await? {
                    Ended::Stopped => return Ok(End::Read),
                    Ended::Whole if !runs && !has_news => return self.finish().await.map(|()| End::Read),
                    Ended::NotUnderstood if !runs => return Ok(End::Read),
                    // It was asked again meanwhile and still runs: this end is not the container's.
                    Ended::Whole if backoff > BACKOFF_MIN => self.last = None,
                    Ended::Whole | Ended::Broken | Ended::NotUnderstood => {}
                },
                Ok(None) => return Ok(End::LeftOut),
                Err(error) if error.is_absence() => return self.finish().await.map(|()| End::Gone),
                Err(error) if error.is_of_connection() => self.last = None,
                Err(error) => {
                    self.last = None;
                    self.declare_once(format!("cannot be read: {error}")).await?;
                    if error.is_final() || !runs {
                        return Ok(End::Read);
                    }
                }
            }
            let pause = if has_news { ASK_AGAIN } else { backoff.mul_f64(0.5 + fastrand::f64() / 2.0) };
            backoff = if has_news { BACKOFF_MIN } else { (backoff * 2).min(BACKOFF_MAX) };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(End::Read);
            }
        }
    }

    fn reached(&self) -> Reached {
        let stored = self.intake.marked(&mark(&self.id));
        stored.and_then(|stored| Reached::of_bytes(&stored)).unwrap_or_else(|| Reached::nothing(&self.id))
    }

    /// Asks for what was not read so far, and whether the container runs. None: nobody wants it.
    async fn open(&mut self, runs: &mut bool) -> Result<Option<(EventStream, Described)>, ClientError> {
        let mut engine = self.place.connect().await?;
        self.frames.turn_to(at(self.frames.origin(), engine.peer));
        let container: Described = engine.read(Call::Container { id: &self.id }).await?;
        *runs = container.runs();
        if self.selection.leaves_out(&container.attributes()) {
            return Ok(None);
        }
        let since = self.reached().since().0;
        let since = format!("{}.{:09}", since / SECOND, since % SECOND);
        Ok(Some((engine.logs(&self.id, &since).await?, container)))
    }

    /// Takes in lines until the engine ends the stream.
    async fn read(
        &mut self,
        mut stream: EventStream,
        container: Described,
        has_news: &mut bool,
        stop: &CancellationToken,
    ) -> Result<Ended, SetupError> {
        self.last = None;
        let cut = Cut::new(container.config.tty, LINE_BYTES_MAX);
        let mut answer = Answer { cut, resume: Resume::new(self.reached()) };
        let mut weight = Weight::default();
        let mut gathered_at = tokio::time::Instant::now();
        loop {
            let piece = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.append(&mut answer).await?;
                    return Ok(Ended::Stopped);
                }
                piece = stream.next() => piece,
                () = tokio::time::sleep_until(gathered_at), if !self.frames.is_empty() => {
                    weight.clear();
                    self.append(&mut answer).await?;
                    continue;
                }
            };
            let Some(piece) = piece else { break };
            let Answer { cut, resume } = &mut answer;
            let cut_so_far = cut.push(&piece, |line| {
                if resume.is_new(&line) {
                    if self.frames.is_empty() {
                        gathered_at = tokio::time::Instant::now() + GATHER;
                    }
                    *has_news = true;
                    self.declared = None;
                    self.take(&line, &container);
                    weight.add(line.text.len());
                }
            });
            if let Some(told) = answer.cut.take_complaint() {
                self.append(&mut answer).await?;
                self.declare_once(format!("could not be read by the engine: {told}")).await?;
            }
            if let Err(error) = cut_so_far {
                self.append(&mut answer).await?;
                self.declare_once(format!("is not understood: {error}")).await?;
                return Ok(Ended::NotUnderstood);
            }
            if weight.is_full() || answer.resume.has_gap() {
                weight.clear();
                self.append(&mut answer).await?;
            }
        }
        self.append(&mut answer).await?;
        if stream.is_broken {
            return Ok(Ended::Broken);
        }
        self.last = Some((answer, container));
        Ok(Ended::Whole)
    }

    /// There is no more: a line that has no end is one all the same.
    async fn finish(&mut self) -> Result<(), SetupError> {
        let Some((mut answer, container)) = self.last.take() else { return Ok(()) };
        let Answer { cut, resume } = &mut answer;
        cut.finish(|line| {
            if resume.is_new(&line) {
                self.take(&line, &container);
            }
        });
        resume.end();
        self.append(&mut answer).await
    }

    fn take(&mut self, line: &LogLine<'_>, container: &Described) {
        let kept = line.text.len() as u64;
        self.intake.take_made(&mut self.frames, line.text, |event| {
            event.set(Field::EventClass, "container.log");
            event.set(Field::Name, "Container log line");
            event.set(Field::Time, line.time);
            event.set_text(Field::Msg, String::from_utf8_lossy(event.raw()));
            event.set_text(Field::ContainerId, &self.id);
            event.set_text(Field::ContainerName, container.name());
            event.set_text(Field::ImageRef, &container.config.image);
            event.extra("docker", "stream", line.stream.name());
            if line.bytes_total > kept {
                say_cut(line, event);
            }
        });
    }

    /// Stores the lines and where reading stands; first says what is missing before them.
    async fn append(&mut self, Answer { cut, resume }: &mut Answer) -> Result<(), SetupError> {
        if resume.take_gap() {
            let gone = "was rotated or removed before it was read, or the clock was set back";
            self.declare(format!("output of container `{}` {gone}", self.id)).await?;
        }
        resume.advance(cut.open_since());
        self.intake.mark(&mut self.frames, &mark(&self.id), &resume.reached.to_bytes());
        self.intake.append(&mut self.frames).await.map_err(journal_failed)
    }

    /// Declares why lines of the container cannot be read, unless that was the last word on it.
    async fn declare_once(&mut self, why: String) -> Result<(), SetupError> {
        if self.declared.as_ref() != Some(&why) {
            self.declare(format!("the output of container `{}` {why}", self.id)).await?;
            self.declared = Some(why);
        }
        Ok(())
    }

    async fn declare(&self, cause: String) -> Result<(), SetupError> {
        self.intake.declare(self.frames.origin(), &Gap::unknown(cause)).await.map_err(journal_failed)
    }
}

fn say_cut(line: &LogLine<'_>, event: &mut Event<'_>) {
    event.set(Field::ParseStatus, "partial");
    let total = line.bytes_total;
    event.set_text(Field::ParseError, format!("line of {total} bytes is over the limit; its first bytes are kept"));
}
