//! `auth` of a connector's section.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::jobs::duration;
use crate::jobs::secret::SecretText;

/// Longest life of an assertion: providers refuse longer ones.
const LIFETIME_MAX: Duration = Duration::from_secs(3_600);

/// Who asks: `auth = { kind = "bearer", token = "${CRM_TOKEN}" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthConfig {
    /// A name and its password.
    Basic {
        /// The name.
        user: SecretText,
        /// The password.
        password: SecretText,
    },
    /// A token that does not change.
    Bearer {
        /// The token.
        token: SecretText,
    },
    /// Tokens that a program gets for itself (client credentials), by a secret or by a signed assertion.
    Oauth2 {
        /// Where tokens are handed out.
        token_url: String,
        /// Who the program is.
        client_id: SecretText,
        /// Its secret; either this or `assertion`.
        #[serde(default)]
        client_secret: Option<SecretText>,
        /// What it signs instead.
        #[serde(default)]
        assertion: Option<AssertionConfig>,
        /// What the tokens are to allow.
        #[serde(default)]
        scope: Option<String>,
        /// How the secret is sent.
        #[serde(default)]
        client_auth: ClientAuth,
        /// What else the provider wants to be sent: `audience`, `resource`, `account_id`.
        #[serde(default)]
        params: BTreeMap<String, String>,
    },
    /// Tokens that a person has allowed once: the refresh token of that sign-in. Where the provider replaces it at each use,
    /// the latest is kept at this site.
    RefreshToken {
        /// Where tokens are handed out.
        token_url: String,
        /// Who the program is.
        client_id: SecretText,
        /// Its secret, if it has one.
        #[serde(default)]
        client_secret: Option<SecretText>,
        /// The refresh token of the sign-in. A new sign-in is a new one here.
        refresh_token: SecretText,
        /// What the tokens are to allow; default: all that was allowed.
        #[serde(default)]
        scope: Option<String>,
        /// How the secret is sent.
        #[serde(default)]
        client_auth: ClientAuth,
    },
    /// Each request signed by HMAC-SHA256 (OAuth 1.0a, NetSuite's token-based authentication).
    Oauth1 {
        /// The program.
        consumer_key: SecretText,
        /// Its secret.
        consumer_secret: SecretText,
        /// The account's token.
        token: SecretText,
        /// Its secret.
        token_secret: SecretText,
        /// The account, as NetSuite wants it: `1234567_SB1`.
        #[serde(default)]
        realm: Option<String>,
    },
}

/// How a program's secret is sent to where tokens are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the `Authorization` header, which every provider must take (RFC 6749, 2.3.1).
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// A signed statement of who the program is (RFC 7523).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssertionConfig {
    /// The private key in PEM: `${file:/etc/branchline/key.pem}`.
    pub key: SecretText,
    /// The key's name at the provider.
    #[serde(default)]
    pub kid: Option<String>,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// Whom it is for; default: `token_url`.
    #[serde(default)]
    pub audience: Option<String>,
    /// Who states it; default: `client_id`.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Whom it is about; default: `client_id` where the assertion stands for the client, nobody where it is the grant.
    #[serde(default)]
    pub subject: Option<String>,
    /// How long it holds.
    #[serde(default = "lifetime", with = "duration::written")]
    pub lifetime: Duration,
    /// What the assertion is used as.
    #[serde(default)]
    pub grant: AssertionGrant,
}

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA, PKCS#1 1.5.
    RS256,
    /// RSA, PSS.
    PS256,
    /// ECDSA on P-256.
    ES256,
}

/// What an assertion is used as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssertionGrant {
    /// Instead of the client's secret (NetSuite, Microsoft).
    #[default]
    ClientCredentials,
    /// As the grant itself (Google).
    JwtBearer,
}

fn lifetime() -> Duration {
    Duration::from_secs(300)
}

impl AuthConfig {
    /// Judges the settings, without reading any secret.
    ///
    /// # Errors
    /// A text that names the setting, what was found and what is expected.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Basic { .. } | Self::Bearer { .. } | Self::Oauth1 { .. } => Ok(()),
            Self::RefreshToken { token_url, .. } => check_url(token_url),
            Self::Oauth2 { token_url, client_secret, assertion, .. } => {
                check_url(token_url)?;
                match (client_secret, assertion) {
                    (Some(_), None) => Ok(()),
                    (None, Some(assertion)) => assertion.check(),
                    (Some(_), Some(_)) | (None, None) => {
                        Err("auth: expected either client_secret or assertion".to_owned())
                    }
                }
            }
        }
    }
}

impl AssertionConfig {
    fn check(&self) -> Result<(), String> {
        if self.lifetime.is_zero() || self.lifetime > LIFETIME_MAX {
            Err(format!(
                "auth: the assertion's lifetime is {}: expected more than nothing and at most 1h",
                duration::text(self.lifetime)
            ))
        } else {
            Ok(())
        }
    }
}

/// References to secrets may stand in it, so that what is not known yet cannot be judged.
fn check_url(url: &str) -> Result<(), String> {
    if url.starts_with("https://") || url.starts_with("http://") || url.starts_with("${") {
        return Ok(());
    }
    Err("auth: token_url is not a URL: expected https://…".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AuthConfig, String> {
        let config: AuthConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn every_kind_is_read_and_shows_no_secret() {
        for text in [
            "kind = \"basic\"\nuser = \"hidden\"\npassword = \"hidden\"",
            "kind = \"bearer\"\ntoken = \"hidden\"",
            "kind = \"oauth2\"\ntoken_url = \"https://x/t\"\nclient_id = \"hidden\"\nclient_secret = \"hidden\"\n\
             scope = \"a b\"\nclient_auth = \"post\"\nparams = { audience = \"crm\" }",
            "kind = \"oauth2\"\ntoken_url = \"https://x/t\"\nclient_id = \"hidden\"\n\
             assertion = { key = \"hidden\", kid = \"k1\", algorithm = \"PS256\", lifetime = \"10m\" }",
            "kind = \"refresh_token\"\ntoken_url = \"https://x/t\"\nclient_id = \"hidden\"\nrefresh_token = \"hidden\"",
            "kind = \"oauth1\"\nconsumer_key = \"hidden\"\nconsumer_secret = \"hidden\"\ntoken = \"hidden\"\n\
             token_secret = \"hidden\"\nrealm = \"1234567\"",
        ] {
            let config = read(text).unwrap();
            assert!(!format!("{config:?}").contains("hidden"));
            assert!(!serde_json::to_string(&config).unwrap().contains("hidden"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let oauth2 = "kind = \"oauth2\"\ntoken_url = \"https://x/t\"\nclient_id = \"i\"\n";
        for (text, part) in [
            ("kind = \"kerberos\"".to_owned(), "kerberos"),
            ("kind = \"bearer\"\ntokn = \"x\"".to_owned(), "tokn"),
            ("kind = \"basic\"\nuser = \"u\"".to_owned(), "password"),
            (oauth2.to_owned(), "either client_secret or assertion"),
            (format!("{oauth2}assertion = {{ key = \"k\", algorithm = \"none\" }}"), "none"),
            (
                format!(
                    "{oauth2}assertion = {{ key = \"k\", algorithm = \"ES256\", lifetime = \"2h\" }}"
                ),
                "lifetime is 2h",
            ),
            (oauth2.replace("https://", "ftp://") + "client_secret = \"s\"", "token_url"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
