//! The Unix socket of a data folder, over which commands speak to the node that runs on it.
//!
//! Its mode lets only the folder's owner (and root) connect, so no token is needed and none is sent: nobody else can
//! listen there, unlike on a port. It is at `api.sock` in the folder. The path of a socket has at most 107 bytes; a longer
//! one is reached through the opened folder, as `/proc/self/fd/N/api.sock`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// The socket's name in the data folder.
pub const SOCKET_FILE: &str = "api.sock";
/// The name that it has until its mode is set.
const SOCKET_FILE_NEW: &str = "api.sock.new";
/// Longest path that the system takes for a socket.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long to try where as many wait to be accepted as may, and how often.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);
const QUEUE_PAUSE: Duration = Duration::from_millis(10);
/// The user who may do everything.
const ROOT: u32 = 0;

/// The socket that a node serves its API on; removed from the folder when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Who made it.
    owner: u32,
}

impl Socket {
    /// Listens in a data folder that this process has locked, in place of a node that is gone.
    pub(crate) fn listen(folder: &Path) -> io::Result<Self> {
        let (path, new) = (folder.join(SOCKET_FILE), folder.join(SOCKET_FILE_NEW));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let short = ShortPath::of(folder, SOCKET_FILE_NEW)?;
        let listener = UnixListener::bind(&short.path)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        let owner = fs::symlink_metadata(&new)?.uid();
        fs::rename(&new, &path)?;
        Ok(Self { listener, path, owner })
    }

    /// Waits for the next connection. `None`: it was another user's, who had it from a time at which the mode allowed it.
    pub(crate) async fn accept(&self) -> io::Result<Option<(UnixStream, Option<i32>)>> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?;
        if peer.uid() != self.owner && peer.uid() != ROOT {
            warn!(user = peer.uid(), "another user's connection to the API's socket is refused");
            return Ok(None);
        }
        Ok(Some((stream, peer.pid())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Where it stays, nobody listens: a command learns that when it connects.
        let _ = fs::remove_file(&self.path);
    }
}

/// Connects to the node that runs on a data folder.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] and [`io::ErrorKind::ConnectionRefused`] where none runs, [`io::ErrorKind::WouldBlock`] where
/// it accepts no connections.
pub async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(folder, SOCKET_FILE)?;
    let deadline = Instant::now() + QUEUE_PATIENCE;
    loop {
        match UnixStream::connect(&short.path).await {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                sleep(QUEUE_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// A path that is short enough for a socket.
struct ShortPath {
    path: PathBuf,
    /// Open while the path is used.
    _folder: Option<File>,
}

impl ShortPath {
    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_opens_to_its_owner_whatever_the_length_of_its_path_and_replaces_one_left_behind()
     {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("n".repeat(150));
        fs::create_dir(&long).unwrap();
        for folder in [folder.path(), &long] {
            let missing = connect(folder).await.unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
            // Of a process that was killed: nobody listens, and the file is there.
            let left = Socket::listen(folder).unwrap();
            let Socket { path, .. } = &left;
            fs::hard_link(path, folder.join("kept")).unwrap();
            drop(left);
            fs::rename(folder.join("kept"), folder.join(SOCKET_FILE)).unwrap();
            let refused = connect(folder).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

            let socket = Socket::listen(folder).unwrap();
            let mode = fs::symlink_metadata(folder.join(SOCKET_FILE)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
            let (connected, accepted) = tokio::join!(connect(folder), socket.accept());
            connected.unwrap();
            let (_, process) = accepted.unwrap().unwrap();
            assert_eq!(process, Some(std::process::id().cast_signed()));
            drop(socket);
            assert!(!folder.join(SOCKET_FILE).exists());
        }
    }
}
