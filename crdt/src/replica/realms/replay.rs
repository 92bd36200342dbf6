//! What the journal says of realms, when the tables are made of it.

use super::Realms;
use crate::format::codec;
use crate::log::fork::ForkProof;
use crate::membership::{Genesis, SpaceDocument};
use crate::replica::batch::Batch;
use crate::replica::batch::seal::Named;
use crate::replica::batch::stage::Stage;
use crate::replica::group::REPLAY_BYTES;
use crate::replica::outbox::Outbox;
use crate::store::frame::Frame;
use crate::store::tables::logs;
use crate::store::{Store, StoreError};

impl Realms {
    /// Takes up all frames that are no entries, ahead of these: forks say which log an entry is in.
    pub(in crate::replica) fn replay_others_ahead(
        &mut self,
        store: &mut impl Store,
        batch: &mut Batch,
        out: &mut Outbox,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let frames = store.scan_journal(after, REPLAY_BYTES)?;
            let Some((last, _)) = frames.last() else { return Ok(()) };
            after = Some(*last);
            for (_, frame) in &frames {
                if let Ok(frame) = Frame::read(frame) {
                    self.replay_other(store, batch, out, &frame)?;
                }
            }
        }
    }

    /// Takes up what a frame says of realms that is no entry: what one began with, or the proof of a fork.
    pub(in crate::replica) fn replay_other(
        &mut self,
        store: &mut impl Store,
        batch: &mut Batch,
        out: &mut Outbox,
        frame: &Frame<'_>,
    ) -> Result<(), StoreError> {
        match frame {
            Frame::Genesis(content) => {
                let genesis = codec::decode::<Genesis>("genesis document", content);
                if let Ok(genesis) = genesis
                    && self.genesis().is_none()
                {
                    self.learn_genesis(out, genesis.clone());
                    batch.found(genesis);
                }
                Ok(())
            }
            Frame::Space(content) => {
                if let Ok(document) = codec::decode::<SpaceDocument>("space document", content)
                    && self.members_of(document.realm()).is_none()
                {
                    self.know_space(out, document.clone());
                    batch.bring_space(document);
                }
                Ok(())
            }
            Frame::Fork(content) => self.replay_fork(store, content),
            Frame::Entry(_) => Ok(()),
        }
    }

    fn replay_fork(&mut self, store: &mut impl Store, content: &[u8]) -> Result<(), StoreError> {
        let Ok(fork) = codec::decode::<ForkProof>("fork", content) else { return Ok(()) };
        // Another program's proofs may be of two entries that do not follow the same one, which says nothing of where.
        let Some(fork) = ForkProof::new(fork.lower, fork.higher) else { return Ok(()) };
        let logs = self.logs_mut(fork.lower.0.space);
        if logs.is_some_and(|logs| logs.forks.learn(&fork)) {
            store.apply(logs::fork_rows(&fork).into(), None)
        } else {
            Ok(())
        }
    }

    /// Takes up how far the logs of a group go, now that it is durable. `named`: by this site's own entries.
    pub(in crate::replica) fn note_group(&mut self, stage: &Stage, named: &Named) {
        for ((space, author), row) in &stage.logs {
            if let Some(logs) = self.logs_mut(*space) {
                logs.note(*author, *row);
            }
        }
        for ((space, of, author), seq) in &named.logs {
            if let Some(logs) = self.logs_mut(*space) {
                logs.named.insert((*of, *author), *seq);
            }
        }
        for ((space, of), turn) in &named.all {
            if let Some(logs) = self.logs_mut(*space) {
                logs.named_all.insert(*of, *turn);
            }
        }
        for ((space, of, author), seq) in &stage.covered {
            if let Some(logs) = self.logs_mut(*space) {
                let covered = logs.covered.entry((*of, *author)).or_insert(0);
                *covered = (*seq).max(*covered);
            }
        }
    }
}
