//! A backup, written to a folder of the node's machine that the configuration names. It holds the site's secret key, and is
//! never sent to a browser.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use branchline_node::backup::{BackupHeader, BackupPart, BackupReader, BackupWriter};
use branchline_node::site::SiteFolder;
use branchline_node::whole_file::{Readers, WholeFile};
use futures::StreamExt;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::ask::Refused;
use crate::form::{Fields, Write};
use crate::layout;
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::say;

pub(super) fn form(office: &Office, viewer: &Viewer) -> Markup {
    let t = viewer.t;
    let folder = office.config().backups.clone();
    html! {
        h2 #backup { (t.backup) }
        @match folder {
            Some(folder) => {
                p { (say(t.backup_goes_to, &[&folder.display().to_string()])) }
                (layout::button_of(viewer, "/network/backup", &[], html! { button type="submit" { (t.backup_now) } }))
            }
            None => {
                p { (t.backup_has_no_folder) }
                (layout::command("[page]\nbackups = \"/var/backups/branchline\""))
            }
        }
        (layout::command("branchline backup create FILE"))
    }
}

pub(super) async fn make(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Write(_): Write<Fields>,
) -> Response {
    let t = viewer.t;
    match write(&office, &viewer).await {
        Ok((path, bytes)) => {
            let text = say(t.backup_is_made, &[&path.display().to_string(), &shown::bytes(bytes)]);
            office.notices.done(&viewer, text, None);
        }
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to("/network#backup").into_response()
}

async fn write(office: &Office, viewer: &Viewer) -> Result<(PathBuf, u64), Refused> {
    let Some(folder) = office.config().backups.clone() else {
        let text = viewer.t.backup_has_no_folder;
        return Err(Refused::new(StatusCode::CONFLICT, "conflict", text));
    };
    let status = office.status().await?;
    let now = Timestamp::now();
    // A site's name may have characters that no file should have.
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let name: String = status.name.chars().map(plain).take(64).collect();
    let path = folder.join(format!("{name}-{}.backup", now.strftime("%Y-%m-%dT%H-%M-%S")));
    let header = BackupHeader {
        site: status.site.clone(),
        name: status.name.clone(),
        time: format!("{now:.3}"),
    };
    let data = office.folder.parent().unwrap_or(&office.folder).to_owned();
    let body = Some(("application/json", Body::empty()));
    let journal = office.ask.exchange(Method::POST, "/v1/backup", &[], body).await?.into_body();
    let written = copy(&path, header, &data, journal).await;
    let bytes = written.map_err(|error| {
        let text = format!("the backup {} was not written: {error}", path.display());
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
    })?;
    Ok((path, bytes))
}

/// Writes the file and reads each part as it comes: what is damaged on the way is noticed here.
async fn copy(path: &Path, header: BackupHeader, data: &Path, journal: Body) -> io::Result<u64> {
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let mut file = WholeFile::create(path, Readers::Owner)?;
    let (mut writer, start) = BackupWriter::start();
    let mut bytes = start.len() as u64;
    file.write_all(&start)?;
    let files = SiteFolder::new(data).files().map_err(|error| wrong(&error))?;
    let files = files.into_iter().map(|(name, content)| BackupPart::SiteFile { name, content });
    for part in std::iter::once(BackupPart::Header(header)).chain(files) {
        let written = writer.part(&part).map_err(|error| wrong(&error))?;
        bytes += written.len() as u64;
        file.write_all(&written)?;
    }
    let mut reader = BackupReader::default();
    let mut journal = journal.into_data_stream();
    while let Some(some) = journal.next().await {
        reader.push(&some.map_err(|error| wrong(&error))?);
        while let Some(part) = reader.next_part().map_err(|error| wrong(&error))? {
            let written = writer.part(&part).map_err(|error| wrong(&error))?;
            bytes += written.len() as u64;
            // Some hundred KiB at a time, into the system's memory.
            file.write_all(&written)?;
        }
    }
    reader.finish().map_err(|error| wrong(&error))?;
    tokio::task::spawn_blocking(move || file.finish_new()).await.map_err(io::Error::other)??;
    Ok(bytes)
}
