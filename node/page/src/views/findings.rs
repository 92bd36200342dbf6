//! What a person should know of this site itself, the worst first: what its parts have found, how it stands in its network,
//! and copies of sites. Each leads to its cause.

use branchline_node::api::{CopiesResponse, StatusResponse};
use branchline_node::extension::{Finding, Severity};
use maud::{Markup, html};

use super::jobs::ConnectorKind;
use crate::shown::{self, Clock};
use crate::texts::{Texts, say};

/// All of them.
pub(crate) fn of(t: &Texts, status: &StatusResponse) -> Vec<Finding> {
    let mut found: Vec<Finding> = standing(status).into_iter().collect();
    found.extend(status.copies.iter().map(|copies| of_copies(t, copies)));
    found.extend(status.findings.iter().cloned());
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

/// How many of them are to be mended now.
pub(crate) fn errors(status: &StatusResponse) -> u64 {
    let found = standing(status).into_iter().chain(status.findings.iter().cloned());
    let errors = found.filter(|finding| finding.severity == Severity::Error).count();
    (errors + status.copies.len()) as u64
}

/// That this site is no member, and why.
fn standing(status: &StatusResponse) -> Option<Finding> {
    let standing = &status.standing;
    let reason = standing.reason.clone()?;
    let severity = match standing.state.as_str() {
        "no_network" => Severity::Info,
        "not_admitted" => Severity::Warning,
        _ => Severity::Error,
    };
    let found = Finding::new(severity, status.name.clone(), reason);
    Some(Finding { since: standing.since.clone(), hint: standing.hint.clone(), ..found })
}

fn of_copies(t: &Texts, copies: &CopiesResponse) -> Finding {
    let what = say(t.two_copies, &[&copies.site_name]);
    let what = if copies.addresses.is_empty() {
        what
    } else {
        format!("{what}: {}", copies.addresses.join(", "))
    };
    let found = Finding::new(Severity::Error, copies.site_name.clone(), what);
    Finding { since: copies.since.clone(), hint: Some(t.do_two_copies.to_owned()), ..found }
}

/// The list of them.
pub(super) fn list(t: &Texts, found: &[Finding], clock: &Clock) -> Markup {
    html! {
        h2 #findings { (t.findings) }
        @if found.is_empty() { p.empty { (t.no_findings) } }
        @else { p.pages { strong { (shown::counted(t, t.findings_n, found.len() as u64)) } } }
        @for finding in found { (card(t, finding, clock)) }
    }
}

fn card(t: &Texts, finding: &Finding, clock: &Clock) -> Markup {
    let class = match finding.severity {
        Severity::Error => "bad",
        Severity::Warning => "warn",
        Severity::Info => "good",
    };
    html! {
        article.card.conflict data-standing=(class) {
            h2 {
                span.dot.(class) {}
                @match ConnectorKind::path_of(&finding.about) {
                    Some(path) => a href=(path) { (shown::name(&finding.about)) },
                    None => (shown::name(&finding.about)),
                }
            }
            p { (shown::text(&finding.what)) @if let Some(since) = &finding.since { ", " (t.since) " " (clock.time(since)) } }
            @if let Some(hint) = &finding.hint { p { strong { (t.what_to_do) ": " } (shown::text(hint)) } }
        }
    }
}
