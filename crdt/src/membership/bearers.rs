//! Names, each borne by one site: of several sites that wish for one the most senior gets it, the others a number behind it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::SiteId;

/// The names that sites bear or bore, and those that they wish for.
///
/// A name with a number behind it can collide with names of the same stem alone, so a wish is settled among those.
#[derive(Clone, Debug, Default)]
pub(super) struct Bearers {
    /// With each site's place in the seniority.
    wishes: BTreeMap<SiteId, (usize, String)>,
    by_stem: BTreeMap<String, BTreeSet<(usize, SiteId)>>,
    borne: BTreeMap<SiteId, String>,
    names: BTreeSet<String>,
    /// Stems of which wishes have changed.
    open: BTreeSet<String>,
}

impl Bearers {
    /// The names that are borne.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// The name that a site bears.
    pub(super) fn of(&self, site: &SiteId) -> Option<&str> {
        self.borne.get(site).map(String::as_str)
    }

    /// A site wishes for a name.
    pub(super) fn wish(&mut self, site: SiteId, rank: usize, name: String) {
        let before = self.wishes.get(&site).map(|(rank, name)| (*rank, stem(name).to_owned()));
        if self.wishes.get(&site).is_some_and(|wish| wish.0 == rank && wish.1 == name) {
            return;
        }
        if let Some((rank, stem)) = before {
            if let Some(of_stem) = self.by_stem.get_mut(&stem) {
                of_stem.remove(&(rank, site));
            }
            self.open.insert(stem);
        }
        let stem = stem(&name).to_owned();
        self.by_stem.entry(stem.clone()).or_default().insert((rank, site));
        self.open.insert(stem);
        self.wishes.insert(site, (rank, name));
    }

    /// Gives the names out that are wished for. Returns who bears another one than before.
    pub(super) fn settle(&mut self) -> Vec<(SiteId, String)> {
        let mut given = Vec::new();
        for stem in std::mem::take(&mut self.open) {
            let of_stem = self.by_stem.get(&stem).into_iter().flatten();
            let mut taken = BTreeSet::new();
            for (_, site) in of_stem {
                let Some((_, wished)) = self.wishes.get(site) else { continue };
                let name = unique_name(&taken, wished);
                taken.insert(name.clone());
                if self.borne.get(site) != Some(&name) {
                    given.push((*site, name));
                }
            }
            if taken.is_empty() {
                self.by_stem.remove(&stem);
            }
        }
        for (site, name) in &given {
            if let Some(before) = self.borne.insert(*site, name.clone()) {
                self.names.remove(&before);
            }
        }
        // Only now: one may have got what another gave up.
        for (site, _) in &given {
            self.names.extend(self.borne.get(site).cloned());
        }
        given
    }
}

/// A name without the numbers behind it.
fn stem(name: &str) -> &str {
    let mut stem = name;
    while let Some((before, number)) = stem.rsplit_once('-')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        stem = before;
    }
    stem
}

/// Two sites may wish for one name; the junior gets a number behind it.
fn unique_name(taken: &BTreeSet<String>, wished: &str) -> String {
    let numbered = (2..).map(|number: u64| format!("{wished}-{number}"));
    let mut candidates = std::iter::once(wished.to_owned()).chain(numbered);
    candidates.find(|name| !taken.contains(name)).unwrap_or_else(|| wished.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: u8) -> SiteId {
        SiteId([number; 32])
    }

    #[test]
    fn a_name_that_is_given_up_falls_to_the_next_who_wishes_for_it() {
        let mut bearers = Bearers::default();
        for (rank, name) in ["till", "till", "till-2", "depot"].into_iter().enumerate() {
            bearers.wish(site(rank as u8), rank, name.to_owned());
        }
        bearers.settle();
        let names: Vec<_> = bearers.names().iter().map(String::as_str).collect();
        assert_eq!(names, ["depot", "till", "till-2", "till-2-2"]);
        bearers.wish(site(0), 0, "depot".to_owned());
        let mut given = bearers.settle();
        given.sort();
        let now = |number: u8, name: &str| (site(number), name.to_owned());
        assert_eq!(given, [now(0, "depot"), now(1, "till"), now(2, "till-2"), now(3, "depot-2")]);
        let names: Vec<_> = bearers.names().iter().map(String::as_str).collect();
        assert_eq!(names, ["depot", "depot-2", "till", "till-2"]);
    }
}
