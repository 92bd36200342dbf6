//! A signed statement of who the program is: a JWT (RFC 7519, 7515), made for each token that is asked for.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::config::{Algorithm, AssertionConfig, AssertionGrant};

enum AssertionKey {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
}

/// Makes assertions.
pub(super) struct Assertion {
    key: AssertionKey,
    header: Value,
    claims: Value,
    lifetime_seconds: i64,
}

impl Assertion {
    /// `pem`: the private key. Errors are texts without any of it.
    pub(super) fn new(
        config: &AssertionConfig,
        pem: &str,
        client_id: &str,
        token_url: &str,
        scope: Option<&str>,
    ) -> Result<Self, String> {
        let key = key(config.algorithm, pem)?;
        let mut header = json!({ "alg": format!("{:?}", config.algorithm), "typ": "JWT" });
        if let Some(kid) = &config.kid {
            header["kid"] = json!(kid);
        }
        let mut claims = json!({
            "iss": config.issuer.as_deref().unwrap_or(client_id),
            "aud": config.audience.as_deref().unwrap_or(token_url),
        });
        let subject = match config.grant {
            AssertionGrant::ClientCredentials => config.subject.as_deref().or(Some(client_id)),
            AssertionGrant::JwtBearer => config.subject.as_deref(),
        };
        if let Some(subject) = subject {
            claims["sub"] = json!(subject);
        }
        if let Some(scope) = scope {
            claims["scope"] = json!(scope);
        }
        let lifetime_seconds = i64::try_from(config.lifetime.as_secs()).unwrap_or(i64::MAX).max(1);
        Ok(Self { key, header, claims, lifetime_seconds })
    }

    /// An assertion that holds from now on.
    pub(super) fn sign(&self, now: Timestamp) -> Result<String, String> {
        let mut claims = self.claims.clone();
        claims["iat"] = json!(now.as_second());
        claims["exp"] = json!(now.as_second().saturating_add(self.lifetime_seconds));
        claims["jti"] = json!(nonce()?);
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&self.header), part(&claims));
        let signature = self.key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
    }
}

/// A text that no request has had before.
pub(super) fn nonce() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("this machine provides no random bytes: {error}"))?;
    Ok(HEXLOWER.encode(&bytes))
}

impl AssertionKey {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, bytes, &mut signature).map(|()| signature)
            }
            Self::Ecdsa(key) => {
                key.sign(&random, bytes).map(|signature| signature.as_ref().to_vec())
            }
        };
        signature.map_err(|_| "the assertion cannot be signed with its key".to_owned())
    }
}

fn key(algorithm: Algorithm, pem: &str) -> Result<AssertionKey, String> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        "auth: the assertion's key cannot be read: expected a private key in PEM (-----BEGIN PRIVATE KEY-----), \
         without a password"
            .to_owned()
    })?;
    let wrong = |wanted: &str| {
        format!("auth: the assertion's key does not fit {algorithm:?}: expected {wanted}")
    };
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(wrong("an RSA key of 2048 bits or more")),
        };
        let key = key.map_err(|_| wrong("an RSA key of 2048 bits or more"))?;
        Ok(AssertionKey::Rsa(key, encoding))
    };
    match algorithm {
        Algorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
        Algorithm::PS256 => rsa(&RSA_PSS_SHA256),
        Algorithm::ES256 => {
            let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = match &der {
                PrivateKeyDer::Pkcs8(der) => {
                    EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der())
                }
                PrivateKeyDer::Sec1(der) => {
                    EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der())
                }
                _ => return Err(wrong("a key on the curve P-256")),
            };
            key.map(AssertionKey::Ecdsa).map_err(|_| wrong("a key on the curve P-256"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
        UnparsedPublicKey, VerificationAlgorithm,
    };
    use data_encoding::BASE64;

    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der))
    }

    fn config(algorithm: &str, more: &str) -> AssertionConfig {
        toml::from_str(&format!("key = \"x\"\nalgorithm = \"{algorithm}\"\n{more}")).unwrap()
    }

    fn parts(token: &str) -> (Value, Value, String, Vec<u8>) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let read = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let json = |text: &str| serde_json::from_slice(&read(text)).unwrap();
        (json(header), json(claims), signed.to_owned(), read(signature))
    }

    #[test]
    fn an_assertion_is_signed_in_each_way_as_its_public_key_confirms() {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let rsa_pem = pem(AsDer::<Pkcs8V1Der>::as_der(&rsa).unwrap().as_ref());
        let rsa_public = AsDer::<PublicKeyX509Der>::as_der(rsa.public_key()).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ec_pem = pem(ec.to_pkcs8v1().unwrap().as_ref());
        let ec_public = ec.public_key().as_ref().to_vec();
        let cases: [(&str, &str, &[u8], &'static dyn VerificationAlgorithm); 3] = [
            ("RS256", &rsa_pem, rsa_public.as_ref(), &RSA_PKCS1_2048_8192_SHA256),
            ("PS256", &rsa_pem, rsa_public.as_ref(), &RSA_PSS_2048_8192_SHA256),
            ("ES256", &ec_pem, &ec_public, &ECDSA_P256_SHA256_FIXED),
        ];
        let now = Timestamp::from_second(1_793_534_400).unwrap();
        for (algorithm, pem, public, verification) in cases {
            let config = config(algorithm, "kid = \"k1\"\nlifetime = \"10m\"");
            let assertion =
                Assertion::new(&config, pem, "me", "https://x/t", Some("rest")).unwrap();
            let token = assertion.sign(now).unwrap();
            let (header, claims, signed, signature) = parts(&token);
            assert_eq!(header, json!({ "alg": algorithm, "typ": "JWT", "kid": "k1" }));
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("me"), &json!("me")));
            assert_eq!((&claims["aud"], &claims["scope"]), (&json!("https://x/t"), &json!("rest")));
            assert_eq!(claims["iat"], json!(1_793_534_400));
            assert_eq!(claims["exp"], json!(1_793_535_000));
            UnparsedPublicKey::new(verification, public)
                .verify(signed.as_bytes(), &signature)
                .unwrap();
            assert_ne!(token, assertion.sign(now).unwrap(), "no assertion is used twice");
        }
        let error = Assertion::new(&config("ES256", ""), &rsa_pem, "me", "u", None).err().unwrap();
        assert!(error.contains("P-256"), "{error}");
        let error = Assertion::new(&config("RS256", ""), &ec_pem, "me", "u", None).err().unwrap();
        assert!(error.contains("RSA"), "{error}");
    }

    #[test]
    fn an_assertion_that_is_the_grant_is_about_whom_it_says() {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pem = pem(ec.to_pkcs8v1().unwrap().as_ref());
        let claims = |more: &str| {
            let config = config("ES256", more);
            let assertion = Assertion::new(&config, &pem, "me", "https://x/t", None).unwrap();
            parts(&assertion.sign(Timestamp::UNIX_EPOCH).unwrap()).1
        };
        let bearer = "grant = \"jwt-bearer\"\naudience = \"https://other\"\n";
        assert_eq!(claims(bearer).get("sub"), None);
        assert_eq!(claims(bearer)["aud"], json!("https://other"));
        assert_eq!(
            claims(&format!("{bearer}subject = \"boss\"\nissuer = \"app\""))["sub"],
            json!("boss")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for pem in ["", "hidden", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            let error = Assertion::new(&config("ES256", ""), pem, "me", "u", None).err().unwrap();
            assert!(
                error.contains("expected a private key in PEM") && !error.contains("hidden"),
                "{error}"
            );
        }
    }
}
