//! `backup create` and `backup restore`: a site in one file.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use axum::body::Body;
use axum::http::Method;
use branchline_node::Node;
use branchline_node::api::StatusResponse;
use branchline_node::backup::{
    self, BackupHeader, BackupPart, BackupReader, BackupWriter, JournalContents,
};
use branchline_node::site::SiteFolder;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::json;

use crate::Context;
use crate::args::Global;
use crate::error::CliError;
use crate::extensions::{configuration, extensions};
use crate::out_file::{OutFile, Readers};
use crate::output::{self, counted};

/// Writes a backup of the site.
pub(crate) async fn create(
    context: &Context,
    global: &Global,
    out: &Path,
    force: bool,
) -> Result<(), CliError> {
    let file = OutFile::create(out, Readers::Owner, force)?;
    let is_stdout = file.is_stdout();
    let status: StatusResponse = context.client.get("/v1/status").await?;
    let header = BackupHeader {
        site: status.site,
        name: status.name,
        time: format!("{:.3}", Timestamp::now()),
    };
    let files = SiteFolder::new(&global.data).files()?;
    let answer =
        context.client.stream(Method::POST, "/v1/backup", ("application/json", Body::empty()));
    let journal = answer.await?;
    let (contents, added) = write(file, header, files, journal).await?;
    let JournalContents { frames, bytes, damaged } = contents;
    if context.json {
        let file = out.display().to_string();
        let answer = json!({ "file": file, "frames": frames, "journal_bytes": bytes, "damaged": damaged, "files": added });
        return output::result(is_stdout, answer);
    }
    let frames = counted(frames, "frame");
    output::result(
        is_stdout,
        format_args!("{frames} of the journal, of {bytes} bytes, in {}", out.display()),
    )?;
    if !added.is_empty() {
        let names: Vec<_> = added.iter().map(String::as_str).collect();
        output::note(format_args!("with {}", names.join(", ")));
    }
    output::note("it holds the site's secret key: keep it as safe as the site itself");
    if damaged > 0 {
        let stretches = counted(damaged, "damaged stretch");
        output::note(format_args!("{stretches} left out; other sites give back what was there"));
    }
    Ok(())
}

/// Writes the file and reads each part as it comes: what is damaged on the way is noticed here. Returns the names of
/// extensions' files too.
async fn write(
    mut file: OutFile,
    header: BackupHeader,
    files: Vec<(String, Vec<u8>)>,
    journal: Body,
) -> Result<(JournalContents, BTreeSet<String>), CliError> {
    let wrong = |error: &dyn std::error::Error| {
        CliError::failed(format!("the backup was not written to its end: {error}"))
    };
    let (mut writer, start) = BackupWriter::start();
    file.write(&start)?;
    let files = files.into_iter().map(|(name, content)| BackupPart::SiteFile { name, content });
    for part in std::iter::once(BackupPart::Header(header)).chain(files) {
        let bytes = writer.part(&part).map_err(|error| wrong(&error))?;
        file.write(&bytes)?;
    }
    let mut reader = BackupReader::default();
    let mut contents = JournalContents::default();
    let mut added = BTreeSet::new();
    let mut journal = journal.into_data_stream();
    while let Some(some) = journal.next().await {
        reader.push(&some.map_err(|error| wrong(&error))?);
        while let Some(part) = reader.next_part().map_err(|error| wrong(&error))? {
            match &part {
                BackupPart::End(end) => contents = *end,
                BackupPart::State { name, .. } => {
                    added.insert(name.clone());
                }
                BackupPart::Header(_) | BackupPart::SiteFile { .. } | BackupPart::Frames(_) => {}
            }
            let bytes = writer.part(&part).map_err(|error| wrong(&error))?;
            file.write(&bytes)?;
        }
    }
    reader.finish().map_err(|error| wrong(&error))?;
    file.finish()?;
    Ok((contents, added))
}

/// Makes a site of a backup in the data folder, which holds nothing yet.
pub(crate) async fn restore(global: &Global, path: &Path) -> Result<(), CliError> {
    let mut file = File::open(path).map_err(|error| CliError::file("read", path, &error))?;
    let restored = backup::restore(&mut file, &global.data)
        .map_err(|error| CliError::failed(crate::error::text_of(&error)))?;
    // Opening makes the tables, and shows that the journal is whole.
    let config = configuration(&global.data)?;
    let node = Node::builder(config).with_all(extensions()).open().await?;
    let status = node.handle().status().await;
    node.shutdown().await;
    let status = status.map_err(|error| CliError::failed(crate::error::text_of(&error)))?;
    let BackupHeader { site, name, time } = restored.header;
    let (entries, records) = (status.replica.entries, status.records);
    if global.json {
        return output::json(&json!({
            "site": site, "name": name, "time": time, "entries": entries, "records": records,
            "digest": status.digest,
        }));
    }
    let data = global.data.display();
    output::line(format_args!("site {name} ({site}) as of {time} is in {data}"))?;
    let (entries, records) = (output::counted_entries(entries), counted(records, "record"));
    output::line(format_args!("{entries}, {records}, digest {}", status.digest))?;
    output::note(
        "it writes under a new incarnation from now on; what it wrote after the backup comes back from the others",
    );
    output::note("\nnext: `branchline run`, once the site it was taken of runs nowhere any more");
    Ok(())
}
