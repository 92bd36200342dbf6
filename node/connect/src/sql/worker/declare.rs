//! The schemas of the collections: a bridge declares what they lack, where the site may, so that money stays exact and
//! quantities add up.

use branchline_crdt::record::{Edit, SCHEMA_COLLECTION};
use branchline_crdt::replica::{LocalTransaction, RecordEdit, WriteError};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use serde_json::{Map, Value as Json};

use super::BridgeWorker;
use super::command::BridgeWrong;

impl BridgeWorker {
    /// Declares the fields that the collections' schemas lack.
    pub(super) async fn declare(&mut self) -> Result<(), BridgeWrong> {
        for mapping in self.mappings.clone().into_values() {
            let declared = self.declared(&mapping.collection).await?;
            let mut missing = Map::new();
            for (field, kind) in mapping.kinds() {
                let kind = Json::String(kind.as_str().to_owned());
                match declared.get(&field) {
                    None => {
                        missing.insert(field, kind);
                    }
                    Some(found) if kind_of(found) == kind_of(&kind) => {}
                    Some(found) => {
                        return Err(BridgeWrong::State(format!(
                            "the field {field:?} of collection {:?} is declared as {}, and the bridge needs {}: a kind never \
                             changes; name another field for the column in branchline.toml, or its kind",
                            mapping.collection,
                            kind_of(found),
                            kind_of(&kind)
                        )));
                    }
                }
            }
            if missing.is_empty() {
                continue;
            }
            let edit = Edit::Merge { patch: missing.clone(), create: true };
            let edits = vec![RecordEdit::new(SCHEMA_COLLECTION, &mapping.collection, edit)];
            let written = self.node.write(vec![LocalTransaction { origin: None, edits }]).await;
            let written = written.map_err(|error| BridgeWrong::Failed(error.to_string()))?;
            match written.into_iter().next() {
                Some(Ok(_)) | None => {}
                Some(Err(WriteError::Role { .. })) => {
                    return Err(BridgeWrong::State(format!(
                        "the collection {:?} needs a schema, which this site may not declare: at an admin's site put {} into a \
                         file and run `branchline schema apply FILE`",
                        mapping.collection,
                        Json::Object(Map::from_iter([(
                            mapping.collection.clone(),
                            Json::Object(missing)
                        )]))
                    )));
                }
                Some(Err(error)) => return Err(BridgeWrong::Failed(error.to_string())),
            }
        }
        Ok(())
    }

    async fn declared(&mut self, collection: &str) -> Result<Map<String, Json>, BridgeWrong> {
        let id = collection.to_owned();
        let read = self.node.read(move |tables, space| {
            let key = RecordKey { space, collection: SCHEMA_COLLECTION.to_owned(), id };
            read::record(tables, &key)
        });
        let view = read.await.map_err(|error| BridgeWrong::Failed(error.to_string()))?;
        let fields = view.filter(|view| !view.deleted).map(|view| view.fields).unwrap_or_default();
        Ok(fields.into_iter().map(|(name, value)| (name, value.into_json())).collect())
    }
}

/// The kind that a declaration names: its first word.
fn kind_of(declaration: &Json) -> &str {
    let text = declaration.as_str().unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default()
}
