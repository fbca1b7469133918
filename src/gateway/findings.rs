//! Tells by the clock what findings have to say: that they go on, or that their cause is gone.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::intake::Intake;

/// How often the book of open findings is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Until `stop`.
pub(super) async fn tell(own: Intake, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        if let Err(error) = own.tell_due().await {
            tracing::error!("what a finding has to say cannot be stored: {error}");
        }
    }
}
