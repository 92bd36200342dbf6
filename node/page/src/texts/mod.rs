//! The words of the page: a file for each language. A text that a language lacks does not compile.
//!
//! To add a language: copy `en.rs`, translate it, and name it in [`ALL`]. In a text `{0}`, `{1}` stand for values; a text
//! with `|` in it has a form for one and a form for any other number, which stands for `{n}`.

mod en;
mod es;
mod words;

use axum::http::{HeaderMap, header};

/// The languages, the first where nothing else is asked for.
const ALL: [&Texts; 2] = [&en::EN, &es::ES];

macro_rules! texts {
    ($($name:ident),+ $(,)?) => {
        /// The words of one language.
        pub(crate) struct Texts {
            $(pub(crate) $name: &'static str,)+
        }

        #[cfg(test)]
        impl Texts {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

texts! {
    a_day, a_ticket, a_week, add_field, added, added_today, address, all_confirmed, all_in_step, all_of_them,
    an_hour, aside_of_source, asked, at_once, backup, backup_goes_to, backup_has_no_folder, backup_is_made,
    backup_now, began, beside_the_busiest, blind_since, bridges, brought_back, by, by_month_of,
    bytes_since_start, came_back, cancel, causes_n, changed_meanwhile, changed_n, changes_n, code, collection,
    collections_n, columns, compare, conflicts, conflicts_n, conflicts_or_more, connected, connector,
    count_them, created, created_n, damaged, days_n, decimal, delete, deleted, deleted_and_edited, deleted_it,
    deleted_n, deleted_records, differ_n, disk_free, dismiss, disputed_through, do_ahead, do_damaged, do_held,
    do_held_back, do_never_heard, do_not_confirmed, do_schema_mismatch, do_two_copies, do_unreadable, do_void,
    do_writes_refused, done, download_csv, dry_run, edit, edit_of, ended, entries_n, error, expires, field,
    fields_n, fields_on_page, filter, filter_how, findings, findings_bad, findings_n, findings_warn, first_page,
    first_records, first_shown, form_is_foreign, from_the_beginning, good_for, group_by, groups_n, growing,
    has_it, has_it_not_yet, history, hour, hours_n, id, in_all, in_step, inactive, it_goes_on, it_never_said,
    it_rests, it_said_at, job_ends, jobs, journal, kept_for_own, kind, kind_boolean, kind_json, kind_number,
    kind_text, known_n, lag, language, last_heard, last_receipt, last_run, latest_changes, latest_shown, left_n,
    left_out, line, line_down, line_down_since, lines, lines_n, link_how, link_is_over, listed, listens_at,
    looked_at, make_a_ticket, make_stick, make_ticket, members, members_history, members_n, minutes_n, month,
    months_n, more_causes, more_groups, more_offices, more_than, more_to_settle, name, network, never_heard,
    never_heard_from, new_record, next_page, next_run, no, no_conflicts, no_conflicts_here, no_connectors,
    no_fields, no_findings, no_lines, no_other_office, no_randomness, no_records, no_runs, no_stick,
    no_such_view, no_ticket, node_is_lost, node_is_stopped, none_found, none_found_so_far, not_completed,
    not_confirmed, not_confirmed_short, not_confirmed_since, not_done, not_here_yet, not_known, not_shown, note,
    nothing_aside, nothing_confirmed, nothing_to_undo, nothing_visible, nowhere, office, offices, offices_n,
    on_this_page, only_field, only_where, open_tickets, operator, or_more, order, other_fields, owner,
    partly_checked, password, pause, plan, reason, received, record, record_is_deleted, records,
    records_at_odds, records_n, records_of, records_word, refused, remove_field, requeue, requeue_all,
    requeued_n, result, resume, role, role_admin, role_reader, role_writer, room, round_trip, row, rows_in,
    rows_n, rows_out, run, run_accept, run_full, run_is_taken, run_now, runs, runs_n, same_by_command, save,
    saved, seconds_n, sent, set_aside, set_aside_n, settle, settle_many, settled_meanwhile, settled_n,
    settled_one, show, show_all, show_earlier, shown_now, shown_of_changes, shrinking, shut_out_by, shut_out_n,
    sign_in, sign_in_is_wrong, sign_out, since, since_the_start, sinks, site_is_revoked, skip, sources, space,
    spaces, spaces_n, state, state_backing_off, state_cancelled, state_clearing, state_comparing,
    state_completed, state_failed, state_from_collection, state_from_database, state_listing, state_loading,
    state_not_running, state_paused, state_pruning, state_retrying, state_running, state_starting,
    state_stopped, state_superseded, state_sweeping, state_waiting, statements_n, steady, step_admitted,
    step_founded, step_key_replaced, step_left, step_renamed, step_revoked, step_role_changed,
    step_without_effect, steps_n, stick_file, stick_for, stick_is_in, stick_of_all, stick_waits,
    stick_without_room, sticks, sum_up, sum_up_now, sync_now, synced, table, tables, tables_n, tables_on_disk,
    take, take_stick_in, take_this, taken_up, this_office, thousands, ticket_how, ticket_is, ticket_is_secret,
    ticket_is_too_long, ticket_is_withdrawn, tickets, today_in, too_large_to_edit, too_many_attempts,
    total_needs_index, total_not_known, totals, traffic_by_hour, traffic_is, tries, tries_n, two_copies,
    undelete, underway, undo, undone_n, unknown_fields, unlike_fields, up_to_is_here, updated, updated_n, value,
    value_is_wrong, version, viewer, viewers_change_nothing, views, waiting, waiting_n, was_deleted,
    what_changed, what_differs, what_is_shown, what_site_wrote, what_to_do, when, who_has_it, why, why_ahead,
    why_damaged, why_held, why_held_back, why_never_heard, why_not_confirmed, why_schema_mismatch,
    why_unreadable, why_void, why_writes_refused, withdraw, without_gossip, would_send_n, writes_refused, yes,
}

/// The language that somebody chose, or the browser asks for.
pub(crate) fn choose(chosen: Option<&str>, headers: &HeaderMap) -> &'static Texts {
    let named = |code: &str| ALL.iter().find(|texts| texts.code.eq_ignore_ascii_case(code));
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    // Browsers list what they like best first.
    let first = asked.unwrap_or_default().split(',').find_map(|item| {
        let code = item.split(';').next().unwrap_or_default().trim();
        named(code.split('-').next().unwrap_or_default())
    });
    chosen.and_then(named).or(first).copied().unwrap_or(&en::EN)
}

/// Whether there is a language of this code.
pub(crate) fn is_known(code: &str) -> bool {
    ALL.iter().any(|texts| texts.code == code)
}

/// The languages that could be chosen instead, with their names.
pub(crate) fn others(t: &Texts) -> impl Iterator<Item = (&'static str, &'static str)> {
    let code = t.code;
    ALL.into_iter()
        .filter(move |texts| texts.code != code)
        .map(|texts| (texts.code, texts.language))
}

/// A text with values in their places.
pub(crate) fn say(text: &str, values: &[&str]) -> String {
    let mut said = String::with_capacity(text.len() + 32);
    let mut rest = text;
    // What a value holds is never taken for a place.
    while let Some(at) = rest.find('{') {
        said.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = rest.find('}') else { break };
        let place = &rest[1..end];
        let value = place.parse::<usize>().ok().and_then(|number| values.get(number));
        said.push_str(value.copied().unwrap_or_default());
        rest = &rest[end + 1..];
    }
    said + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<&str> {
        let mut found: Vec<_> = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(place, _)| place)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn every_language_says_the_same_with_the_same_values() {
        for texts in ALL {
            for ((name, text), (_, english)) in texts.all().into_iter().zip(en::EN.all()) {
                let code = texts.code;
                assert!(!text.is_empty() || english.is_empty(), "{code}: {name} is empty");
                assert_eq!(places(text), places(english), "{code}: {name}");
                assert_eq!(text.contains('|'), english.contains('|'), "{code}: {name}");
            }
        }
    }

    #[test]
    fn another_language_is_another() {
        // What is the same in both: names, and words that both have.
        let same = en::EN.all().into_iter().zip(es::ES.all()).filter(|(one, other)| one == other);
        let same: Vec<_> = same.map(|((name, _), _)| name).collect();
        assert!(same.len() < 12, "not translated: {same:?}");
    }

    #[test]
    fn the_browser_says_which_language_and_somebody_may_choose_another() {
        let mut headers = HeaderMap::new();
        assert_eq!(choose(None, &headers).code, "en");
        headers.insert(header::ACCEPT_LANGUAGE, "fr-CH, es-MX;q=0.9, en;q=0.8".parse().unwrap());
        assert_eq!(choose(None, &headers).code, "es");
        assert_eq!(choose(Some("en"), &headers).code, "en");
        assert_eq!(choose(Some("xx"), &headers).code, "es");
    }

    #[test]
    fn values_are_put_in_their_places_and_never_taken_for_one() {
        assert_eq!(say("{1} of {0}", &["{1}", "b"]), "b of {1}");
        assert_eq!(say("a {", &[]), "a {");
        assert_eq!(crate::shown::counted(&en::EN, "{n} record|{n} records", 1), "1 record");
        assert_eq!(crate::shown::counted(&en::EN, "{n} record|{n} records", 2000), "2,000 records");
    }
}
