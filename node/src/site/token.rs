//! The bearer token that requests at the API's port must carry.

use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::site::{SiteError, SiteFolder};

/// The token of one node, as it is now.
pub(crate) struct Token {
    folder: SiteFolder,
    /// `None`: the node serves no port.
    text: RwLock<Option<String>>,
    replaced: watch::Sender<()>,
}

impl Token {
    /// Opens nothing to anybody until it is read.
    pub(crate) fn of(folder: SiteFolder) -> Self {
        Self { folder, text: RwLock::new(None), replaced: watch::Sender::new(()) }
    }

    /// Reads it from its file.
    pub(crate) fn read(&self) -> Result<(), SiteError> {
        self.set(self.folder.token()?);
        Ok(())
    }

    /// Replaces it by a new one, in its file first. The old one opens nothing any more.
    pub(crate) fn rotate(&self) -> Result<(), SiteError> {
        self.set(self.folder.make_token()?);
        self.replaced.send_replace(());
        Ok(())
    }

    /// Resolves once the token is another than now.
    pub(crate) fn replaced(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut replaced = self.replaced.subscribe();
        async move {
            if replaced.changed().await.is_err() {
                // The node is gone, and the token stays what it was.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns whether these are its bytes, in a time that does not depend on them.
    pub(crate) fn is(&self, found: &[u8]) -> bool {
        let text = self.text.read().unwrap_or_else(PoisonError::into_inner);
        text.as_ref().is_some_and(|text| found.ct_eq(text.as_bytes()).into())
    }

    #[cfg(test)]
    pub(crate) fn from(text: &str) -> Self {
        let token = Self::of(SiteFolder::new("nowhere"));
        token.set(text.to_owned());
        token
    }

    fn set(&self, text: String) {
        // A thread that panicked while holding the lock left the text whole.
        *self.text.write().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}
