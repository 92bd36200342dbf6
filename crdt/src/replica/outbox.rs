//! What a replica wants done, in the order in which it is to be done.

use std::collections::VecDeque;

use super::{Notice, Output};
use crate::format::codec;
use crate::ids::{SiteId, SpaceId};
use crate::protocol::{Answer, Gossip, Welcome};

/// Outputs that wait for the caller.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    /// The answers among the outputs that let a site in, with that site.
    welcomes: Vec<(u64, SiteId)>,
    /// What is said of new entries after the outputs: whom it reaches is decided when all else is said.
    broadcasts: Vec<(SpaceId, Gossip)>,
}

impl Outbox {
    /// Adds what is to be done behind all else.
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Adds what the operator should read.
    pub(super) fn notice(&mut self, notice: Notice) {
        self.push(Output::Notice(notice));
    }

    /// Answers a request.
    pub(super) fn respond(&mut self, token: u64, answer: &Answer) {
        self.push(Output::Respond { token, body: codec::encode(answer) });
    }

    /// Refuses an introduction.
    pub(super) fn refuse(&mut self, token: u64, reason: &str) {
        let body = codec::encode(&Welcome::Refused(reason.to_owned()));
        self.push(Output::AnswerIntroduction { token, body });
    }

    /// Answers the introduction of a site with what members know.
    pub(super) fn welcome(&mut self, token: u64, to: SiteId, body: Vec<u8>) {
        self.welcomes.push((token, to));
        self.push(Output::AnswerIntroduction { token, body });
    }

    /// Takes the answers back that let one of these sites in and are not sent yet. Returns their tokens, each with the site:
    /// they are to be answered otherwise.
    pub(super) fn take_back_welcomes(&mut self, of: &[SiteId]) -> Vec<(u64, SiteId)> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.welcomes).into_iter().partition(|(_, to)| of.contains(to));
        self.welcomes = kept;
        let is_taken = |token: &u64| taken.iter().any(|(other, _)| other == token);
        self.drop_where(
            |output| matches!(output, Output::AnswerIntroduction { token, .. } if is_taken(token)),
        );
        taken
    }

    /// Adds what is to be done before all else, instead of what `replaces` names.
    pub(super) fn push_first(&mut self, output: Output, replaces: impl Fn(&Output) -> bool) {
        self.drop_where(replaces);
        self.outputs.push_front(output);
    }

    /// Takes back what waits and is not to be done any more.
    pub(super) fn drop_where(&mut self, is_void: impl Fn(&Output) -> bool) {
        self.outputs.retain(|output| !is_void(output));
    }

    /// Adds what the members of a space are to hear of new entries.
    pub(super) fn broadcast(&mut self, space: SpaceId, gossip: Gossip) {
        self.broadcasts.push((space, gossip));
    }

    /// Takes these out, once nothing else waits.
    pub(super) fn take_broadcasts(&mut self) -> Vec<(SpaceId, Gossip)> {
        if self.outputs.is_empty() { std::mem::take(&mut self.broadcasts) } else { Vec::new() }
    }

    /// The next thing to do.
    pub(super) fn pop(&mut self) -> Option<Output> {
        let next = self.outputs.pop_front();
        if let Some(Output::AnswerIntroduction { token, .. }) = &next {
            self.welcomes.retain(|(other, _)| other != token);
        }
        next
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.outputs.len() + self.broadcasts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribed(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.pop())
            .map(|output| match output {
                Output::Subscribe(topic) => topic,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn subscribe(topic: &str) -> Output {
        Output::Subscribe(topic.to_owned())
    }

    #[test]
    fn outputs_come_in_order_and_what_is_first_replaces_its_like() {
        let mut outbox = Outbox::default();
        for topic in ["b", "c", "a"] {
            outbox.push(subscribe(topic));
        }
        let is_a = |output: &Output| matches!(output, Output::Subscribe(topic) if topic == "a");
        outbox.push_first(subscribe("a"), is_a);
        assert_eq!(outbox.len(), 3);
        assert_eq!(subscribed(&mut outbox), ["a", "b", "c"]);
    }

    #[test]
    fn broadcasts_wait_until_all_else_is_done() {
        let mut outbox = Outbox::default();
        let space = SpaceId([1; 16]);
        outbox.broadcast(space, Gossip::Hint(space));
        outbox.push(subscribe("a"));
        assert!(outbox.take_broadcasts().is_empty());
        assert_eq!(outbox.len(), 2);
        outbox.pop();
        assert_eq!(outbox.take_broadcasts().len(), 1);
        assert!(outbox.take_broadcasts().is_empty() && outbox.pop().is_none());
    }

    #[test]
    fn an_answer_that_lets_a_site_in_is_taken_back_until_it_is_sent() {
        let mut outbox = Outbox::default();
        let (north, south) = (SiteId([1; 32]), SiteId([2; 32]));
        outbox.welcome(1, north, vec![1]);
        outbox.welcome(2, south, vec![2]);
        outbox.refuse(3, "unknown");
        assert!(matches!(outbox.pop(), Some(Output::AnswerIntroduction { token: 1, .. })));
        assert_eq!(outbox.take_back_welcomes(&[north, south]), [(2, south)]);
        assert!(matches!(outbox.pop(), Some(Output::AnswerIntroduction { token: 3, .. })));
        assert!(outbox.pop().is_none() && outbox.take_back_welcomes(&[south]).is_empty());
    }

    #[test]
    fn what_is_void_is_not_done() {
        let mut outbox = Outbox::default();
        outbox.push(subscribe("a"));
        outbox.push(subscribe("b"));
        outbox.drop_where(|output| matches!(output, Output::Subscribe(topic) if topic == "a"));
        assert_eq!(subscribed(&mut outbox), ["b"]);
    }
}
