//! Gossip on topics of this site's, and no other. Gossipsub keeps a message of a foreign topic for seconds, since nobody
//! judges it: a member that sends many of them would fill the memory.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash};

/// The topics that are read here. Clones share them.
#[derive(Clone, Default)]
pub(super) struct OwnTopics(Arc<RwLock<BTreeSet<TopicHash>>>);

impl OwnTopics {
    pub(super) fn add(&self, topic: TopicHash) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(topic);
    }

    fn contains(&self, topic: &TopicHash) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }
}

impl DataTransform for OwnTopics {
    fn inbound_transform(&self, message: RawMessage) -> io::Result<Message> {
        let RawMessage { source, data, sequence_number, topic, .. } = message;
        if self.contains(&topic) {
            Ok(Message { source, data, sequence_number, topic })
        } else {
            Err(io::Error::other("nobody here reads that topic"))
        }
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}
