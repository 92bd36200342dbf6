//! What takes many turns: the entries of others, which may change tens of thousands of records at once. Between two steps
//! everybody else is served.

use std::collections::VecDeque;

use branchline_crdt::bundle::MergePiece;
use branchline_crdt::ids::SiteId;
use branchline_crdt::protocol::prepare::Prepared;
use branchline_crdt::replica::{MergeError, Merged};
use branchline_crdt::store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Driver, Message};

/// Entries of others that are yet to be taken in.
#[derive(Default)]
pub(super) struct Intake {
    /// As many as there is room for, which the one who prepares them sees to.
    answers: VecDeque<(Prepared, Option<OwnedSemaphorePermit>)>,
    /// One of each request that merges a bundle: the next comes once this one is answered.
    pieces: VecDeque<Piece>,
}

/// A piece of a bundle.
struct Piece {
    maker: SiteId,
    piece: Box<MergePiece>,
    reply: oneshot::Sender<Result<Merged, MergeError>>,
}

impl Intake {
    pub(super) fn add_answer(&mut self, prepared: Prepared, room: Option<OwnedSemaphorePermit>) {
        self.answers.push_back((prepared, room));
    }

    pub(super) fn add_piece(
        &mut self,
        maker: SiteId,
        piece: Box<MergePiece>,
        reply: oneshot::Sender<Result<Merged, MergeError>>,
    ) {
        self.pieces.push_back(Piece { maker, piece, reply });
    }

    /// Anyone who waits for an answer gets none.
    pub(super) fn drop_pieces(&mut self) {
        self.pieces.clear();
    }
}

impl Driver {
    /// Whether there is more to take in.
    pub(super) fn has_intake(&self) -> bool {
        let Intake { answers, pieces } = &self.intake;
        self.replica.is_taking() || !answers.is_empty() || !pieces.is_empty()
    }

    /// Goes on for one step; for more while nobody waits, up to the end of an answer, so that they share one commit.
    pub(super) fn go_on(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
    ) -> Result<(), StoreError> {
        loop {
            if !self.replica.is_taking() {
                if !self.intake.pieces.is_empty() {
                    return self.go_on_merging();
                }
                let Some((prepared, _room)) = self.intake.answers.pop_front() else { break };
                self.replica.begin_taking(prepared);
            }
            self.replica.go_on_taking(Self::now(self.started))?;
            let is_enough = !self.replica.is_taking() || self.replica.is_group_full();
            if is_enough || !messages.is_empty() {
                break;
            }
        }
        self.replica.commit()?;
        Ok(())
    }

    /// One step of what a bundle brings, which ends with a commit of its own.
    fn go_on_merging(&mut self) -> Result<(), StoreError> {
        let now = Self::now(self.started);
        let Some(mut waiting) = self.intake.pieces.pop_front() else { return Ok(()) };
        if !self.replica.foresee_merge(&mut waiting.piece, now)? {
            self.intake.pieces.push_front(waiting);
            return Ok(());
        }
        let Piece { maker, piece, reply } = waiting;
        let merged = self.replica.merge(maker, *piece, now)?;
        let _ = reply.send(merged);
        Ok(())
    }
}
