//! How connectors follow the feed of changes.

use std::time::Duration;

use branchline_node::feed::{Consumer, FeedError, FeedPage, PageBounds};
use tokio::time::Instant;

/// What is taken from the feed at a time.
pub(crate) const PAGE: PageBounds = PageBounds { items_max: 1_000, bytes_max: 4 * 1024 * 1024 };

/// Waits for what the feed says next, at most `patience`.
pub(crate) async fn something(
    feed: &mut Option<Consumer>,
    patience: Duration,
) -> Result<Option<FeedPage>, FeedError> {
    match feed {
        Some(feed) => feed.next_page(PAGE, Instant::now() + patience).await.map(Some),
        None => {
            tokio::time::sleep(patience).await;
            Ok(None)
        }
    }
}
