//! From settings and shape to a mapping.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::checks;
use super::{Line, Mapped, MappedColumn, Mapping, Refusal, Role, nearest};
use crate::jobs::duration;
use crate::jobs::part::part;
use crate::sql::codec::{Codec, FieldKind, Options, check_key};
use crate::sql::config::{FieldConfig, FieldTable, Mode, TableConfig};
use crate::sql::database::Engine;
use crate::sql::record_id::IdTemplate;
use crate::sql::shape::{Bound, ColumnShape, ColumnType, TableShape};
use crate::sql::value::check_collection;

/// What a site's own name is called in settings.
const SITE: &str = "{site}";

/// Puts a table's settings and its shape together. `site`: the site's name as it was when the bridge was installed;
/// `number`: the table's number in the bridge, from 1.
#[must_use]
pub fn map(
    config: &TableConfig,
    shape: &TableShape,
    engine: Engine,
    site: &str,
    number: u32,
) -> Mapped {
    map_as(config, shape, engine, site, number, &BTreeMap::new())
}

/// As [`map`], where the collection's schema declares these kinds already: a column takes the kind of its field, unless the
/// settings say one.
#[must_use]
pub fn map_as(
    config: &TableConfig,
    shape: &TableShape,
    engine: Engine,
    site: &str,
    number: u32,
    declared: &BTreeMap<String, FieldKind>,
) -> Mapped {
    let mut build = Build {
        declared,
        config,
        shape,
        engine,
        site,
        settings: BTreeMap::new(),
        zone: None,
        lines: Vec::new(),
        columns: Vec::new(),
        constants: BTreeMap::new(),
        refusals: Vec::new(),
        warnings: shape.warnings.clone(),
    };
    for why in &shape.refusals {
        build.refuse(&shape.name.to_string(), why);
    }
    let mapping = build.mapping(number);
    let Build { lines, refusals, warnings, .. } = build;
    let mapping = mapping.filter(|_| refusals.is_empty());
    Mapped { mapping, lines, refusals, warnings }
}

/// What is known so far.
pub(super) struct Build<'a> {
    pub(super) config: &'a TableConfig,
    pub(super) shape: &'a TableShape,
    pub(super) engine: Engine,
    site: &'a str,
    /// What the collection's schema declares.
    declared: &'a BTreeMap<String, FieldKind>,
    /// What is configured of columns and constants, by name.
    settings: BTreeMap<&'a str, FieldTable>,
    zone: Option<TimeZone>,
    lines: Vec<Line>,
    /// The columns that are read.
    pub(super) columns: Vec<(&'a ColumnShape, MappedColumn)>,
    constants: BTreeMap<String, String>,
    refusals: Vec<Refusal>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Build<'a> {
    pub(super) fn refuse(&mut self, what: &str, why: impl Into<String>) {
        self.refusals.push(Refusal { what: what.to_owned(), why: why.into() });
    }

    pub(super) fn mode(&self) -> Mode {
        self.config.mode
    }

    /// `None` where something is refused without which there is nothing to go on with.
    fn mapping(&mut self, number: u32) -> Option<Mapping> {
        if let Err(error) = check_collection(&self.config.collection) {
            self.refuse("collection", error.to_string());
        }
        self.read_zone();
        self.read_settings();
        let key = self.key();
        for column in &self.shape.columns {
            self.column(column, &key);
        }
        self.constants();
        self.check_names();
        let template = self.template(&key);
        let bound = self.bound(number, &key)?;
        checks::all(self, template.as_ref(), &bound);
        let ack_timeout = duration::parse(&self.config.ack_timeout);
        let ack_timeout = self.setting("ack_timeout", ack_timeout.map_err(|bad| bad.to_string()));
        let mass_change = self.setting("mass_change", part(&self.config.mass_change));
        let config = self.config;
        let deleted = |name: &String| bound.columns.iter().position(|column| column.name == *name);
        let mapping = Mapping {
            engine: self.engine,
            mode: config.mode,
            collection: config.collection.clone(),
            template: template?,
            columns: self.columns.iter().map(|(_, column)| column.clone()).collect(),
            constants: self.constants.clone(),
            deleted: config.deleted.as_ref().and_then(deleted),
            sent: config.sent.clone(),
            acked: config.acked.clone(),
            acked_by: config.acked_by.clone(),
            ack_timeout: ack_timeout?,
            record_filter: config.filter.clone().filter(|_| config.mode == Mode::Apply),
            on_leave: config.on_leave,
            is_owner: config.owner.as_ref().is_none_or(|owner| owner == self.site),
            side_effects: config.side_effects,
            mass_change: mass_change?,
            bound,
        };
        if let Err(error) = mapping.filter() {
            self.refuse("where", error);
        }
        Some(mapping)
    }

    fn setting<T>(&mut self, name: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.refuse(name, why)).ok()
    }

    fn read_zone(&mut self) {
        let Some(name) = &self.config.zone else { return };
        match TimeZone::get(name) {
            Ok(zone) => self.zone = Some(zone),
            Err(_) => self.refuse(
                "zone",
                format!("{name:?} is no time zone, expected one like \"Europe/Madrid\""),
            ),
        }
    }

    /// Reads what is configured of columns, and refuses names that the table does not have.
    fn read_settings(&mut self) {
        let config = self.config;
        for (name, setting) in &config.fields {
            let setting = match setting {
                FieldConfig::Name(field) => {
                    FieldTable { field: Some(field.clone()), ..FieldTable::default() }
                }
                FieldConfig::Table(table) => table.clone(),
            };
            match (self.shape.column(name), setting.constant.is_some()) {
                (Some(_), true) => self.refuse(
                    name,
                    "a constant is a field that no column has, and the table has a column of this name: choose another",
                ),
                (None, false) => {
                    let why = self.unknown();
                    self.refuse(name, format!("{why}{}", self.suggestion(name)));
                }
                (Some(_), false) | (None, true) => {
                    self.settings.insert(name, setting);
                }
            }
        }
        let named =
            [("deleted", &config.deleted), ("sent", &config.sent), ("acked", &config.acked)];
        for (setting, column) in named {
            let Some(column) = column else { continue };
            if self.shape.column(column).is_none() {
                let why = self.unknown();
                self.refuse(setting, format!("{column}: {why}{}", self.suggestion(column)));
            } else if self.settings.contains_key(&column[..]) {
                self.refuse(
                    column,
                    format!("it is the {setting} column, so it cannot be set under fields as well"),
                );
            }
        }
    }

    fn unknown(&self) -> String {
        format!("{} has no such column", self.shape.name)
    }

    fn suggestion(&self, name: &str) -> String {
        let names = self.shape.columns.iter().map(|column| &column.name[..]);
        nearest(name, names).map(|near| format!(", did you mean {near}?")).unwrap_or_default()
    }

    /// The columns that name a row.
    fn key(&mut self) -> Vec<String> {
        let config = self.config;
        let key = match &config.key[..] {
            [] => self.shape.primary_key.clone(),
            declared => declared.to_vec(),
        };
        if key.is_empty() {
            self.refuse("key", "the table has no primary key: say key = [\"COLUMN\"] with columns that are unique together");
        }
        let mut known = Vec::new();
        for name in key {
            if self.shape.column(&name).is_none() {
                let why = self.unknown();
                self.refuse("key", format!("{name}: {why}{}", self.suggestion(&name)));
            } else if known.contains(&name) {
                self.refuse("key", format!("{name} is there twice"));
            } else {
                known.push(name);
            }
        }
        known
    }

    /// What one column is.
    fn column(&mut self, shape: &'a ColumnShape, key: &[String]) {
        let name = &shape.name[..];
        let is_key = key.contains(&shape.name);
        let is_of = |setting: &Option<String>| setting.as_deref() == Some(name);
        let setting = self.settings.get(name).cloned().unwrap_or_default();
        if is_of(&self.config.sent) || is_of(&self.config.acked) {
            let role = if is_of(&self.config.sent) { Role::Sent } else { Role::Acked };
            return self.line(shape, role, None, "written by the bridge, and no edit");
        }
        if shape.is_generated {
            if is_key {
                self.refuse(name, "the database computes it, so it cannot be part of the key");
            }
            return self.line(
                shape,
                Role::Generated,
                None,
                "computed by the database: neither captured nor written",
            );
        }
        if is_of(&self.config.deleted) {
            if is_key {
                self.refuse(name, "it says that a row is deleted, so it cannot be part of the key");
            }
            return self.deleted(shape);
        }
        if setting.skip && !is_key {
            if self.mode().applies()
                && !shape.is_nullable
                && !shape.has_default
                && !shape.is_numbered
            {
                self.refuse(name, "left out, but it is NOT NULL and has no default, so no row could be inserted: give it a default");
            }
            return self.line(shape, Role::Skipped, None, "left out by skip = true");
        }
        self.field(shape, &setting, is_key);
    }

    fn options(&self, setting: &FieldTable) -> Options {
        Options {
            engine: self.engine,
            zone: self.zone.clone(),
            zero_date: self.config.zero_date,
            is_lossy: self.config.lossy,
            form: setting.form,
        }
    }

    /// A column that says that a row is deleted.
    fn deleted(&mut self, shape: &'a ColumnShape) {
        let field = match &shape.kind {
            ColumnType::DateTime { .. } if shape.is_nullable => FieldKind::Datetime,
            ColumnType::DateTime { .. } => {
                return self.refuse(&shape.name, "a time that says that a row is deleted must be NULL in all others: make it nullable");
            }
            kind if checks::is_flag(kind, &shape.declared) => FieldKind::Boolean,
            _ => {
                return self.refuse(
                    &shape.name,
                    format!("{} is neither a time nor a boolean, so it cannot say that a row is deleted", shape.declared),
                );
            }
        };
        match Codec::new(shape, field, self.options(&FieldTable::default())) {
            Ok(codec) => {
                self.columns.push((shape, MappedColumn { field: None, codec, is_key: false }));
                self.line(shape, Role::Deleted, None, "says that the row is deleted");
            }
            Err(why) => self.refuse(&shape.name, why),
        }
    }

    /// The codec of a column that is the field `name`.
    fn codec(
        &self,
        shape: &ColumnShape,
        name: &str,
        setting: &FieldTable,
        is_key: bool,
    ) -> Result<Codec, String> {
        let options = self.options(setting);
        let declared = self.declared.get(name).filter(|_| !setting.skip).copied();
        let field = match (&setting.kind, declared) {
            (Some(kind), _) => kind.parse()?,
            (None, Some(declared)) => declared,
            (None, None) => Codec::infer(shape, is_key, &options)?,
        };
        let fits = if is_key { check_key(shape, field, &options) } else { Ok(()) };
        let codec = fits.and_then(|()| Codec::new(shape, field, options));
        let schema = |declared| {
            format!("the schema of {} declares {name} as {declared}", self.config.collection)
        };
        match (codec, declared) {
            (Ok(_), Some(declared)) if declared != field => Err(format!(
                "{}, which never changes, and not as {field}: say field = \"NAME\" with another name",
                schema(declared)
            )),
            (Err(why), Some(declared)) if declared == field => Err(format!(
                "{}: {why}; or say field = \"NAME\" with another name",
                schema(declared)
            )),
            (codec, _) => codec,
        }
    }

    fn field(&mut self, shape: &'a ColumnShape, setting: &FieldTable, is_key: bool) {
        let name = setting.field.clone().unwrap_or_else(|| shape.name.clone());
        let codec = self.codec(shape, &name, setting, is_key);
        let field = (!setting.skip).then_some(name);
        match codec {
            Ok(codec) => {
                let role = match (is_key, codec.field()) {
                    (true, _) => Role::Key,
                    (false, FieldKind::Counter) => Role::Counter,
                    (false, _) => Role::Field,
                };
                let kind = codec.field();
                let note = self.note(shape, kind, is_key);
                self.line(shape, role, field.clone().map(|field| (field, kind)), &note);
                self.columns.push((shape, MappedColumn { field, codec, is_key }));
            }
            Err(why) => {
                let role = if is_key { Role::Key } else { Role::Field };
                self.line(shape, role, None, "refused");
                let way_out = if is_key { "" } else { "; or leave it out with skip = true" };
                self.refuse(&shape.name, format!("{why}{way_out}"));
            }
        }
    }

    fn note(&self, shape: &ColumnShape, kind: FieldKind, is_key: bool) -> String {
        let mut notes = Vec::new();
        if shape.is_numbered {
            notes.push("numbered by the database".to_owned());
        }
        if is_key && self.config.key.is_empty() {
            notes.push("primary key".to_owned());
        }
        if kind == FieldKind::Counter {
            notes.push("changes of all offices add up".to_owned());
        }
        if let (true, ColumnType::DateTime { has_zone: false, .. }) = (kind.is_time(), &shape.kind)
        {
            notes.push(match &self.config.zone {
                Some(zone) => format!("read in {zone}"),
                None if self.engine == Engine::Sqlite => {
                    "in UTC where its text has an offset, else without a zone".to_owned()
                }
                None => "without a zone".to_owned(),
            });
        }
        if self.config.lossy {
            notes.push("what it cannot keep is cut".to_owned());
        }
        notes.join("; ")
    }

    fn line(
        &mut self,
        shape: &ColumnShape,
        role: Role,
        field: Option<(String, FieldKind)>,
        note: &str,
    ) {
        let (field, kind) = field.unzip();
        self.lines.push(Line {
            column: shape.name.clone(),
            declared: shape.declared.clone(),
            role,
            field,
            kind,
            note: note.to_owned(),
        });
    }

    /// The fields that no column has.
    fn constants(&mut self) {
        for (name, setting) in self.settings.clone() {
            let Some(constant) = setting.constant else { continue };
            if setting.skip || setting.kind.as_deref().is_some_and(|kind| kind != "string") {
                self.refuse(name, "a constant is a string: it takes neither skip nor another kind");
            }
            let field = setting.field.unwrap_or_else(|| name.to_owned());
            let text = constant.replace(SITE, self.site);
            self.lines.push(Line {
                column: String::new(),
                declared: String::new(),
                role: Role::Constant,
                field: Some(field.clone()),
                kind: Some(FieldKind::String),
                note: format!("always {text:?}"),
            });
            if self.constants.insert(field.clone(), text).is_some() {
                self.refuse(name, format!("two constants are called {field}"));
            }
        }
    }

    /// Checks the names of the fields.
    fn check_names(&mut self) {
        let columns = self.columns.iter().filter_map(|(shape, column)| {
            column.field.clone().map(|field| (shape.name.clone(), field))
        });
        let constants = self.constants.keys().map(|field| (field.clone(), field.clone()));
        let fields: Vec<(String, String)> = columns.chain(constants).collect();
        let mut seen = BTreeSet::new();
        for (what, field) in fields {
            if let Err(why) = checks::field_name(&field) {
                self.refuse(&what, format!("{why}: say field = \"NAME\" with another name"));
            }
            if !seen.insert(field.clone()) {
                self.refuse(
                    &what,
                    format!("another column is the field {field} already: choose another name"),
                );
            }
        }
    }

    fn template(&mut self, key: &[String]) -> Option<IdTemplate> {
        if key.is_empty() {
            return None;
        }
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let template = match &self.config.record_id {
            Some(text) => IdTemplate::parse(text, &key),
            None => IdTemplate::of_key(&key),
        };
        template.map_err(|error| self.refuse("record_id", error.to_string())).ok()
    }

    /// `None`: a column of the key is refused.
    fn bound(&self, number: u32, key: &[String]) -> Option<Bound> {
        let columns: Vec<ColumnShape> =
            self.columns.iter().map(|(shape, _)| (*shape).clone()).collect();
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let unique = self.shape.unique_besides(key);
        let key: Vec<usize> = key.iter().map(place).collect::<Option<_>>()?;
        let shape = self.shape;
        let is_captured = self.mode().captures();
        let is_silent = is_captured && self.engine == Engine::MariaDb;
        Some(Bound {
            number,
            table: shape.name.clone(),
            key: if key.is_empty() { return None } else { key },
            filter: self.config.filter.clone().filter(|_| is_captured),
            site: self.site.to_owned(),
            unique,
            is_captured,
            // Also by way of other tables.
            cascades_to_itself: shape
                .cascades_from_above()
                .iter()
                .any(|foreign| foreign.to == shape.name),
            silent_cascades: if is_silent { shape.cascades_from_above() } else { Vec::new() },
            columns,
        })
    }
}
