//! A provider over https, whose certificate is of a company's own authority.

use super::authorities::{Authority, Lifetime};
use super::office::{Puller, RUN};
use super::offices::Office;
use super::provider::Provider;

/// A provider with an account, over TLS.
async fn provider(authority: &Authority, lifetime: Lifetime) -> Provider {
    let plain = Provider::start().await;
    plain.set("a", 1, "");
    plain.over_tls(authority.vouch_for("127.0.0.1", lifetime)).await
}

async fn puller(provider: Provider, trusted: Option<&Authority>) -> Puller {
    let setting = trusted.map(Authority::setting).unwrap_or_default();
    let with = |text: String| text.replace("[request]", &format!("{setting}\n[request]"));
    Puller::at(Office::start("head").await, provider, with).await
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_come_over_https_from_a_provider_of_the_companys_own_authority() {
    let company = Authority::new("Company");
    let puller = puller(provider(&company, Lifetime::Now).await, Some(&company)).await;
    puller.pull(RUN).await;
    assert_eq!(puller.status("a").await, "active");
    assert!(puller.provider.address().starts_with("https://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_prove_itself_is_a_failed_run_that_says_what_to_do() {
    let company = Authority::new("Company");
    let unknown = puller(provider(&company, Lifetime::Now).await, None).await;
    let over = puller(provider(&company, Lifetime::Over).await, Some(&company)).await;
    for (puller, part) in [(unknown, "ca_file = "), (over, "ended on 2001-01-01")] {
        let why = puller.fails(RUN).await;
        assert!(why.contains(part) && why.contains("tried 4 times"), "{why}");
        assert!(puller.provider.asked().is_empty());
        assert!(puller.row(1).await["error"].as_str().unwrap().contains(part));
    }
}
