//! Decisions of this site as a member: what is written of them.

use super::Batch;
use super::stage::After;
use crate::ids::RealmId;
use crate::membership::{SpaceDocument, check_space_name};
use crate::replica::Output;
use crate::replica::context::Context;
use crate::replica::decision::{Decision, DecisionError};
use crate::replica::realms::Decider;
use crate::store::Store;

/// Private spaces of one site: each has its logs and members in memory.
pub(in crate::replica) const SPACES_MAX: usize = 1024;

impl<S: Store> Context<'_, S> {
    /// As whom this site decides.
    fn decider(&self) -> Decider<'_> {
        Decider { key: self.key, author: self.author }
    }
}

impl Batch {
    /// Makes a decision, on the ground of all that is durable.
    pub(in crate::replica) fn decide<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        id: u64,
        decision: Decision,
    ) {
        let result = self.stage_decision(cx, decision);
        self.then(After::Say(Output::Decided { id, result }));
    }

    /// Stages what is to be written of a decision; nothing where all is as decided.
    fn stage_decision<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        decision: Decision,
    ) -> Result<(), DecisionError> {
        let realms = cx.realms;
        let network = realms.network_to_decide()?;
        let by = cx.decider();
        let (realm, operation) = match decision {
            Decision::Revoke { site } => {
                (network, Some(realms.decide_revocation(by, network, site)?))
            }
            Decision::ChangeRole { site, role } => {
                (network, realms.decide_role(by, network, site, role)?)
            }
            Decision::Rename { site, name } => (network, realms.decide_name(site, name)?),
            Decision::Invite { ticket } => (network, Some(realms.decide_invitation(*ticket)?)),
            Decision::Withdraw { ticket } => (network, Some(realms.decide_withdrawal(ticket)?)),
            Decision::Rotate { to, consents } => {
                let rotated = realms.decide_rotations(by, to, &consents)?;
                self.stage.operations.extend(rotated);
                return Ok(());
            }
            Decision::CreateSpace { name, nonce } => {
                return self.stage_space(cx, network, name, nonce);
            }
            Decision::InSpace { realm, decision } => {
                (realm, realms.decide_in_space(by, realm, decision)?)
            }
        };
        self.stage.operations.extend(operation.map(|operation| (realm, operation)));
        Ok(())
    }

    fn stage_space<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        network: RealmId,
        name: String,
        nonce: [u8; 16],
    ) -> Result<(), DecisionError> {
        cx.realms.require_admin(network)?;
        check_space_name(&name)?;
        if cx.realms.has_space_named(&name) {
            return Err(DecisionError::SpaceNameTaken { name });
        }
        if !self.has_room_for_space(cx) {
            return Err(DecisionError::TooManySpaces);
        }
        let (creator, time_ms) = (cx.author.site, cx.now.wall_ms);
        self.stage.spaces.push(SpaceDocument { network, name, creator, time_ms, nonce });
        Ok(())
    }

    /// Whether there is room for another private space.
    pub(in crate::replica) fn has_room_for_space<S: Store>(&self, cx: Context<'_, S>) -> bool {
        cx.realms.private().count() + self.stage.spaces.len() < SPACES_MAX
    }

    /// As an admin of private spaces, shuts out of them who is no member of the network any more.
    pub(in crate::replica) fn follow_revocations<S: Store>(&mut self, cx: Context<'_, S>) {
        let revoked = cx.realms.revocations_to_follow(cx.decider());
        self.stage.operations.extend(revoked);
    }

    /// Withdraws the tickets of this site that have expired, or are used up.
    pub(in crate::replica) fn withdraw_tickets<S: Store>(&mut self, cx: Context<'_, S>) {
        self.stage.operations.extend(cx.realms.withdrawals_due(cx.now.wall_ms));
    }

    /// What is done once the group is durable, behind all that is to be done by then.
    pub(in crate::replica) fn then(&mut self, after: After) {
        self.stage.after.push(after);
    }
}
