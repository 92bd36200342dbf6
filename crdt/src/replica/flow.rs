//! Taking an input in: the one loop that does its tasks, and what each of them comes to.

use super::batch::accept::Acceptance;
use super::batch::arrival::{Arrival, Waiting};
use super::batch::foresight::Foreseeing;
use super::batch::stage::After;
use super::links::gossip::Reply;
use super::links::intake::{CHANGE_COST, STEP_COST};
use super::links::peer::Asked;
use super::links::receipts::HeardReceipt;
use super::links::sync::PullAnswer;
use super::realms::introduction::Shown;
use super::realms::spaces::Invitations;
use super::task::Task;
use super::{Input, Notice, Replica, Validation};
use crate::format::codec;
use crate::ids::{RealmId, SiteId};
use crate::log::fork::ForkProof;
use crate::log::receipt::Receipt;
use crate::membership::{Revocation, Ticket};
use crate::protocol::prepare::PreparedEntry;
use crate::protocol::{Answer, Gossip, Introduction, Outcome, Request, Welcome};
use crate::store::{Store, StoreError};

impl<S: Store> Replica<S> {
    /// Does what has to be done, with all that comes of it. The group ends where a task says so, and in the end if it is
    /// large.
    pub(super) fn settle(&mut self, tasks: Vec<Task>) -> Result<(), StoreError> {
        self.tasks.put(tasks);
        loop {
            let task = match self.tasks.next() {
                Some(task) => task,
                None if self.batch.stage.is_large() => Task::Commit,
                None => {
                    let (links, cx, batch, _) = self.parts();
                    let Some(heard) = links.next_early(cx, batch) else { return Ok(()) };
                    Task::Hear(heard)
                }
            };
            let next = match task {
                Task::Commit => {
                    let is_durable = self.commit()?;
                    self.tasks.note_end(is_durable);
                    Vec::new()
                }
                task => self.step(task)?,
            };
            self.tasks.put(next);
        }
    }

    /// Does one task. Returns those that come of it.
    fn step(&mut self, task: Task) -> Result<Vec<Task>, StoreError> {
        let is_durable = self.tasks.is_durable();
        let is_merging = self.merging.is_some();
        let (links, cx, batch, out) = self.parts();
        Ok(match task {
            Task::Commit => vec![Task::Commit],
            Task::Decide { id, decision } => {
                batch.decide(cx, id, decision);
                Vec::new()
            }
            Task::Hear(heard) => links.hear_next(cx, batch, out, heard),
            Task::Judge(arrival) => batch.judge(cx, out, links.room, arrival)?,
            Task::BeginLife => {
                self.author.incarnation = self.links.another_life(self.author, &self.realms);
                Vec::new()
            }
            Task::Prove(arrival) => batch.prove(cx, arrival)?,
            Task::Vouch(arrival, decided) => batch.vouch(cx, arrival, decided, is_durable),
            Task::VouchLosers(arrival) => batch.vouch_for_losers(cx, arrival, is_durable),
            Task::TakeIn(arrival) => batch.take_in(cx, out, arrival, is_durable)?,
            Task::Conclude { waiting, acceptance, if_durable } => {
                let is_lost = if_durable && !is_durable;
                self.conclude(waiting, if is_lost { Acceptance::NotReady } else { acceptance })
            }
            Task::Fork { space, fork } => {
                // Every answer brings those that are known; no signature of them is looked at again.
                let is_taken = links.has_room_for(cx, space)
                    && (links.takes_forks(cx.now) || is_merging)
                    && cx.is_fork_news(space, &fork);
                let fork = is_taken.then_some(*fork);
                match fork.and_then(|fork| ForkProof::new(fork.lower, fork.higher)) {
                    Some(fork) => {
                        vec![Task::Commit, Task::KeepFork { space, fork: Box::new(fork) }]
                    }
                    None => Vec::new(),
                }
            }
            Task::KeepFork { space, fork } => {
                self.keep_fork(space, *fork)?;
                Vec::new()
            }
            Task::NameBranches => {
                if links.take_forks_news() && cx.is_any_misnamed(batch)? {
                    self.rebuild(&mut |_| ())?;
                    let rows = self.realms.all_logs().flat_map(|(_, logs)| logs.rows().values());
                    self.links.note_renamed(self.now, rows.map(|row| row.seq).sum());
                }
                Vec::new()
            }
            Task::Invitations(invitations) => batch.take_invitation(cx, out, invitations),
            Task::Entered(entered) => entered.go_on(out, is_durable),
            Task::Members(round) => round.go_on(),
            Task::NextRound(round) => round.again(is_durable),
            Task::Shown(shown) => batch.take_shown(cx, shown),
            Task::Welcomed(welcomed) => {
                self.realms.welcomed(&mut self.outbox, &welcomed);
                Vec::new()
            }
            Task::PullRealm { from, realm } => {
                links.pull_realm(cx, out, from, realm);
                Vec::new()
            }
            Task::PullAnswer(answered) => {
                self.answered(*answered)?;
                Vec::new()
            }
            Task::Receipts(receipts) => {
                for receipt in receipts {
                    self.take_receipt(receipt, false);
                }
                Vec::new()
            }
            Task::Bundle { is_settled } => {
                let Some(mut merging) = self.merging.take() else { return Ok(Vec::new()) };
                let (links, cx, batch, _) = self.parts();
                let is_unwritable = links.is_unwritable();
                let next = batch.merge_next(cx, &mut merging, is_settled, is_unwritable);
                self.merging = Some(merging);
                next
            }
        })
    }

    /// The one who waits for an entry hears how it was judged.
    fn conclude(&mut self, waiting: Waiting, acceptance: Acceptance) -> Vec<Task> {
        if let (Acceptance::Refused(refusal), Some(from)) = (&acceptance, waiting.sender()) {
            self.outbox.notice(Notice::Refused { from, reason: refusal.to_string() });
        }
        match waiting {
            Waiting::Message(mut heard) => {
                let (links, cx, batch, out) = self.parts();
                match links.judged_message(cx, out, &mut heard, &acceptance) {
                    Some(verdict) => heard.reply.give(batch, out, Some(verdict)),
                    None => return vec![Task::Hear(heard)],
                }
            }
            Waiting::Answer { tip, .. } => self.links.judged_entry(&tip, &acceptance),
            Waiting::Bundle { records, .. } => {
                if let Some(merging) = &mut self.merging {
                    merging.judged(records, &acceptance);
                }
            }
            Waiting::Members(mut round) => {
                round.note(&acceptance);
                return vec![Task::Members(round)];
            }
            Waiting::Shown(shown) => return vec![Task::Shown(shown)],
        }
        Vec::new()
    }

    /// Begins with an input. Returns the tasks that come of it.
    pub(super) fn take(&mut self, input: Input) -> Result<Vec<Task>, StoreError> {
        let (links, cx, batch, out) = self.parts();
        match input {
            Input::Write { id, space, transactions } => batch.write(cx, id, space, transactions)?,
            Input::MergeDocument { id, space, merge } => {
                batch.merge_document(cx, id, space, *merge)?;
            }
            Input::PeerUp(site) => links.peer_up(cx, out, site),
            Input::PeerDown(site) => links.peer_down(&site),
            Input::Gossip { from, token, data } => {
                let reply = Reply::Validate(token);
                match codec::decode("gossip message", &data) {
                    Ok(gossip) => return self.hear(from, reply, gossip),
                    Err(error) => {
                        out.notice(Notice::Refused { from, reason: error.to_string() });
                        reply.give(batch, out, Some(Validation::Reject));
                    }
                }
            }
            Input::Request { from, token, body } => match codec::decode("request", &body) {
                Ok(Request::Pull(pull)) => links.serve(cx, batch, out, (from, token), &pull)?,
                Ok(Request::Notify(gossip)) => {
                    return self.hear(from, Reply::Respond(token), gossip);
                }
                Err(error) => out.notice(Notice::Refused { from, reason: error.to_string() }),
            },
            Input::Response { from, id, body } => return self.responded(from, id, &body),
            Input::Prepared(prepared) => {
                self.begin_taking(prepared);
                while self.is_taking() {
                    self.go_on_taking(self.now)?;
                }
            }
            Input::RequestFailed { to, id, unsupported } => {
                links.request_failed(cx, out, to, id, unsupported)?;
            }
            Input::Introduction { from, token, body } => {
                return Ok(self.introduced(from, token, &body));
            }
            Input::IntroductionAnswer { from, body } => return self.welcomed(from, &body),
            Input::Stranger(site) => cx.show_former_keys(out, site),
            Input::Join(ticket) => self.join(*ticket)?,
            Input::Decide { id, decision } => {
                return Ok(vec![Task::Commit, Task::Decide { id, decision }, Task::Commit]);
            }
            Input::Room(room) => links.note_room(cx, out, room),
            Input::Tick => self.tick()?,
        }
        Ok(Vec::new())
    }

    /// Takes in what is gossiped, or said to this site alone.
    fn hear(
        &mut self,
        from: SiteId,
        reply: Reply,
        gossip: Gossip,
    ) -> Result<Vec<Task>, StoreError> {
        let (links, cx, batch, out) = self.parts();
        let verdict = match gossip {
            Gossip::Entry(_) | Gossip::Entries(_) => {
                match cx.gossiped_entries(out, from, reply, gossip.entries()) {
                    Ok(heard) => return Ok(vec![Task::Hear(heard)]),
                    Err(verdict) => Some(verdict),
                }
            }
            Gossip::Announce { space, tip } => {
                links.announced_entry(cx, batch, out, (from, reply), (space, &tip))?
            }
            Gossip::Receipt(receipt) => Some(self.take_receipt(receipt, true)),
            Gossip::Hint(space) => {
                links.pull(cx, out, from, space);
                Some(Validation::Ignore)
            }
        };
        reply.give(&mut self.batch, &mut self.outbox, verdict);
        Ok(Vec::new())
    }

    /// Keeps a receipt if it is its site's latest. `is_live`: it came by gossip.
    fn take_receipt(&mut self, receipt: Receipt, is_live: bool) -> Validation {
        let (site, heard) = (receipt.site, HeardReceipt { time_ms: receipt.time_ms, is_live });
        let verdict = self.realms.take_receipt(receipt);
        if verdict == Validation::Accept {
            let (links, cx, ..) = self.parts();
            links.heard.note(site, heard);
            links.receipts_are_due(cx);
        }
        verdict
    }

    /// A member has answered a request.
    fn responded(&mut self, from: SiteId, id: u64, body: &[u8]) -> Result<Vec<Task>, StoreError> {
        let (links, cx, batch, out) = self.parts();
        if links.end_notification(from, id) {
            links.resume_requests(cx, out, from);
            return Ok(Vec::new());
        }
        let Some((space, request)) = links.end_pull(from, id) else { return Ok(Vec::new()) };
        batch.then(After::Resume { with: from });
        let answer: Answer = match codec::decode("answer to a pull", body) {
            Ok(answer) => answer,
            Err(error) => {
                out.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(Vec::new());
            }
        };
        let Answer { outcome, receipts, forks, invitations } = answer;
        for receipt in receipts {
            self.take_receipt(receipt, false);
        }
        let forks = forks.into_iter();
        let mut tasks: Vec<Task> =
            forks.map(|fork| Task::Fork { space, fork: Box::new(fork) }).collect();
        if !tasks.is_empty() {
            tasks.push(Task::NameBranches);
        }
        tasks.push(Task::Invitations(Invitations::new(from, invitations)));
        tasks.push(Task::PullAnswer(Box::new(PullAnswer { from, space, request, outcome })));
        Ok(tasks)
    }

    /// What an answer comes to, once all that comes with it is taken in.
    fn answered(&mut self, answered: PullAnswer) -> Result<(), StoreError> {
        let (from, space) = (answered.from, answered.space);
        match &answered.outcome {
            Outcome::Entries { packed, .. } if answered.request.asked == Asked::Lost => {
                let Self { links, store, realms, outbox, .. } = self;
                links.take_lost(store, realms, outbox, from, packed)?;
                let (links, cx, _, out) = self.parts();
                links.receipts_are_due(cx);
                links.pull(cx, out, from, space);
            }
            Outcome::Revoked(revocation) => {
                if let Some(realm) = self.realms.realm_of(space) {
                    self.take_revocation(from, realm, revocation)?;
                }
            }
            Outcome::Entries { .. }
            | Outcome::SendFrontier(_)
            | Outcome::UpToDate
            | Outcome::UnknownSpace => {
                let (links, cx, batch, out) = self.parts();
                let after = links.take_outcome(cx, batch, out, answered)?;
                after.into_iter().for_each(|after| self.batch.then(after));
            }
        }
        Ok(())
    }

    /// Takes in a revocation of this site, shown by a member that no longer accepts it. Returns whether it is genuine.
    /// Only that member knows whether it is in force: the note is dropped when this site's own members change.
    fn take_revocation(
        &mut self,
        from: SiteId,
        realm: RealmId,
        revocation: &Revocation,
    ) -> Result<bool, StoreError> {
        let is_proof = self.realms.is_own_revocation(realm, from, revocation);
        if is_proof && let Some(row) = self.realms.note_revoked_by(realm, Some(revocation.issuer)) {
            self.store.apply(vec![row], None)?;
        }
        Ok(is_proof)
    }

    /// Another site presents itself.
    fn introduced(&mut self, from: SiteId, token: u64, body: &[u8]) -> Vec<Task> {
        let (_, cx, batch, out) = self.parts();
        let Ok(introduction) = codec::decode::<Introduction>("introduction", body) else {
            out.refuse(token, "the introduction cannot be read");
            return Vec::new();
        };
        if !cx.can_take_up(&introduction) {
            out.refuse(token, "this site cannot let anyone into that network");
            return Vec::new();
        }
        match introduction {
            Introduction::Ticket(admission) => batch.take_up(cx, out, from, token, *admission),
            Introduction::Entries { packed, .. } => {
                return vec![Task::Shown(Shown::new(from, token, &packed))];
            }
            Introduction::FormerKeys(former) => {
                let goes_on = self.realms.goes_on_for(&mut self.outbox, from, &former);
                let (_, cx, _, out) = self.parts();
                cx.answer_former_keys(out, from, token, &former, goes_on);
            }
        }
        Vec::new()
    }

    /// The answer to this site's introduction.
    fn welcomed(&mut self, from: SiteId, body: &[u8]) -> Result<Vec<Task>, StoreError> {
        let (links, cx, batch, out) = self.parts();
        let refused = match codec::decode("welcome", body) {
            Ok(Welcome::Member { genesis, entries }) => {
                return Ok(batch.take_welcome(cx, out, from, genesis, &entries));
            }
            Ok(Welcome::Refused(reason)) => {
                links.not_welcome(cx, out, from, &reason);
                return Ok(Vec::new());
            }
            Ok(Welcome::FormerKeys(former)) => {
                let goes_on = self.realms.goes_on_for(&mut self.outbox, from, &former);
                (!goes_on).then(|| "the keys that it shows are not those of a member".to_owned())
            }
            Ok(Welcome::Revoked(revocation)) => {
                let was_known = self.realms.revoked_by().is_some();
                let is_proof = self.take_revocation(from, revocation.realm, &revocation)?;
                if is_proof && !was_known {
                    self.outbox.notice(Notice::Revoked { by: revocation.issuer });
                }
                self.realms.show_members(&mut self.outbox);
                (!is_proof).then(|| "what it showed as this site's revocation is none".to_owned())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = refused {
            self.outbox.notice(Notice::Refused { from, reason });
        }
        Ok(Vec::new())
    }

    /// Takes a ticket to join with; an unusable one changes nothing.
    fn join(&mut self, ticket: Ticket) -> Result<(), StoreError> {
        if self.realms.may_join(&ticket, self.now.wall_ms).is_err() {
            return Ok(());
        }
        let genesis = self.realms.genesis().cloned();
        self.realms.know_network(&mut self.outbox, ticket.grant.realm, genesis, Some(ticket));
        self.realms.load(&self.store)?;
        self.load_members(None)?;
        self.realms.show_members(&mut self.outbox);
        let (links, cx, _, out) = self.parts();
        links.timers.introduce_at_once();
        links.present_ticket(cx, out)
    }

    /// Does what is due by now.
    fn tick(&mut self) -> Result<(), StoreError> {
        if !self.is_taking() {
            self.batch.forget_recent();
        }
        let (links, cx, batch, out) = self.parts();
        links.end_waiting(cx, batch, out);
        links.pull_again(cx, out);
        if links.pull_regularly(cx, out) {
            batch.follow_revocations(cx);
            batch.withdraw_tickets(cx);
        }
        let Self { links, store, realms, outbox, .. } = self;
        links.find_losses(store, realms, outbox)?;
        self.issue_receipts()?;
        if !self.store.is_behind() {
            self.batch.indexes.build(&mut self.store)?;
        }
        let (links, cx, _, out) = self.parts();
        links.present_ticket(cx, out)
    }

    /// Issues this site's receipts, where they are due and what it holds has changed, and saves what others issued.
    pub(super) fn issue_receipts(&mut self) -> Result<(), StoreError> {
        if !self.links.take_due_receipts(self.now) {
            return Ok(());
        }
        let mut rows = Vec::new();
        for realm in self.realms.joined() {
            let held = self.links.held_durably(self.context(), realm.main_space())?;
            let Self { realms, identity, now, .. } = self;
            if let Some(receipt) = realms.next_receipt(realm, held, &identity.key, *now) {
                let (links, cx, _, out) = self.parts();
                links.notify(cx, out, realm.main_space(), &Gossip::Receipt(receipt));
            }
            rows.extend(self.realms.unsaved_receipts(realm.main_space()));
        }
        if rows.is_empty() { Ok(()) } else { self.store.apply(rows, None) }
    }

    /// Finds out what an entry makes of its records, as far as there is `budget`. True: there is no more to find out.
    pub(super) fn foresee(
        &mut self,
        prepared: &mut PreparedEntry,
        budget: &mut usize,
    ) -> Result<bool, StoreError> {
        loop {
            let (_, cx, batch, _) = self.parts();
            match batch.foresee(cx, prepared, budget)? {
                Foreseeing::Done => return Ok(true),
                Foreseeing::Begun => return Ok(false),
                Foreseeing::BehindGroup => self.settle(vec![Task::Commit])?,
            }
        }
    }

    /// Takes in the entries of answers, in one step of a few milliseconds.
    pub(super) fn take_entries(&mut self) -> Result<(), StoreError> {
        let mut budget = STEP_COST;
        while budget > 0 && self.links.is_taking() {
            let Some((from, mut entry)) = self.links.next_entry() else {
                let (links, cx, batch, out) = self.parts();
                let after = links.end_taking(cx, out);
                after.into_iter().for_each(|after| batch.then(after));
                continue;
            };
            if self.foresee(&mut entry, &mut budget)? {
                budget = budget.saturating_sub(CHANGE_COST * (1 + entry.changes().len()));
                let waiting = Waiting::Answer { from, tip: entry.entry.tip() };
                self.settle(vec![Task::Judge(Arrival::new(entry, waiting))])?;
                self.batch.forget_foresight();
            } else {
                self.links.put_back(entry);
                self.settle(Vec::new())?;
            }
        }
        Ok(())
    }
}
