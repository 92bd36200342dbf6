//! What a connector's section says about the service that it asks.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::allow::Allow;
use super::auth::AuthConfig;
use crate::jobs::duration;
use crate::jobs::rate::{CONCURRENCY_MAX, Rate};

/// Longest body of an answer, inflated, where nothing is configured.
const BODY_BYTES: u64 = 64 * 1024 * 1024;
/// Longest that can be configured: an answer is held in memory.
const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Longest time-out that can be configured: an hour.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// What a connector's section says about the service that it asks; part of `[[source]]` and of `[[sink]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceConfig {
    /// Addresses, networks and hosts that would be refused otherwise: `10.0.0.7`, `10.1.0.0/16`, `crm.internal`.
    pub allow: Vec<String>,
    /// Certificates in PEM of authorities that are trusted beside the machine's: those of a company's own.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub auth: Option<AuthConfig>,
    /// At most so many requests: `5/s`, `100/m`, `1000/h`.
    pub rate: Option<String>,
    /// At most so many at once; fewer while the service is overloaded. Default: 2.
    pub concurrency: Option<usize>,
    /// Longest time from sending a request to the last byte of its answer.
    #[serde(with = "duration::written")]
    pub timeout: Duration,
    /// Longest time without a byte within an answer.
    #[serde(with = "duration::written")]
    pub idle: Duration,
    /// Longest body of an answer in bytes, inflated.
    pub body_max: u64,
    /// Texts in the body of a refusal that mean that the service is overloaded, whatever its status.
    pub overload: Vec<String>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            ca_file: None,
            auth: None,
            rate: None,
            concurrency: None,
            timeout: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            body_max: BODY_BYTES,
            overload: Vec::new(),
        }
    }
}

impl ServiceConfig {
    /// Judges the settings, without reading any secret.
    ///
    /// # Errors
    /// A text that names the setting, what was found and what is expected.
    pub fn check(&self) -> Result<(), String> {
        Allow::read(&self.allow)?;
        self.auth.as_ref().map_or(Ok(()), AuthConfig::check)?;
        if let Some(rate) = &self.rate {
            Rate::parse(rate).map_err(|error| format!("rate: {error}"))?;
        }
        if let Some(concurrency) = self.concurrency
            && !(1..=CONCURRENCY_MAX).contains(&concurrency)
        {
            return Err(format!("concurrency is {concurrency}: expected 1 to {CONCURRENCY_MAX}"));
        }
        for (name, found) in [("timeout", self.timeout), ("idle", self.idle)] {
            if found.is_zero() || found > TIMEOUT_MAX {
                let found = duration::text(found);
                return Err(format!(
                    "{name} is {found}: expected more than nothing and at most 1h"
                ));
            }
        }
        if !(1..=BODY_BYTES_MAX).contains(&self.body_max) {
            return Err(format!(
                "body_max is {}: expected 1 to {BODY_BYTES_MAX} bytes",
                self.body_max
            ));
        }
        if self.overload.iter().any(String::is_empty) {
            return Err("overload has an empty text, which every answer holds".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> ServiceConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn settings_have_defaults_and_are_judged_by_name() {
        read("").check().unwrap();
        let full = "allow = [\"10.0.0.7\", \"10.1.0.0/16\", \"crm.internal\"]\nrate = \"5/s\"\nconcurrency = 4\n\
            timeout = \"1m\"\nidle = \"5s\"\nbody_max = 1000\noverload = [\"Invalid login attempt\"]";
        read(full).check().unwrap();
        for (text, part) in [
            ("allow = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
            ("rate = \"fast\"", "rate: \"fast\""),
            ("concurrency = 0", "concurrency is 0"),
            ("timeout = \"2h\"", "timeout is 2h"),
            ("idle = \"0s\"", "idle is 0ms"),
            ("body_max = 0", "body_max is 0"),
            ("overload = [\"\"]", "overload"),
        ] {
            let error = read(text).check().unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
