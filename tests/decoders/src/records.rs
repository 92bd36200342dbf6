//! What users write: JSON that becomes an edit, schemas.

use std::collections::BTreeMap;

use branchline_crdt::record::{
    ActorBytes, Document, Edit, EditError, Schema, Value, validate_schema_edit,
};
use serde_json::{Map, Value as Json};

use crate::{Memory, Target};

const ACTOR: ActorBytes = ActorBytes([1; 16]);

fn fields(bytes: &[u8]) -> Option<Map<String, Json>> {
    serde_json::from_slice(bytes).ok()
}

pub(crate) const EDIT: Target = Target {
    name: "edit",
    run: edit,
    seeds: edit_seeds,
    memory: Memory { mib: 8, per_byte: 4096 },
};

/// Bodies of writes, one a line, each put or merged by turns, half of them under a schema.
fn edit(input: &[u8]) {
    let Some((how, text)) = input.split_first() else { return };
    let schema = (how & 1 == 1).then(schema);
    let mut document = Document::empty();
    for (line, turn) in text.split(|byte| *byte == b'\n').zip(how >> 1..) {
        let Some(fields) = fields(line) else { return };
        let edit = match turn % 4 {
            0 | 2 => Edit::Put(fields),
            1 => Edit::Merge { patch: fields, create: true },
            _ => Edit::Delete,
        };
        let before = document.view();
        match document.edit(ACTOR, 1, &edit, schema.as_ref()) {
            Ok(_) => {
                let again = Document::load(&document.save()).expect("what was saved loads");
                assert_eq!(again.view(), document.view());
                puts_back(&mut document, &edit, schema.as_ref());
            }
            Err(error @ (EditError::Refused(_) | EditError::Unreadable(_))) => {
                panic!("an edit makes what nobody takes: {error:?}: {edit:?}")
            }
            Err(_) => assert_eq!(document.view(), before, "a refused edit changes nothing"),
        }
    }
}

/// Putting back what is read changes nothing.
fn puts_back(document: &mut Document, edit: &Edit, schema: Option<&Schema>) {
    let view = document.view();
    // An increment is written, and read as a number.
    if view.deleted || format!("{edit:?}").contains("$inc") {
        return;
    }
    if let Json::Object(read) = Value::Map(view.fields.clone()).to_json() {
        match document.edit(ACTOR, 2, &Edit::Put(read), schema) {
            Ok(_) => assert_eq!(document.view().fields, view.fields, "{edit:?}"),
            Err(error) => panic!("what is read cannot be put back: {error:?}: {edit:?}"),
        }
    }
}

fn schema() -> Schema {
    let kinds = [
        ("s", "string"),
        ("i", "integer"),
        ("f", "float"),
        ("b", "boolean"),
        ("t", "timestamp"),
        ("x", "bytes"),
        ("d", "decimal"),
        ("c", "counter"),
        ("w", "text"),
        ("l", "list"),
        ("m", "map"),
        ("m.c", "counter"),
        ("m.n.w", "text"),
        ("k", "datetime"),
    ];
    let field = |(path, kind): (&str, &str)| (path.to_owned(), Value::Str(kind.to_owned()));
    Schema::from_fields(&kinds.into_iter().map(field).collect()).expect("a schema")
}

fn edit_seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"s":"a","i":1,"f":1.5,"b":true,"t":"2026-01-31T12:00:00Z","x":"AQID","d":"1.50","c":2,"w":"text","l":[1,[2],{"a":null}],"m":{"c":1,"n":{"w":"x"}}}
{"w":"texts","l":[1,{"a":0}],"c":{"$inc":-1},"m":{"c":{"$inc":9007199254740992}}}
{"i":-9223372036854775808,"f":1e308,"s":null}"#,
        r#"{"a":{"b":{"c":{"$inc":1}}},"e":[],"o":{},"n":null}
{"a":{"b":null},"e":[[[[[[[[[[[[[[]]]]]]]]]]]]]]}
{}"#,
        r#"{"x":"\ud83c\udf75","y":"\u0000","z":18446744073709551615,"_a":1,"a.b":1,"":0}"#,
        "{\"d\":12.50,\"f\":-0.0,\"i\":1.0}\n{\"d\":\"00012\"}\n{\"w\":\"\"}",
    ];
    let seeds = texts.iter().flat_map(|text| (0..2).map(move |how| (how, text)));
    seeds.map(|(how, text)| [&[how], text.as_bytes()].concat()).collect()
}

pub(crate) const SCHEMA: Target = Target {
    name: "schema",
    run: schemas,
    seeds: || {
        let texts = [
            "{\"a\":\"integer\",\"b\":\"decimal required\"}\n{\"a\":\"integer required\"}",
            "{\"m\":\"map\",\"m.a\":\"list\",\"m.b.c\":\"counter\"}\n{\"m.b\":\"map\"}\n{\"m\":null}",
            "{\"m\":\"text\",\"m.a\":\"list\"}\n{\"x\":1,\"_y\":\"string\",\"z\":\"strings\"}",
        ];
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    },
    memory: Memory { mib: 8, per_byte: 4096 },
};

/// Schemas, one a line, each a patch of the one before.
fn schemas(input: &[u8]) {
    let mut document = Document::empty();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(patch) = fields(line) else { return };
        let before = (!document.is_empty()).then(|| document.view());
        let mut after = document.clone();
        let edit = Edit::Merge { patch, create: true };
        if after.edit(ACTOR, 1, &edit, Some(&Schema::of_schemas())).is_err() {
            continue;
        }
        let Ok(schema) = validate_schema_edit(before.as_ref(), &after.view()) else { continue };
        let stored: BTreeMap<String, Value> = schema.to_fields();
        assert_eq!(Schema::from_fields(&stored).as_ref(), Ok(&schema), "a schema has one form");
        assert_eq!(schema.check_change(&schema), Ok(()));
        document = after;
    }
}
