//! Batches: what a server refuses as a whole is sent again in halves, until what is wrong with it is alone.

use super::remote::{Fate, is_about_items};
use crate::jobs::fault::{Class, Fault};

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct SentBatch {
    /// Of the first items; the others were not sent, or nobody knows.
    pub(super) fates: Vec<Fate>,
    /// Requests.
    pub(super) requests: u64,
    /// Why it ended early.
    pub(super) fault: Option<Fault>,
}

/// Sends items in as few requests as are taken. `post` gives one fate for each item that it is given.
pub(super) async fn send<T: Clone, F>(items: &[T], post: impl Fn(Vec<T>) -> F) -> SentBatch
where
    F: Future<Output = Result<Vec<Fate>, Fault>>,
{
    let mut sent = SentBatch::default();
    // A server that is out of order refuses every half alike: that is enough for the smallest two of the first.
    let halvings = usize::BITS - items.len().leading_zeros();
    let mut failures_in_a_row = 0;
    let mut parts = vec![items];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        sent.requests += 1;
        let fault = match post(part.to_vec()).await {
            Ok(fates) => {
                failures_in_a_row = 0;
                sent.fates.extend(fates);
                continue;
            }
            Err(fault) => fault,
        };
        failures_in_a_row += 1;
        let is_outage = fault.class == Class::Transient && failures_in_a_row > halvings + 1;
        if !is_about_items(&fault) || is_outage {
            sent.fault = Some(fault);
            break;
        }
        match part.len() {
            1 if fault.class == Class::Permanent => sent.fates.push(Fate::Refused(fault.message)),
            1 => {
                sent.fates.push(Fate::Unknown);
                sent.fault.get_or_insert(fault);
            }
            length => {
                let (first, second) = part.split_at(length / 2);
                parts.push(second);
                parts.push(first);
            }
        }
    }
    sent
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fault(class: Class, status: u16) -> Fault {
        Fault::answer(class, status, "no")
    }

    /// Sends 0 to 99, to a server that refuses the whole where it finds one of these.
    async fn sent(bad: &[u32], class: Class, status: u16) -> SentBatch {
        let items: Vec<u32> = (0..100).collect();
        let post = |part: Vec<u32>| async move {
            if part.iter().any(|item| bad.contains(item)) {
                Err(fault(class, status))
            } else {
                Ok(vec![Fate::Confirmed; part.len()])
            }
        };
        send(&items, post).await
    }

    #[tokio::test]
    async fn c22_what_is_wrong_with_a_batch_is_found_and_the_others_are_sent() {
        let sent = sent(&[17, 93], Class::Permanent, 422).await;
        assert_eq!(sent.fates.len(), 100);
        for (index, fate) in sent.fates.iter().enumerate() {
            let is_bad = index == 17 || index == 93;
            assert_eq!(matches!(fate, Fate::Refused(_)), is_bad, "{index}");
        }
        assert!(sent.fault.is_none() && sent.requests < 35, "{}", sent.requests);
    }

    #[tokio::test]
    async fn an_error_of_the_server_over_one_item_holds_no_other_up() {
        let sent = sent(&[17], Class::Transient, 500).await;
        assert_eq!(sent.fates.len(), 100);
        assert_eq!(sent.fates.iter().filter(|fate| **fate == Fate::Confirmed).count(), 99);
        assert_eq!(sent.fates[17], Fate::Unknown);
        assert_eq!(sent.fault.unwrap().status, Some(500));
    }

    #[tokio::test]
    async fn an_outage_sets_nothing_aside() {
        let all: Vec<u32> = (0..100).collect();
        for (class, status, requests) in [
            (Class::Transient, 503, 1),
            (Class::Transient, 429, 1),
            (Class::Authentication, 401, 1),
            (Class::Transient, 500, 9),
        ] {
            let sent = sent(&all, class, status).await;
            assert!(sent.fates.iter().all(|fate| *fate == Fate::Unknown), "{status}");
            assert_eq!((sent.fault.unwrap().status, sent.requests), (Some(status), requests));
        }
    }
}
