//! Invariant 8: nothing reaches a non-member.
//!
//! A stranger with a key of its own knocks at offices. Whatever is sent to it, to any site that no office knows as a
//! member, or to one that the sender knows to be revoked, must be a refusal. What counts is what was known when the message
//! left: all that a node says of one group of inputs, it says knowing all of them. (What the product's network layer itself
//! tells strangers is tested there.)

use branchline_crdt::format::codec;
use branchline_crdt::protocol::{Answer, Outcome, Welcome};

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::world::{Message, Observation, Receiver};

/// Bytes of a refusal: room for a sentence.
const REFUSAL_BYTES_MAX: usize = 256;

/// Reads what is sent to strangers.
pub struct Confinement;

impl Check for Confinement {
    fn observe(&mut self, observation: &Observation, scene: &Scene<'_>, report: &mut Report) {
        match observation {
            Observation::Sent { from, to, message, receiver, .. } => {
                let is_member = *receiver == Receiver::Member && *to != scene.stranger;
                if *from == scene.stranger || is_member {
                    return;
                }
                let name = Some(scene.world.name(*from));
                report.expect(Invariant::Confinement, is_refusal(message), name, || {
                    let (to, bytes) = (scene.world.name(*to), message.bytes().len());
                    format!("{bytes} bytes that are no refusal went to {to}, which is no member: {message:?}")
                });
            }
            Observation::Started { .. }
            | Observation::Stored { .. }
            | Observation::Rebuilt { .. }
            | Observation::Stopped { .. }
            | Observation::Failed { .. }
            | Observation::DiskChanged { .. }
            | Observation::Delivered { .. }
            | Observation::Lost { .. }
            | Observation::Notice { .. } => {}
        }
    }
}

/// Returns whether a message tells its receiver nothing but that it is refused.
pub fn is_refusal(message: &Message) -> bool {
    match message {
        Message::Unsupported { .. } => true,
        Message::IntroductionAnswer { body } => match codec::decode("welcome", body) {
            Ok(Welcome::Refused(_)) => body.len() <= REFUSAL_BYTES_MAX,
            // It names nothing but the site's own logs and the admin.
            Ok(Welcome::Revoked(_)) => true,
            Ok(Welcome::Member { .. } | Welcome::FormerKeys(_)) | Err(_) => false,
        },
        Message::Response { body, .. } => {
            codec::decode("answer to a pull", body).is_ok_and(is_bare_refusal)
        }
        Message::Gossip { .. } | Message::Request { .. } | Message::Introduction { .. } => false,
    }
}

/// Returns whether an answer to a pull that came before its sender was known to be out says that and no more.
fn is_bare_refusal(answer: Answer) -> bool {
    let Answer { outcome, receipts, forks, invitations } = answer;
    let is_refused = matches!(outcome, Outcome::UnknownSpace | Outcome::Revoked(_));
    is_refused && receipts.is_empty() && forks.is_empty() && invitations.is_empty()
}
