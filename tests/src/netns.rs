//! A switch with a cable to each office: Linux network namespaces, joined by a bridge of their own. Nothing leaves them.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Switches made by this process.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// A network card that nobody has: what is sent there is lost, and the sender is not informed.
const NOWHERE: &str = "02:00:00:00:00:ff";

/// Network namespaces `0..count` on one switch. They are removed when dropped.
pub struct Switch {
    name: String,
    count: usize,
}

impl Switch {
    /// A switch with so many namespaces; the error says why this machine does not permit it.
    ///
    /// # Errors
    /// Why this machine does not permit it.
    pub fn new(count: usize) -> Result<Self, String> {
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let switch = Self { name: format!("bl{}-{number}", std::process::id()), count };
        let hub = switch.hub();
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add name bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        for office in 0..count {
            let space = switch.namespace(office);
            ip(&format!("netns add {space}"))?;
            ip(&format!("-n {hub} link add cable{office} type veth peer name eth0 netns {space}"))?;
            ip(&format!("-n {hub} link set cable{office} master bridge up"))?;
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            switch.add_address(office, switch.host(office))?;
        }
        Ok(switch)
    }

    /// The namespace of an office.
    pub fn namespace(&self, office: usize) -> String {
        format!("{}-{office}", self.name)
    }

    /// The address of an office within the switch.
    pub fn address(&self, office: usize) -> String {
        format!("10.77.0.{}", self.host(office))
    }

    /// Pulls an office's cable out, or plugs it in again.
    pub fn set_cable(&self, office: usize, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        done(&format!("-n {} link set cable{office} {state}", self.hub()));
    }

    /// What `from` sends to `to` is lost on the way from now on; what `to` sends arrives.
    pub fn lose(&self, from: usize, to: usize) {
        let (space, address) = (self.namespace(from), self.address(to));
        done(&format!(
            "-n {space} neigh replace {address} lladdr {NOWHERE} dev eth0 nud permanent"
        ));
    }

    /// The end of [`Switch::lose`].
    pub fn lose_no_more(&self, from: usize, to: usize) {
        let (space, address) = (self.namespace(from), self.address(to));
        done(&format!("-n {space} neigh del {address} dev eth0"));
    }

    /// Moves an office to another address, of which it is informed; the former one is gone.
    pub fn move_office(&self, office: usize, host: usize) -> String {
        let space = self.namespace(office);
        done(&format!("-n {space} addr flush dev eth0"));
        self.add_address(office, host).unwrap_or_else(|error| panic!("{error}"));
        format!("10.77.0.{host}")
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    fn host(&self, office: usize) -> usize {
        office + 1
    }

    fn add_address(&self, office: usize, host: usize) -> Result<(), String> {
        let space = self.namespace(office);
        ip(&format!("-n {space} addr add 10.77.0.{host}/24 brd + dev eth0"))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for office in 0..self.count {
            // It may never have been made. The same holds for the hub.
            let _ = ip(&format!("netns del {}", self.namespace(office)));
        }
        let _ = ip(&format!("netns del {}", self.hub()));
    }
}

fn done(arguments: &str) {
    ip(arguments).unwrap_or_else(|error| panic!("{error}"));
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip (package iproute2) does not run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
