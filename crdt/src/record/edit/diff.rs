//! The least edit from one sequence to another.
//!
//! Myers, "An O(ND) difference algorithm and its variations", Algorithmica 1986.

use std::ops::Range;

/// How many insertions and removals are searched for. Sequences that differ more are replaced
/// between their common ends: the search would take a time and memory of this number squared.
const EDITS_MAX: usize = 512;

/// Part of the old sequence and what stands for it in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// The parts in which two sequences differ, in order.
pub(super) fn hunks<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Hunk> {
    let prefix = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[prefix..], &new[prefix..]);
    let ends = old_rest.iter().rev().zip(new_rest.iter().rev());
    let suffix = ends.take_while(|(a, b)| a == b).count();
    let old_middle = &old_rest[..old_rest.len() - suffix];
    let new_middle = &new_rest[..new_rest.len() - suffix];
    if old_middle.is_empty() && new_middle.is_empty() {
        return Vec::new();
    }
    let whole = || vec![Hunk { old: 0..old_middle.len(), new: 0..new_middle.len() }];
    let found = if old_middle.is_empty() || new_middle.is_empty() {
        whole()
    } else {
        search(old_middle, new_middle).unwrap_or_else(whole)
    };
    let shift = |range: Range<usize>| range.start + prefix..range.end + prefix;
    found.into_iter().map(|hunk| Hunk { old: shift(hunk.old), new: shift(hunk.new) }).collect()
}

/// The furthest points in the old sequence, by diagonal (old index - new index).
struct Furthest {
    reach: usize,
    points: Vec<usize>,
}

impl Furthest {
    fn new(reach: usize) -> Self {
        Self { reach, points: vec![0; 2 * reach + 1] }
    }

    fn index(&self, diagonal: isize) -> usize {
        self.reach.saturating_add_signed(diagonal)
    }

    fn at(&self, diagonal: isize) -> usize {
        let point = self.points.get(self.index(diagonal));
        point.copied().unwrap_or_default()
    }

    fn set(&mut self, diagonal: isize, point: usize) {
        let index = self.index(diagonal);
        if let Some(at) = self.points.get_mut(index) {
            *at = point;
        }
    }

    /// Whether the best way onto the diagonal, with this many edits, is an insertion.
    fn is_insertion(&self, diagonal: isize, edits: isize) -> bool {
        diagonal == -edits || (diagonal != edits && self.at(diagonal - 1) < self.at(diagonal + 1))
    }

    fn copy_within(&self, reach: usize) -> Self {
        let from = self.reach - reach;
        Self { reach, points: self.points[from..=self.reach + reach].to_vec() }
    }
}

/// The hunks of the least edit, or `None` if it has too many steps.
fn search<T: PartialEq>(old: &[T], new: &[T]) -> Option<Vec<Hunk>> {
    let edits_max = EDITS_MAX.min(old.len() + new.len());
    let mut furthest = Furthest::new(edits_max + 1);
    let mut trace = Vec::new();
    for edits in 0..=edits_max {
        trace.push(furthest.copy_within(edits + 1));
        let edits = edits.cast_signed();
        for diagonal in (-edits..=edits).step_by(2) {
            let mut x = if furthest.is_insertion(diagonal, edits) {
                furthest.at(diagonal + 1)
            } else {
                furthest.at(diagonal - 1) + 1
            };
            let mut y = x.checked_add_signed(-diagonal)?;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                x += 1;
                y += 1;
            }
            furthest.set(diagonal, x);
            if x >= old.len() && y >= new.len() {
                return walk_back(&trace, old.len(), new.len());
            }
        }
    }
    None
}

fn walk_back(trace: &[Furthest], old: usize, new: usize) -> Option<Vec<Hunk>> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let (mut x, mut y) = (old, new);
    for (edits, furthest) in trace.iter().enumerate().skip(1).rev() {
        let diagonal = x.cast_signed() - y.cast_signed();
        let is_insertion = furthest.is_insertion(diagonal, edits.cast_signed());
        let before = if is_insertion { diagonal + 1 } else { diagonal - 1 };
        let from_x = furthest.at(before);
        let from_y = from_x.checked_add_signed(-before)?;
        let step = if is_insertion {
            Hunk { old: from_x..from_x, new: from_y..from_y + 1 }
        } else {
            Hunk { old: from_x..from_x + 1, new: from_y..from_y }
        };
        match hunks.last_mut() {
            Some(after) if after.old.start == step.old.end && after.new.start == step.new.end => {
                after.old.start = step.old.start;
                after.new.start = step.new.start;
            }
            Some(_) | None => hunks.push(step),
        }
        (x, y) = (from_x, from_y);
    }
    hunks.reverse();
    Some(hunks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replay(old: &[u8], new: &[u8], hunks: &[Hunk]) -> Vec<u8> {
        let mut result = Vec::new();
        let mut at = 0;
        for hunk in hunks {
            result.extend(&old[at..hunk.old.start]);
            result.extend(&new[hunk.new.clone()]);
            at = hunk.old.end;
        }
        result.extend(&old[at..]);
        result
    }

    /// The length of the longest common subsequence, the slow way.
    fn common(old: &[u8], new: &[u8]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for a in old {
            let mut diagonal = 0;
            for (j, b) in new.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if a == b { diagonal + 1 } else { above.max(row[j]) };
                diagonal = above;
            }
        }
        row[new.len()]
    }

    proptest! {
        #[test]
        fn hunks_lead_from_old_to_new_with_the_fewest_edits(
            old in proptest::collection::vec(0u8..4, 0..40),
            new in proptest::collection::vec(0u8..4, 0..40),
        ) {
            let hunks = hunks(&old, &new);
            prop_assert_eq!(replay(&old, &new, &hunks), new.clone());
            let edits: usize = hunks.iter().map(|h| h.old.len() + h.new.len()).sum();
            prop_assert_eq!(edits, old.len() + new.len() - 2 * common(&old, &new));
        }
    }

    #[test]
    fn very_different_sequences_are_replaced_between_their_common_ends() {
        let old: Vec<u32> = (0..2_000).collect();
        let new: Vec<u32> = [0].into_iter().chain(5_000..7_000).chain([1_999]).collect();
        let whole = Hunk { old: 1..1_999, new: 1..2_001 };
        assert_eq!(hunks(&old, &new), [whole]);
    }
}
