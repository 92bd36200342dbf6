//! What a program asks the replica's thread that takes it moments.

use std::collections::BTreeMap;

use branchline_crdt::ids::{SiteId, SpaceId};
use branchline_crdt::log::receipt::Receipt;

use crate::driver::{Driver, Message};
use crate::handle::{Handle, Stopped};
use crate::peers::heard::HeardAt;
use crate::peers::others::Standing;

impl Handle {
    /// Has the replica's thread look at what it holds: for moments, since everything else waits.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.ask(|reply| {
            Message::Look(Box::new(|driver| {
                // Nobody may be waiting any more.
                let _ = reply.send(look(driver));
            }))
        })
        .await
    }

    /// When each other site was last heard, by this machine's clock.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn heard(&self) -> Result<BTreeMap<SiteId, HeardAt>, Stopped> {
        self.look(Driver::heard).await
    }

    /// The latest receipt of each site in a space of records.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn receipts_of(&self, space: SpaceId) -> Result<BTreeMap<SiteId, Receipt>, Stopped> {
        self.look(move |driver| driver.replica().realms().receipts_of(space)).await
    }

    /// How this site stands in its network.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn standing(&self) -> Result<Standing, Stopped> {
        Ok(self.look(Driver::seen).await?.standing)
    }
}
