//! `members` and `members --history`: who is in, and what became of them.

pub(crate) mod decisions;
pub(crate) mod joining;
pub(crate) mod space;
pub(super) mod ticket;
pub(crate) mod tickets;

use branchline_node::api::{
    AddedResponse, DisputedMemberResponse, MemberResponse, MemberStep, MembersHistoryResponse,
    MembersResponse, PAGE_RECORDS_MAX, RevokedMemberResponse,
};

use crate::Context;
use crate::args::MembersArgs;
use crate::client::query;
use crate::commands::site::status::size;
use crate::error::CliError;
use crate::output::{self, visible};

/// Shows the sites of the network, or what became of the members of it or of a space.
pub(crate) async fn members(context: &Context, args: MembersArgs) -> Result<(), CliError> {
    if args.history {
        return history(context, args).await;
    }
    let answer: MembersResponse = context.client.get("/v1/members").await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.members.is_empty() {
        output::note("this site does not belong to a network yet, or has not reached a member");
        return Ok(());
    }
    let row = |member: MemberResponse| {
        let link = match (member.this_site, member.connected) {
            (true, _) => "this site",
            (false, true) => "connected",
            (false, false) => "not connected",
        };
        let [today, in_all] = added(member.added);
        [visible(&member.name), member.role, link.to_owned(), today, in_all, member.site]
    };
    let revoked = |site: RevokedMemberResponse| {
        let by = format!("by {}", visible(&site.by));
        let [today, in_all] = added(site.added);
        [visible(&site.name), "revoked".to_owned(), by, today, in_all, site.site]
    };
    let rows = answer.members.into_iter().map(row);
    let disputed = |site: DisputedMemberResponse| {
        let through = format!("through {}", visible(&site.through));
        let [today, in_all] = [String::new(), String::new()];
        [visible(&site.name), "disputed".to_owned(), through, today, in_all, site.site]
    };
    let is_any = !answer.disputed.is_empty();
    let rows = rows.chain(answer.disputed.into_iter().map(disputed));
    let rows = rows.chain(answer.revoked.into_iter().map(revoked)).collect();
    output::table(["NAME", "ROLE", "LINK", "ADDED TODAY", "ADDED", "SITE"], rows)?;
    if is_any {
        output::note(
            "a disputed site joined with a ticket that had been withdrawn or used up: `branchline role SITE writer` makes it a member, `branchline revoke SITE` shuts it out",
        );
    }
    Ok(())
}

/// How much a site has added to what is held here, today and since it is counted.
fn added(added: AddedResponse) -> [String; 2] {
    let AddedResponse { entries_today, bytes_today, entries, bytes } = added;
    [(entries_today, bytes_today), (entries, bytes)].map(|(entries, bytes)| match entries {
        0 => "nothing".to_owned(),
        _ => format!("{} in {}", size(bytes), output::counted_entries(entries)),
    })
}

async fn history(context: &Context, args: MembersArgs) -> Result<(), CliError> {
    let limit = args.limit.clamp(1, PAGE_RECORDS_MAX).to_string();
    let before = args.before.map(|before| before.to_string());
    let query = query(&[("limit", Some(&limit)), ("before", before.as_deref())]);
    let path = format!("/v1/members/history{query}");
    let answer: MembersHistoryResponse = context.client.get(&path).await?;
    if context.json {
        return answer.steps.iter().try_for_each(output::json);
    }
    let row = |step: &MemberStep| {
        let (time, entry) = (step.time.clone(), step.entry.clone());
        [time.unwrap_or_default(), visible(&step.by_name), what(step), entry.unwrap_or_default()]
    };
    output::table(["WHEN", "WHO", "WHAT", "ENTRY"], answer.steps.iter().map(row).collect())?;
    if let Some(next) = answer.next {
        let said = &context.said;
        output::note(format_args!(
            "\nolder ones: `branchline{said} members --history --before {next}`"
        ));
    }
    Ok(())
}

/// What was done, in words.
fn what(step: &MemberStep) -> String {
    let site = visible(&step.site_name);
    let role = step.role.as_deref().unwrap_or_default();
    let name = visible(step.name.as_deref().unwrap_or_default());
    let reported = match step.what.as_str() {
        "founded" => "founded it, as admin".to_owned(),
        "admitted" => {
            let through = step.through_name.as_deref().filter(|through| *through != step.by_name);
            let through = through.map(|through| format!(", through {}", visible(through)));
            let called = if name == site { String::new() } else { format!(", then called {name}") };
            format!("let {site} in as {role}{called}{}", through.unwrap_or_default())
        }
        "role_changed" => format!("made {site} {role}"),
        "renamed" => {
            let former = visible(step.former_name.as_deref().unwrap_or(&step.site_name));
            format!("renamed {former} to {name}")
        }
        "key_replaced" => {
            format!("took another key: {}", visible(step.new_site.as_deref().unwrap_or_default()))
        }
        "revoked" => format!("revoked {site}"),
        "left" => "left".to_owned(),
        other => visible(other),
    };
    let effect = if step.counts { "" } else { " (without effect)" };
    format!("{reported}{effect}")
}
