//! Giving a site another key.

use std::path::Path;
use std::time::Instant;

use branchline_crdt::Replica;
use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{Decision, DecisionError, Input, Output};
use tracing::info;

use crate::clock;
use crate::driver::Driver;
use crate::node::{StartError, open_replica};
use crate::site::SiteFolder;
use crate::storage::folder::DataFolder;
use crate::storage::{OpenError, Options, Storage};

/// Why a site keeps its key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The folder cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The site cannot replace its key.
    #[error(transparent)]
    Decision(#[from] DecisionError),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateReport {
    /// The site by its old key.
    pub from: SiteId,
    /// The site by its new key.
    pub to: SiteId,
}

/// Gives the site of a stopped node another key: the network hears it from the old one, when the node next runs. Whatever
/// crashes in between, one of the two keys is the site's, and the same command goes on with the same new key.
///
/// # Errors
/// [`RotateError`] where the node runs, the site cannot be opened, or its network would not follow it.
pub fn rotate(data: &Path) -> Result<RotateReport, RotateError> {
    clock::check().map_err(StartError::from)?;
    let folder = SiteFolder::new(data);
    folder.site().map_err(StartError::from)?;
    let locked =
        DataFolder::open_patiently(data).map_err(OpenError::from).map_err(StartError::from)?;
    let from = folder.key().map_err(StartError::from)?.site();
    let started = Instant::now();
    let mut replica = open_replica(&folder, locked, Options::default(), started)?.0;
    let next = folder.next_key().map_err(StartError::from)?;
    let to = next.site();
    if replica.realms().members().and_then(|members| members.successor(&from)) != Some(to) {
        let decision = replica.realms().rotation_to(&next);
        decide(&mut replica, decision, started)?;
    }
    folder.take_next_key(to).map_err(StartError::from)?;
    replica.into_store().flush_tables().map_err(StartError::from)?;
    Ok(RotateReport { from, to })
}

fn decide(
    replica: &mut Replica<Storage>,
    decision: Decision,
    started: Instant,
) -> Result<(), RotateError> {
    let decide = Input::Decide { id: 0, decision };
    replica.handle(decide, Driver::now(started)).map_err(StartError::from)?;
    while let Some(output) = replica.output() {
        if let Output::Decided { result, .. } = output {
            return Ok(result?);
        }
    }
    Err(DecisionError::NoMember.into())
}

/// Goes on where [`rotate`] was cut off: takes the new key over if the network knows the site by that. Says whether it
/// did, so that the site is to be opened again.
pub(crate) fn finish(folder: &SiteFolder, replica: &Replica<Storage>) -> Result<bool, StartError> {
    let successor =
        replica.realms().members().and_then(|members| members.successor(&replica.site()));
    let Some(successor) = successor else { return Ok(false) };
    let is_taken = folder.take_next_key(successor)?;
    if is_taken {
        info!(site = %successor, "this site continues under its new key");
    }
    Ok(is_taken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::init;

    fn founded() -> (tempfile::TempDir, SiteFolder, SiteId) {
        let data = tempfile::tempdir().unwrap();
        let site = init(data.path(), "head", true).unwrap().site;
        let folder = SiteFolder::new(data.path());
        (data, folder, site)
    }

    fn open(folder: &SiteFolder) -> Replica<Storage> {
        let locked = DataFolder::open(folder.path()).unwrap();
        open_replica(folder, locked, Options::default(), Instant::now()).unwrap().0
    }

    #[test]
    fn a_site_goes_on_under_another_key_with_its_name_and_role() {
        let (data, folder, old) = founded();
        let RotateReport { from, to } = rotate(data.path()).unwrap();
        assert_eq!((from, folder.key().unwrap().site()), (old, to));
        let replica = open(&folder);
        let members = replica.realms().members().unwrap();
        assert_eq!(members.seniority(), [old, to]);
        assert_eq!(members.all().keys().collect::<Vec<_>>(), [&to]);
        assert_eq!(members.get(&to).unwrap().name, "head");
        assert!(members.revoked().is_empty());
        drop(replica);
        let again = rotate(data.path()).unwrap();
        assert_eq!((again.from, folder.key().unwrap().site()), (to, again.to));
    }

    #[test]
    fn a_crash_at_any_step_leaves_one_of_the_two_keys() {
        let (data, folder, old) = founded();
        // The new key is there, and nobody was informed.
        let next = folder.next_key().unwrap();
        assert_eq!(folder.key().unwrap().site(), old);
        assert_eq!(folder.next_key().unwrap().site(), next.site());
        // The network was informed, and the folder not yet changed.
        let before = ["site.key", "site.key.next", "site.json"]
            .map(|name| (name, std::fs::read(data.path().join(name)).unwrap()));
        assert_eq!(rotate(data.path()).unwrap().to, next.site());
        for (name, content) in &before {
            std::fs::write(data.path().join(name), content).unwrap();
        }
        assert!(finish(&folder, &open(&folder)).unwrap());
        assert_eq!(folder.key().unwrap().site(), next.site());
        // The folder says which key, and only the next one is that.
        std::fs::write(data.path().join("site.key"), &before[0].1).unwrap();
        std::fs::write(data.path().join("site.key.next"), &before[1].1).unwrap();
        assert_eq!(folder.key().unwrap().site(), next.site());
        let files = folder.files().unwrap();
        assert!(files.iter().any(|(name, key)| name == "site.key" && *key == before[1].1));
        let after = rotate(data.path()).unwrap();
        assert_eq!((after.from, folder.key().unwrap().site()), (next.site(), after.to));
    }

    #[test]
    fn a_site_without_a_network_keeps_its_key() {
        let data = tempfile::tempdir().unwrap();
        let site = init(data.path(), "head", false).unwrap().site;
        assert!(matches!(rotate(data.path()), Err(RotateError::Decision(DecisionError::NoMember))));
        assert_eq!(SiteFolder::new(data.path()).key().unwrap().site(), site);
    }
}
