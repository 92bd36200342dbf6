//! A terminal that looks on: what a command writes where a person reads, byte by byte.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Runs a command at a terminal of its own. Returns all that the terminal was sent, with plain line ends.
pub fn run_at_terminal(mut command: Command) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let screen = openpt(flags).expect("a terminal");
    grantpt(&screen).expect("a terminal of this user");
    unlockpt(&screen).expect("an open terminal");
    let name = ptsname(&screen, Vec::new()).expect("a name");
    let name = name.to_str().expect("a path");
    let no_control = rustix::fs::OFlags::NOCTTY.bits() as i32;
    let open = || OpenOptions::new().read(true).write(true).custom_flags(no_control).open(name);
    let keyboard = || open().expect("the terminal");
    command.stdin(Stdio::null()).stdout(keyboard()).stderr(keyboard());
    let mut child = command.spawn().expect("the program runs");
    // The terminal hangs up once nobody holds it.
    drop(command);
    let mut shown = Vec::new();
    let mut screen = File::from(screen);
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = screen.read(&mut piece) {
        shown.extend_from_slice(&piece[..count]);
    }
    child.wait().expect("the command ends");
    String::from_utf8_lossy(&shown).replace("\r\n", "\n")
}

/// The first character that a terminal would act upon, or that a reader would not see.
pub fn hidden_in(text: &str) -> Option<char> {
    let is_format = |c: char| {
        matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
    };
    text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || is_format(*c))
}
