//! What every view has around it: where one can go, who is signed in, what was done and what was not, and the command line
//! that does the same.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};

use crate::ask::Refused;
use crate::form::{Fields, TOKEN, Write};
use crate::office::Office;
use crate::shown::Clock;
use crate::sign_in::Viewer;
use crate::texts::{self, Texts};
use crate::{assets, live, shown};

/// Notices of one session that wait to be dismissed; the oldest makes room.
const NOTICES_MAX: usize = 8;
/// Sessions that have some.
const WITH_NOTICES_MAX: usize = 256;
/// What htmx may do: no code within attributes, no styles within the page, no requests to others, no pages kept.
const HTMX: &str = r#"{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true,"historyEnabled":false,"scrollBehavior":"instant","refreshOnHistoryMiss":true}"#;

/// The views there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Offices,
    Why,
    Conflicts,
    Records,
    Jobs,
    Network,
}

impl Place {
    const ALL: [Self; 6] =
        [Self::Offices, Self::Why, Self::Conflicts, Self::Records, Self::Jobs, Self::Network];

    fn path(self) -> &'static str {
        match self {
            Self::Offices => "/",
            Self::Why => "/why",
            Self::Conflicts => "/conflicts",
            Self::Records => "/records",
            Self::Jobs => "/jobs",
            Self::Network => "/network",
        }
    }

    fn title(self, t: &Texts) -> &'static str {
        match self {
            Self::Offices => t.offices,
            Self::Why => t.why,
            Self::Conflicts => t.conflicts,
            Self::Records => t.records,
            Self::Jobs => t.jobs,
            Self::Network => t.network,
        }
    }
}

/// A view.
pub(crate) struct View {
    /// Which of the six it belongs to.
    pub(crate) place: Place,
    /// Its heading.
    pub(crate) title: String,
    /// The command line that shows, or does, the same.
    pub(crate) command: String,
    /// What it shows.
    pub(crate) content: Markup,
}

/// A view as a page.
pub(crate) fn page(office: &Office, viewer: &Viewer, view: View) -> Response {
    page_with(office, viewer, StatusCode::OK, view)
}

pub(crate) fn page_with(
    office: &Office,
    viewer: &Viewer,
    status: StatusCode,
    view: View,
) -> Response {
    let t = viewer.t;
    let View { place, title, command, content } = view;
    let notices = office.notices.of(viewer);
    let body = html! {
        a.skip href="#main" { (t.skip) }
        header.top {
            a.brand href="/" {
                img src=(assets::path("icon")) width="28" height="28" alt="";
                span { (shown::name(&office.name())) }
            }
            nav aria-label=(t.views) {
                @for other in Place::ALL {
                    a href=(other.path()) aria-current=[(other == place).then_some("page")] {
                        (other.title(t))
                        @if other == Place::Why { (badge(t, "badge-why", "bad", office.errors())) }
                        @if other == Place::Conflicts { (badge(t, "badge-conflicts", "warn", office.conflicts())) }
                    }
                }
            }
            (who(viewer))
        }
        p #lost role="status" hidden { (t.node_is_lost) }
        main #main {
            @for notice in &notices { (notice.show(viewer)) }
            h1 { (title) }
            p.on-paper { (shown::name(&office.name())) ", " (Clock::new(office.zone()).moment()) }
            (content)
        }
        footer {
            p { (t.same_by_command) }
            (self::command(&command))
        }
        div #live data-stream=(live::PATH) data-seen=(viewer.seen) hidden {}
    };
    let title = format!("{title} · {}", office.name());
    (status, document(t, &title, body)).into_response()
}

/// A number beside a way, on whatever view one is. It is there too where it is none, so that one that comes finds its place.
fn badge(t: &Texts, id: &str, class: &str, count: u64) -> Markup {
    html! { span.badge.(class) id=(id) hidden[count == 0] { (shown::number(t, count)) } }
}

fn who(viewer: &Viewer) -> Markup {
    let t = viewer.t;
    let role = if viewer.may_change() { t.operator } else { t.viewer };
    html! {
        div.who {
            span { (viewer.name.as_deref().unwrap_or(t.owner)) " · " (role) }
            @for (code, name) in texts::others(t) {
                (button_of(viewer, "/language", &[("language", code)], html! {
                    button.quiet type="submit" lang=(code) { (name) }
                }))
            }
            (button_of(viewer, "/sign-out", &[], html! { button.quiet type="submit" { (t.sign_out) } }))
        }
    }
}

/// A page for those who are not signed in.
pub(crate) fn plain(
    office: &Office,
    t: &'static Texts,
    status: StatusCode,
    title: &str,
    content: Markup,
) -> Response {
    let body = html! { main #main.alone { (content) } };
    let title = format!("{title} · {}", office.name());
    (status, document(t, &title, body)).into_response()
}

fn document(t: &Texts, title: &str, body: Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang=(t.code) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX);
                title { (branchline_node::visible::one_line(title)) }
                link rel="icon" type="image/svg+xml" href=(assets::path("icon"));
                link rel="stylesheet" href=(assets::path("page"));
                @for script in ["htmx", "sse"] { script src=(assets::path(script)) defer {} }
                script src=(assets::script()) defer {}
            }
            body { (body) }
        }
    };
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}

/// What stands for a view that cannot be shown.
pub(crate) fn refused(
    office: &Office,
    viewer: &Viewer,
    status: StatusCode,
    text: &str,
) -> Response {
    let content = html! { p.notice.bad role="alert" { (text) } };
    let title = viewer.t.not_done.to_owned();
    let command = "branchline status".to_owned();
    page_with(office, viewer, status, View { place: Place::Offices, title, command, content })
}

/// What stands for a view whose answer the node refuses.
pub(crate) fn failed(
    office: &Office,
    viewer: &Viewer,
    place: Place,
    refused: &Refused,
) -> Response {
    let content = error(refused);
    let view = View {
        place,
        title: viewer.t.not_done.to_owned(),
        command: "branchline status".to_owned(),
        content,
    };
    page_with(office, viewer, refused.status, view)
}

/// An error as the node words it, whole, with what to do.
pub(crate) fn error(refused: &Refused) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p { (shown::text(&refused.detail.message)) }
            @if let Some(hint) = &refused.detail.hint { p.hint { (shown::text(hint)) } }
        }
    }
}

/// A command line, to be copied.
pub(crate) fn command(text: &str) -> Markup {
    html! { pre.command tabindex="0" { code { (branchline_node::visible::one_line(text)) } } }
}

/// An argument of a command line, quoted for a shell where it has to be.
pub(crate) fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@".contains(c);
    let is_option = argument.starts_with('-');
    if !argument.is_empty() && !is_option && argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// A form that changes something: with what shows that it is of this session, and the values that it sends.
pub(crate) fn button_of(
    viewer: &Viewer,
    action: &str,
    fields: &[(&str, &str)],
    inside: Markup,
) -> Markup {
    html! {
        form.inline method="post" action=(action) { (hidden(viewer, fields)) (inside) }
    }
}

/// The fields of a form that nobody sees.
pub(crate) fn hidden(viewer: &Viewer, fields: &[(&str, &str)]) -> Markup {
    html! {
        input type="hidden" name=(TOKEN) value=(viewer.form_token);
        @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
    }
}

/// A part of a view that is shown again when something has changed. `path`: of the view, with its query.
pub(crate) fn live_part(id: &str, path: &str, inside: Markup) -> Markup {
    html! {
        div id=(id) data-live="" hx-get=(path) hx-select=(format!("#{id}")) hx-select-oob="#badge-why,#badge-conflicts" hx-swap="outerHTML" hx-trigger="again" hx-sync="this:drop" {
            (inside)
        }
    }
}

/// What was done, or was not: shown until somebody dismisses it.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    number: u64,
    is_bad: bool,
    text: String,
    hint: Option<String>,
    /// What takes it back: where that is sent, and with which field.
    undo: Option<(&'static str, u64)>,
}

impl Notice {
    fn show(&self, viewer: &Viewer) -> Markup {
        let t = viewer.t;
        let number = self.number.to_string();
        html! {
            div.notice.bad[self.is_bad].good[!self.is_bad] role=(if self.is_bad { "alert" } else { "status" }) {
                p { (shown::text(&self.text)) }
                @if let Some(hint) = &self.hint { p.hint { (shown::text(hint)) } }
                div.actions {
                    @if let Some((path, undo)) = self.undo {
                        (button_of(viewer, path, &[("number", &undo.to_string())], html! {
                            button type="submit" { (t.undo) }
                        }))
                    }
                    (button_of(viewer, "/dismiss", &[("number", &number)], html! {
                        button.quiet type="submit" { (t.dismiss) }
                    }))
                }
            }
        }
    }
}

/// The notices of all sessions.
#[derive(Default)]
pub(crate) struct Notices(Mutex<KeptNotices>);

#[derive(Default)]
struct KeptNotices {
    count: u64,
    by_session: BTreeMap<String, VecDeque<Notice>>,
}

impl Notices {
    fn of(&self, viewer: &Viewer) -> Vec<Notice> {
        let kept = self.kept();
        kept.by_session.get(&viewer.form_token).into_iter().flatten().cloned().collect()
    }

    /// Says what was done.
    pub(crate) fn done(&self, viewer: &Viewer, text: String, undo: Option<(&'static str, u64)>) {
        self.add(viewer, Notice { number: 0, is_bad: false, text, hint: None, undo });
    }

    /// Says what was not done, and why.
    pub(crate) fn failed(&self, viewer: &Viewer, refused: &Refused) {
        let (text, hint) = (refused.detail.message.clone(), refused.detail.hint.clone());
        self.add(viewer, Notice { number: 0, is_bad: true, text, hint, undo: None });
    }

    fn add(&self, viewer: &Viewer, notice: Notice) {
        let mut kept = self.kept();
        kept.count += 1;
        let number = kept.count;
        if kept.by_session.len() >= WITH_NOTICES_MAX
            && !kept.by_session.contains_key(&viewer.form_token)
        {
            let oldest = kept
                .by_session
                .iter()
                .min_by_key(|(_, notices)| notices.back().map_or(0, |notice| notice.number));
            if let Some(oldest) = oldest.map(|(session, _)| session.clone()) {
                kept.by_session.remove(&oldest);
            }
        }
        let notices = kept.by_session.entry(viewer.form_token.clone()).or_default();
        if notices.len() >= NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(Notice { number, ..notice });
    }

    /// Takes a notice away; also the one that says how to take something back, once that is done.
    pub(crate) fn remove(&self, viewer: &Viewer, is_meant: impl Fn(&Notice) -> bool) {
        let mut kept = self.kept();
        if let Some(notices) = kept.by_session.get_mut(&viewer.form_token) {
            notices.retain(|notice| !is_meant(notice));
            if notices.is_empty() {
                kept.by_session.remove(&viewer.form_token);
            }
        }
    }

    /// Takes the notice away that offers to take this back.
    pub(crate) fn remove_undo(&self, viewer: &Viewer, number: u64) {
        self.remove(viewer, |notice| notice.undo.is_some_and(|(_, undo)| undo == number));
    }

    fn kept(&self) -> MutexGuard<'_, KeptNotices> {
        // A thread that panicked while holding the lock left the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a notice away, and goes back to the view.
pub(crate) async fn dismiss(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: HeaderMap,
    Write(fields): Write<Fields>,
) -> Redirect {
    let number = fields.get("number").and_then(|number| number.parse::<u64>().ok());
    office.notices.remove(&viewer, |notice| Some(notice.number) == number);
    Redirect::to(&came_from(&headers).unwrap_or_else(|| "/".to_owned()))
}

/// The view that a request came from, of this page: the guard has seen to the rest of its address.
pub(crate) fn came_from(headers: &HeaderMap) -> Option<String> {
    let from = url::Url::parse(headers.get(header::REFERER)?.to_str().ok()?).ok()?;
    let path = from.path();
    let is_own = path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/sign-in");
    let query = from.query().map(|query| format!("?{query}")).unwrap_or_default();
    is_own.then(|| format!("{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_command_lines_mean_themselves_in_a_shell() {
        for (argument, expected) in [
            ("orders", "orders"),
            ("", "''"),
            ("-x", "'-x'"),
            ("a b", "'a b'"),
            ("it's; rm -rf $HOME", r"'it'\''s; rm -rf $HOME'"),
        ] {
            assert_eq!(quoted(argument), expected);
        }
    }
}
