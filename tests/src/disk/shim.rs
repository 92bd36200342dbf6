//! The library that is preloaded into a process, to record what it writes or to make that fail. See `shim.c`.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("shim.c");

/// The built library.
pub struct Shim {
    library: PathBuf,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// `fsync`, `fdatasync`, `sync_file_range`.
    Sync,
    /// `write`, `pwrite`, `ftruncate`.
    Write,
    /// `open` for writing.
    Open,
}

/// A switch: while it is on, calls fail.
pub struct Fault {
    file: PathBuf,
}

impl Shim {
    /// Builds the library with `cc` in `folder`.
    pub fn build(folder: &Path) -> Shim {
        let source = folder.join("shim.c");
        std::fs::write(&source, SOURCE).expect("the source is written");
        let library = folder.join("shim.so");
        let built = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("this test needs a C compiler: cc");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Shim { library }
    }

    /// Has `command` record into `record` what it changes below `folder`.
    pub fn record(&self, command: &mut Command, folder: &Path, record: &Path) {
        self.preload(command, folder).env("DISK_SHIM_RECORD", record);
    }

    /// Has calls of `command` below `folder` fail on demand.
    pub fn fault(&self, command: &mut Command, folder: &Path) -> Fault {
        let file = self.library.with_extension("fault");
        self.preload(command, folder).env("DISK_SHIM_FAULT", &file);
        Fault { file }
    }

    /// Lets a clock begin for `command` at so many seconds after (or before) 1970.
    pub fn set_clock(&self, command: &mut Command, seconds: i64) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_SHIM_SECONDS", seconds.to_string());
    }

    fn preload<'c>(&self, command: &'c mut Command, folder: &Path) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library).env("DISK_SHIM_FOLDER", folder)
    }
}

impl Fault {
    /// From now on `call`s on paths that contain `part` fail with `errno`.
    pub fn on(&self, call: Call, errno: i32, part: &str) {
        let call = match call {
            Call::Sync => "sync",
            Call::Write => "write",
            Call::Open => "open",
        };
        // Renamed into place: a call in between sees the old or the new.
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, format!("{call} {errno} {part}")).expect("the switch is written");
        std::fs::rename(&aside, &self.file).expect("the switch is turned");
    }

    /// Nothing fails any more.
    pub fn off(&self) {
        std::fs::remove_file(&self.file).expect("the switch was on");
    }
}
