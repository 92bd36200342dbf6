//! Who is linked with whom.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;

use super::names::Names;
use crate::scenario::Office;
use crate::scenario::error::Wrong;
use crate::scenario::file::{Shape, Topology};

/// The links of a topology, each once, the smaller office first; a hub at the first office if none is given.
pub(super) fn links(
    names: &Names,
    topology: Option<&Spanned<Topology>>,
    offices: Range<usize>,
) -> Result<Vec<(Office, Office)>, Wrong> {
    let count = names.len();
    let Some(topology) = topology else { return Ok(hub(0, count)) };
    let span = topology.span();
    let Topology { shape, hub: hub_name, links } = topology.get_ref();
    if let Some(hub_name) = hub_name.as_ref().filter(|_| *shape != Shape::Hub) {
        let message = "found a hub, expected it with shape = \"hub\" only".to_owned();
        return Err(Wrong::at(hub_name.span(), "topology.hub", message));
    }
    if let Some(links) = links.as_ref().filter(|_| *shape != Shape::Links) {
        let message = "found links, expected them with shape = \"links\" only".to_owned();
        return Err(Wrong::at(links.span(), "topology.links", message));
    }
    match shape {
        Shape::Hub => {
            let office = hub_name.as_ref().map(|name| names.find(name, "topology.hub"));
            Ok(hub(office.transpose()?.unwrap_or(0), count))
        }
        Shape::Chain => Ok((1..count).map(|office| (office - 1, office)).collect()),
        Shape::Mesh => Ok((0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()),
        Shape::Ring => {
            let next = (0..count).map(|office| pair(office, (office + 1) % count));
            Ok(BTreeSet::from_iter(next).into_iter().collect())
        }
        Shape::Links => {
            let Some(links) = links else {
                let message = "found no links, expected a list such as [[\"a\", \"b\"]]".to_owned();
                return Err(Wrong::at(span, "topology.links", message));
            };
            let mut pairs = BTreeSet::new();
            for link in links.get_ref() {
                let (a, b) = names.pair(link, "topology.links")?;
                pairs.insert(pair(a, b));
            }
            let links: Vec<_> = pairs.into_iter().collect();
            if !connected(&links, count) {
                let message = "found offices that no path of links joins, expected one network";
                return Err(Wrong::at(offices, "topology.links", message.to_owned()));
            }
            Ok(links)
        }
    }
}

fn hub(hub: Office, count: usize) -> Vec<(Office, Office)> {
    (0..count).filter(|office| *office != hub).map(|office| pair(hub, office)).collect()
}

fn pair(a: Office, b: Office) -> (Office, Office) {
    (a.min(b), a.max(b))
}

fn connected(links: &[(Office, Office)], count: usize) -> bool {
    let mut reached = BTreeSet::from([0]);
    let mut frontier = vec![0];
    while let Some(office) = frontier.pop() {
        let neighbours = links.iter().filter_map(|(a, b)| match office {
            _ if *a == office => Some(*b),
            _ if *b == office => Some(*a),
            _ => None,
        });
        for neighbour in neighbours {
            if reached.insert(neighbour) {
                frontier.push(neighbour);
            }
        }
    }
    reached.len() == count
}
