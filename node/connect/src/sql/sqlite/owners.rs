//! Owners, groups and modes. SQLite keeps files beside the database (`-wal`, `-shm`, `-journal`) and gives them the mode of
//! the database, whatever the umask, but the owner and group of the one who makes them. Made by the bridge, they must be
//! writable for the application, or the till stands still; and the other way round.

use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// A file or folder.
#[derive(Clone, Copy, Debug)]
struct Owned {
    user: u32,
    group: u32,
    mode: u32,
}

/// Who this process is.
#[derive(Clone, Debug)]
struct Me {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

impl Owned {
    fn of(metadata: &Metadata) -> Self {
        Self { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }

    /// Whether a user in these groups may write it.
    fn is_writable(self, user: u32, groups: &[u32]) -> bool {
        let bit = if user == self.user {
            0o200
        } else if groups.contains(&self.group) {
            0o020
        } else {
            0o002
        };
        user == 0 || self.mode & bit != 0
    }
}

/// Refusals and warnings.
pub(super) fn judge(path: &Path) -> (Vec<String>, Vec<String>) {
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    let Some(folder) = path.parent() else { return (refusals, warnings) };
    let (Ok(file), Ok(directory)) = (std::fs::metadata(path), std::fs::metadata(folder)) else {
        refusals.push(format!("{} cannot be looked at", path.display()));
        return (refusals, warnings);
    };
    let me = Me {
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
        groups: rustix::process::getgroups()
            .unwrap_or_default()
            .iter()
            .map(|group| group.as_raw())
            .collect(),
    };
    let (file, directory) = (Owned::of(&file), Owned::of(&directory));
    let names = OwnedNames::read();
    if let Err(Errno::ROFS) = access(folder, Access::WRITE_OK) {
        refusals.push(format!(
            "{} is read-only for this process. Under systemd the service needs a drop-in: {}",
            folder.display(),
            drop_in(folder, &names.group(file.group)),
        ));
        return (refusals, warnings);
    }
    refusals.extend(wrong(path, folder, file, directory, &me, &names));
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let Ok(metadata) = std::fs::metadata(&beside) else { continue };
        let found = Owned::of(&metadata);
        if !found.is_writable(file.user, &[file.group]) {
            refusals.push(format!(
                "{} belongs to {} ({:04o}), and {} may not write it: the application gets \"attempt to write a readonly \
                 database\". Give it the owner and mode of the database",
                Path::new(&beside).display(),
                names.owner(found),
                found.mode,
                names.user(file.user),
            ));
        }
    }
    if refusals.is_empty() && me.user != file.user {
        warnings.push(format!(
            "{} belongs to {}, not to the node's user {}. Under systemd the node's service needs a drop-in: {}",
            path.display(),
            names.owner(file),
            names.user(me.user),
            drop_in(folder, &names.group(file.group)),
        ));
    }
    (refusals, warnings)
}

/// What `systemctl edit branchline` has to say.
fn drop_in(folder: &Path, group: &str) -> String {
    format!(
        "`systemctl edit branchline` with the lines `[Service]`, `ReadWritePaths={}`, `SupplementaryGroups={group}`{}; its \
         UMask does not matter to SQLite",
        folder.display(),
        if folder.starts_with("/home") || folder.starts_with("/root") {
            ", `ProtectHome=no`"
        } else {
            ""
        },
    )
}

fn wrong(
    path: &Path,
    folder: &Path,
    file: Owned,
    directory: Owned,
    me: &Me,
    names: &OwnedNames,
) -> Vec<String> {
    // SQLite gives what root makes to the database's owner.
    if me.user == 0 {
        return Vec::new();
    }
    let mut groups = me.groups.clone();
    groups.push(me.group);
    let (owner, group) = (names.user(file.user), names.group(file.group));
    let mut wrong = Vec::new();
    let mut refuse = |what: &Path, found: Owned, mode: &str| {
        let mut text = format!(
            "{} belongs to {} ({:04o}), and {} may not write it",
            what.display(),
            names.owner(found),
            found.mode,
            names.user(me.user),
        );
        let path = what.display();
        let _ = write!(text, ": run `chgrp {group} {path}; chmod {mode} {path}`");
        if !groups.contains(&file.group) {
            let _ = write!(text, ", and {}", drop_in(folder, &group));
        }
        wrong.push(text);
    };
    if !file.is_writable(me.user, &groups) {
        refuse(path, file, "g+w");
    }
    if !directory.is_writable(me.user, &groups) {
        refuse(folder, directory, "g+rwxs");
    }
    if me.user == file.user {
        return wrong;
    }
    if directory.mode & STICKY != 0 && directory.user != file.user {
        wrong.push(format!(
            "in {} only their owner may delete files (mode {:04o}), so the journals that {owner} and {} leave to each other \
             stay: move the database into a folder of its own",
            folder.display(),
            directory.mode,
            names.user(me.user),
        ));
    }
    // The group of what the bridge makes there, and of what the application does.
    let is_inherited = directory.mode & SETGID != 0;
    let (mine, theirs) = if is_inherited {
        (directory.group, Some(directory.group))
    } else {
        (me.group, names.first_group(file.user))
    };
    let is_shared = mine == file.group && theirs.is_none_or(|group| group == file.group);
    // A file that everybody may write is no matter of groups.
    if !is_shared && file.mode & 0o002 == 0 {
        wrong.push(format!(
            "files that {} and {owner} make beside the database (-wal, -shm, -journal) would have different groups, and one \
             could not write the other's: run `chgrp {group} {folder}; chmod g+rwxs {folder}`, so that all of them have the \
             group {group}",
            names.user(me.user),
            folder = folder.display(),
        ));
    }
    wrong
}

/// Names of users and groups, as far as the usual files have them.
#[derive(Debug, Default)]
struct OwnedNames {
    users: String,
    groups: String,
}

impl OwnedNames {
    fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    fn field(text: &str, id: u32, field: usize) -> Option<&str> {
        let id = id.to_string();
        let line = text.lines().find(|line| line.split(':').nth(2) == Some(id.as_str()))?;
        line.split(':').nth(field)
    }

    fn user(&self, id: u32) -> String {
        Self::field(&self.users, id, 0).map_or_else(|| id.to_string(), str::to_owned)
    }

    fn group(&self, id: u32) -> String {
        Self::field(&self.groups, id, 0).map_or_else(|| id.to_string(), str::to_owned)
    }

    fn first_group(&self, user: u32) -> Option<u32> {
        Self::field(&self.users, user, 3)?.parse().ok()
    }

    fn owner(&self, of: Owned) -> String {
        format!("{}:{}", self.user(of.user), self.group(of.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILL: u32 = 500;
    const NODE: u32 = 600;
    const SHARED: u32 = 700;

    fn judged(
        file_mode: u32,
        group: u32,
        folder_mode: u32,
        me: u32,
        groups: &[u32],
    ) -> Vec<String> {
        let names = OwnedNames {
            users: format!(
                "till:x:{TILL}:{TILL}::/:/bin/sh\nbranchline:x:{NODE}:{NODE}::/:/bin/sh"
            ),
            groups: format!("till:x:{TILL}:\nbranchline:x:{NODE}:\nshop:x:{SHARED}:"),
        };
        wrong(
            Path::new("/srv/till/shop.db"),
            Path::new("/srv/till"),
            Owned { user: TILL, group, mode: file_mode },
            Owned { user: TILL, group, mode: folder_mode },
            &Me { user: me, group: me, groups: groups.to_vec() },
            &names,
        )
    }

    #[test]
    fn a_file_of_another_user_needs_a_group_that_both_have_and_that_new_files_get() {
        let nothing: [String; 0] = [];
        assert_eq!(
            judged(0o644, TILL, 0o755, 0, &[]),
            nothing,
            "root gives what it makes to the owner"
        );
        assert_eq!(judged(0o644, TILL, 0o755, TILL, &[]), nothing, "the till's own user");
        assert_eq!(judged(0o664, SHARED, 0o2775, NODE, &[SHARED]), nothing);
        assert_eq!(judged(0o666, TILL, 0o777, NODE, &[]), nothing);

        let refused = judged(0o644, TILL, 0o755, NODE, &[]);
        assert_eq!(refused.len(), 3, "{refused:?}");
        for part in [
            "shop.db belongs to till:till (0644)",
            "branchline may not",
            "SupplementaryGroups=till",
        ] {
            assert!(refused.iter().any(|text| text.contains(part)), "{part}: {refused:?}");
        }
        // Writable, but a -wal made by the node would be of the node's own group.
        let refused = judged(0o664, SHARED, 0o775, NODE, &[SHARED]);
        let [text] = &refused[..] else { panic!("{refused:?}") };
        assert!(text.contains("chmod g+rwxs /srv/till"), "{text}");
    }
}
