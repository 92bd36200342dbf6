//! What the replica wants done.

use std::time::Duration;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{Notice, Output, Validation};
use libp2p::{Multiaddr, PeerId};
use tracing::{debug, error, info, warn};

use super::Driver;
use crate::log_limit::Subject;
use crate::network::{Command, Verdict};

impl Driver {
    /// Acts on all outputs.
    pub(super) fn act(&mut self) {
        while let Some(output) = self.replica.output() {
            self.act_on(output);
        }
        let wanted_ms = self.replica.news_due_ms();
        let wanted = wanted_ms.map(|due_ms| self.started + Duration::from_millis(due_ms));
        self.tick_wanted.send_if_modified(|known| std::mem::replace(known, wanted) != wanted);
        let network = self.replica.realms().network();
        self.known.send_if_modified(|known| {
            let changed = known.network != network;
            known.network = network;
            changed
        });
        let receipt_count = self.replica.receipt_count();
        self.receipts
            .send_if_modified(|count| std::mem::replace(count, receipt_count) != receipt_count);
        self.note_of_others();
        self.drop_used_ticket();
    }

    /// Removes the ticket of a site that is a member, whichever way it learnt so.
    fn drop_used_ticket(&mut self) {
        let site = self.replica.site();
        let is_member =
            self.replica.realms().members().is_some_and(|members| members.get(&site).is_some());
        if self.keeps_ticket && is_member {
            self.keeps_ticket = false;
            if let Err(error) = self.folder.remove_ticket() {
                warn!(%error, "the used ticket stays");
            }
        }
    }

    fn act_on(&mut self, output: Output) {
        match output {
            Output::Written { id, results } => {
                if let Some((arrived, reply)) = self.writes.remove(&id) {
                    self.note_written(arrived, &results);
                    let _ = reply.send(Ok(results));
                }
            }
            Output::Decided { id, result } => {
                if let Some(reply) = self.decisions.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Output::Request { to, id, body } => {
                self.pulls.begin(id, &body);
                self.send_to(to, |to| Command::Request { to, id, body });
            }
            Output::Prepare(job) => {
                if let Some(jobs) = &self.jobs
                    && jobs.send(job).is_err()
                {
                    debug!("nothing is prepared any more");
                }
            }
            Output::Respond { token, body } => {
                if let Some(token) = self.requests.remove(&token) {
                    self.send(Command::Respond { token, body });
                }
            }
            Output::Introduce { to, addresses, body } => {
                let id = self.number();
                let addresses = addresses.iter().filter_map(|address| address.parse().ok());
                let addresses: Vec<Multiaddr> = addresses.collect();
                // Once this site is a member it looks for the other where it was let in.
                for address in &addresses {
                    let address = address.clone();
                    self.send_to(to, |peer| Command::AddAddress { peer, address });
                }
                self.send_to(to, |to| Command::Introduce { to, addresses, id, body });
            }
            Output::AnswerIntroduction { token, body } => {
                if let Some(token) = self.introductions.remove(&token) {
                    self.send(Command::RespondIntroduction { token, body });
                }
            }
            Output::Subscribe(topic) => self.send(Command::Subscribe(topic)),
            Output::Publish { topic, data } => {
                self.metrics.gossip_published.inc();
                self.send(Command::Publish { topic, data });
            }
            Output::Validate { token, verdict } => {
                if let Some((id, source)) = self.gossip.remove(&token) {
                    let counts = &self.metrics.gossip_validated;
                    let (verdict, count) = match verdict {
                        Validation::Accept => (Verdict::Accept, &counts.accepted),
                        Validation::Ignore => (Verdict::Ignore, &counts.ignored),
                        Validation::Reject => (Verdict::Reject, &counts.rejected),
                    };
                    count.inc();
                    self.send(Command::Validate { id, source, verdict });
                }
            }
            Output::Members(sites) => {
                let peers = sites.iter().filter_map(SiteId::to_peer_id).collect();
                self.send(Command::SetMembers(peers));
            }
            Output::Spaces(spaces) => self.known.send_modify(|known| known.spaces = spaces),
            Output::Notice(notice) => self.note(notice),
        }
    }

    fn send_to(&self, site: SiteId, command: impl FnOnce(PeerId) -> Command) {
        let peer = self.connected.get(&site).copied();
        if let Some(peer) = peer.or_else(|| site.to_peer_id()) {
            self.send(command(peer));
        }
    }

    fn send(&self, command: Command) {
        if let Some(network) = &self.network
            && network.blocking_send(command).is_err()
        {
            debug!("the network has stopped");
        }
    }

    fn note(&mut self, notice: Notice) {
        match &notice {
            Notice::Joined { .. } => self.others.joining_ends(),
            Notice::NotAdmitted { by, reason } => {
                self.others.refused(*by, reason.clone(), Self::now(self.started));
            }
            Notice::Copies { site } => {
                // It has lines of its own.
                self.note_copies(*site, Vec::new());
                return;
            }
            Notice::Void { .. } => {
                self.metrics.entries_void.inc();
            }
            Notice::SpaceEntered { .. }
            | Notice::MemberAdmitted { .. }
            | Notice::MemberRevoked { .. }
            | Notice::Revoked { .. }
            | Notice::Refused { .. }
            | Notice::Fork { .. }
            | Notice::EntryLost { .. }
            | Notice::EntryRepaired { .. }
            | Notice::Unreadable { .. } => {}
        }
        if self.log_limit.admits(subject(&notice)) {
            log(notice);
        }
    }
}

/// Who or what causes a notice: each may fill only so much of the log.
fn subject(notice: &Notice) -> Subject {
    match notice {
        Notice::Joined { .. } | Notice::NotAdmitted { .. } | Notice::Revoked { .. } => Subject::Own,
        Notice::Void { author, .. } => Subject::Site(author.site),
        Notice::Fork { .. } => Subject::Forks,
        Notice::Refused { from, .. } => Subject::Site(*from),
        Notice::Copies { site } => Subject::Site(*site),
        Notice::SpaceEntered { .. }
        | Notice::MemberAdmitted { .. }
        | Notice::MemberRevoked { .. } => Subject::Members,
        Notice::EntryLost { .. } | Notice::EntryRepaired { .. } => Subject::Damage,
        Notice::Unreadable { .. } => Subject::Records,
    }
}

fn log(notice: Notice) {
    match notice {
        Notice::Joined { network, by } => info!(%network, %by, "this site is a member now"),
        Notice::NotAdmitted { by, reason } => warn!(%by, reason, "the ticket was refused"),
        Notice::SpaceEntered { name, realm } => {
            info!(space = name, %realm, "this site was let into a space");
        }
        Notice::MemberAdmitted { site, name } => info!(%site, name, "new member"),
        Notice::MemberRevoked { site, name, by } => {
            warn!(%site, name, %by, "a member was revoked");
        }
        Notice::Revoked { by } => {
            error!(%by, "this site was revoked: nobody syncs with it any more, what it holds can be read");
        }
        Notice::Void { author, seq, reason } => {
            warn!(site = %author.site, seq, reason, "an entry is void");
        }
        Notice::Refused { from, reason } => warn!(peer = %from, reason, "refused"),
        Notice::Fork { author, seq, is_renamed } => {
            error!(site = %author.site, seq, is_renamed, "a site signed one number twice");
        }
        Notice::Copies { site } => error!(%site, "two copies of one site are running"),
        Notice::EntryLost { author, seq } => {
            let site = author.site;
            error!(%site, seq, "the journal's copy of an entry is damaged, the peers are asked for it");
        }
        Notice::EntryRepaired { author, seq, from } => {
            info!(site = %author.site, seq, peer = %from, "a damaged entry is repaired");
        }
        Notice::Unreadable { collection, id, reason } => {
            error!(collection, id, reason, "a record cannot be read here");
        }
    }
}
