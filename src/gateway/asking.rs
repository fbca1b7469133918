//! Asks a provider, again and again. Whatever it does, it is over in time.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::identity::{Provider, ProviderConfig, ProviderError, Told};
use crate::part::SetupError;

/// Often enough for everybody, and no server is worn out.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// After a failure it is asked again soon, and then as seldom as ever.
const AGAIN_FIRST: Duration = Duration::from_secs(5);

/// One who is asked.
pub(super) struct Asked {
    provider: Box<dyn Provider>,
    every: Duration,
    timeout: Duration,
}

/// What it said.
pub(super) struct Answer {
    pub(super) at: usize,
    pub(super) told: Result<Told, ProviderError>,
}

impl Asked {
    /// # Errors
    /// It cannot be asked with these options.
    pub(super) fn new(config: &dyn ProviderConfig) -> Result<Asked, SetupError> {
        let (every, timeout) = (config.every().max(EVERY_MIN), config.timeout());
        Ok(Asked { provider: config.open()?, every, timeout })
    }
}

/// Until nobody takes an answer, or the task is ended.
pub(super) async fn ask(at: usize, mut asked: Asked, answers: mpsc::Sender<Answer>) {
    let mut again = AGAIN_FIRST;
    loop {
        let told = tokio::time::timeout(asked.timeout, asked.provider.ask()).await;
        let told = told
            .unwrap_or_else(|_| Err(ProviderError::new(format!("no answer within {} s", asked.timeout.as_secs_f64()))));
        let wait = if told.is_ok() { asked.every } else { again.min(asked.every) };
        again = if told.is_ok() { AGAIN_FIRST } else { again.saturating_mul(2) };
        if answers.send(Answer { at, told }).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}
