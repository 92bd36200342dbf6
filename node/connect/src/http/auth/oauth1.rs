//! Requests signed one by one: OAuth 1.0a (RFC 5849) with HMAC-SHA256.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use jiff::Timestamp;
use reqwest::{Method, Url};

use crate::jobs::template::encoded;

/// Signs requests.
pub(super) struct Oauth1 {
    pub(super) consumer_key: String,
    pub(super) consumer_secret: String,
    pub(super) token: String,
    pub(super) token_secret: String,
    pub(super) realm: Option<String>,
}

impl Oauth1 {
    /// The `Authorization` header of one request. A body of JSON is not part of what is signed.
    pub(super) fn header(&self, method: &Method, url: &Url, now: Timestamp, nonce: &str) -> String {
        let timestamp = now.as_second().to_string();
        let oauth = [
            ("oauth_consumer_key", self.consumer_key.as_str()),
            ("oauth_nonce", nonce),
            ("oauth_signature_method", "HMAC-SHA256"),
            ("oauth_timestamp", &timestamp),
            ("oauth_token", &self.token),
            ("oauth_version", "1.0"),
        ];
        let base = base(method, url, &oauth);
        let key = format!("{}&{}", encoded(&self.consumer_secret), encoded(&self.token_secret));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let signature = BASE64.encode(hmac::sign(&key, base.as_bytes()).as_ref());
        let mut header = "OAuth ".to_owned();
        if let Some(realm) = &self.realm {
            header.push_str(&format!("realm=\"{}\", ", encoded(realm)));
        }
        for (name, value) in oauth {
            header.push_str(&format!("{name}=\"{}\", ", encoded(value)));
        }
        header + &format!("oauth_signature=\"{}\"", encoded(&signature))
    }
}

/// What is signed (3.4.1): method, URL without its query, and all parameters in order.
fn base(method: &Method, url: &Url, oauth: &[(&str, &str)]) -> String {
    let query = url.query_pairs().map(|(name, value)| (encoded(&name), encoded(&value)));
    let oauth = oauth.iter().map(|(name, value)| (encoded(name), encoded(value)));
    let mut parameters: Vec<(String, String)> = query.chain(oauth).collect();
    parameters.sort();
    let parameters: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    // The URL has its host in small letters and no default port already.
    let place = format!("{}{}", url.origin().ascii_serialization(), url.path());
    format!("{method}&{}&{}", encoded(&place), encoded(&parameters.join("&")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_the_example_of_the_standard() {
        // RFC 5849, 3.4.1.1, with the form's parameters in the query.
        let url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b&c2&a3=2+q";
        let oauth = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ];
        assert_eq!(
            base(&Method::POST, &Url::parse(url).unwrap(), &oauth),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D\
             %26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1\
             %26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    #[test]
    fn a_request_is_signed_as_another_implementation_signs_it() {
        let oauth1 = Oauth1 {
            consumer_key: "ck".to_owned(),
            consumer_secret: "c&s".to_owned(),
            token: "tk".to_owned(),
            token_secret: "t s".to_owned(),
            realm: Some("1234567_SB1".to_owned()),
        };
        let url =
            Url::parse("https://1234567.example.com/record/v1/order?q=a%20b&limit=5").unwrap();
        let now = Timestamp::from_second(1_793_534_400).unwrap();
        assert_eq!(
            oauth1.header(&Method::GET, &url, now, "n0nce"),
            "OAuth realm=\"1234567_SB1\", oauth_consumer_key=\"ck\", oauth_nonce=\"n0nce\", \
             oauth_signature_method=\"HMAC-SHA256\", oauth_timestamp=\"1793534400\", oauth_token=\"tk\", \
             oauth_version=\"1.0\", oauth_signature=\"xNliEG5EQR3J5qqqdu%2BZ73i2h5k54ixSaNbglc8TeSk%3D\""
        );
    }
}
