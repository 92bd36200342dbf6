//! A service over https, whose certificate is of a company's own authority.

use super::authorities::{Authority, Lifetime};
use super::desk::{Desk, ERP};
use super::office::Office;
use super::remote::Remote;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_sets_nothing_aside_and_a_new_one_lets_the_sink_go_on() {
    let company = Authority::new("Company");
    let certificate = |lifetime| company.vouch_for("127.0.0.1", lifetime);
    let remote = Remote::start_tls(certificate(Lifetime::Now)).await;
    assert!(remote.url.starts_with("https://"));
    let config = format!("{}\n{ERP}", company.setting());
    let mut desk = Desk::with(Office::start("head").await, remote, &config).await;
    desk.order("7").await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
    desk.remote.change_certificate(certificate(Lifetime::Over)).await;
    desk.order("8").await;
    let report = desk.is("backing-off").await;
    let reason = report.reason.unwrap_or_default();
    assert!(reason.contains("ended on 2001-01-01") && report.quarantined == 0, "{reason}");
    assert_eq!(desk.remote.calls().len(), 1, "nothing is sent to whom nobody vouches for");
    desk.remote.change_certificate(certificate(Lifetime::Now)).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 2);
    assert_eq!(desk.remote.count("POST"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_of_authorities_is_taken_up_by_a_reload() {
    let (company, other) = (Authority::new("Company"), Authority::new("Somebody"));
    let remote = Remote::start_tls(company.vouch_for("127.0.0.1", Lifetime::Now)).await;
    let config = format!("{}\n{ERP}", other.setting());
    let desk = Desk::with(Office::start("head").await, remote, &config).await;
    desk.order("7").await;
    let report = desk.is("backing-off").await;
    assert!(report.reason.unwrap_or_default().contains("ca_file = "));
    assert!(desk.remote.calls().is_empty());
    std::fs::copy(company.file(), other.file()).unwrap();
    desk.reload(&config).await;
    desk.is_at_rest().await;
    assert_eq!(desk.remote.objects().len(), 1);
}
