//! Invariant 8: nothing reaches a non-member.
//!
//! A stranger with a key of its own knocks at offices. Whatever is sent to it, to any site that no office knows as a
//! member, or to one that the sender knows to be revoked, must be a refusal. (What the product's network layer itself tells strangers is tested there.)

use branchline_crdt::codec;
use branchline_crdt::protocol::Welcome;

use super::{Check, Report, Scene};
use crate::outcome::Invariant;
use crate::world::{Message, Observation, Office};

/// Bytes of a refusal: room for a sentence.
const REFUSAL_BYTES_MAX: usize = 256;

/// Reads what is sent to strangers.
pub struct Confinement;

impl Check for Confinement {
    fn observe(&mut self, observation: &Observation, scene: &Scene<'_>, report: &mut Report) {
        match observation {
            Observation::Sent { from, to, message, .. } => {
                let is_revoked = is_revoked(*from, *to, scene);
                if *from == scene.stranger || (is_member(*to, scene) && !is_revoked) {
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
            | Observation::Told { .. } => {}
        }
    }
}

fn is_member(office: Office, scene: &Scene<'_>) -> bool {
    let site = scene.world.site_id(office);
    let knows = |other: Office| {
        let members = scene.world.replica(other).and_then(|replica| replica.members());
        members.is_some_and(|members| members.get(&site).is_some())
    };
    // Whoever sent it may be off by now; the first office founded the network.
    office != scene.stranger && (office == 0 || (0..scene.world.office_count()).any(knows))
}

/// Whether an office knows that another was shut out. A revoked office may ask whether that still holds.
fn is_revoked(at: Office, office: Office, scene: &Scene<'_>) -> bool {
    let site = scene.world.site_id(office);
    scene.world.replica(at).is_some_and(|replica| {
        let knows = replica.members().is_some_and(|m| m.revoked().contains_key(&site));
        knows && replica.revoked_by().is_none()
    })
}

fn is_refusal(message: &Message) -> bool {
    match message {
        Message::Unsupported { .. } => true,
        Message::IntroductionAnswer { body } => match codec::decode("welcome", body) {
            Ok(Welcome::Refused(_)) => body.len() <= REFUSAL_BYTES_MAX,
            // It names nothing but the site's own logs and the admin.
            Ok(Welcome::Revoked(_)) => true,
            Ok(Welcome::Member { .. } | Welcome::FormerKeys(_)) | Err(_) => false,
        },
        Message::Gossip { .. }
        | Message::Request { .. }
        | Message::Response { .. }
        | Message::Introduction { .. } => false,
    }
}
