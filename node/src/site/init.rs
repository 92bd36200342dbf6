//! Making a site, and with it a network.

use std::path::Path;
use std::time::Instant;

use branchline_crdt::ids::{RealmId, SiteId};
use branchline_crdt::membership::Genesis;
use branchline_crdt::store::StoreError;
use tracing::warn;

use crate::clock::{self, wall_ms};
use crate::node::{StartError, open_replica, random_bytes};
use crate::site::{SITE_FILES, SiteError, SiteFolder};
use crate::storage::Options;
use crate::storage::folder::{DataFolder, FolderError};

/// Why a site was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The site's files cannot be made.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<SiteError> for InitError {
    fn from(error: SiteError) -> Self {
        Self::Start(error.into())
    }
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// The new site.
    pub site: SiteId,
    /// The network that it founded.
    pub network: Option<RealmId>,
}

/// Makes a site in a new data folder, and a network with it if `found`.
///
/// # Errors
/// [`InitError`] where the folder holds a site or other data, the name cannot be one, or the disk fails.
pub fn init(data: &Path, name: &str, found: bool) -> Result<InitReport, InitError> {
    clock::check().map_err(StartError::from)?;
    let folder = SiteFolder::new(data);
    match folder.site() {
        Ok(site) => return Err(SiteError::Exists { path: data.to_owned(), name: site.name }.into()),
        Err(SiteError::NoSite { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let locked = DataFolder::open_or_create(data)?;
    let had_data = DATA.iter().any(|name| data.join(name).exists());
    let site = folder.create(name)?.site();
    if !found {
        return Ok(InitReport { site, network: None });
    }
    match found_network(&folder, locked, site, name) {
        Ok(network) => Ok(InitReport { site, network: Some(network) }),
        Err(error) => {
            remove_site(data, had_data);
            Err(error)
        }
    }
}

/// Founds a network with one member, and checks that it stands.
fn found_network(
    folder: &SiteFolder,
    locked: DataFolder,
    site: SiteId,
    name: &str,
) -> Result<RealmId, InitError> {
    let founders = vec![(site, name.to_owned())];
    let genesis = Genesis { founders, time_ms: wall_ms(), nonce: random_bytes()? };
    let network = genesis.network();
    let mut replica = open_replica(folder, locked, Options::default(), Instant::now())?.0;
    replica.found(genesis);
    replica.commit().map_err(StartError::from)?;
    if replica.realms().network() == Some(network) {
        Ok(network)
    } else {
        let reason =
            "the network's genesis was not kept; check the disk and its free space, then try again";
        let source = std::io::Error::other(reason);
        Err(StartError::from(StoreError::Unwritable { source }).into())
    }
}

/// What makes a folder hold data.
const DATA: [&str; 2] = ["journal", "tables"];

/// Takes back a site that could not found its network, so that it can be tried again. Data that was there before stays.
fn remove_site(folder: &Path, had_data: bool) {
    let files = SITE_FILES.iter().map(|name| std::fs::remove_file(folder.join(name)));
    let folders = DATA.iter().filter(|_| !had_data);
    let folders = folders.map(|name| std::fs::remove_dir_all(folder.join(name)));
    for error in files.chain(folders).filter_map(Result::err) {
        if error.kind() != std::io::ErrorKind::NotFound {
            warn!(folder = %folder.display(), %error, "a part of the unfinished site stays");
        }
    }
}
