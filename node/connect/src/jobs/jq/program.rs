//! One expression as jaq compiles and runs it, with what it may not have left out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use jaq_core::data::JustLut;
use jaq_core::load::lex::{Lexer, StrPart, Tok, Token};
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, unwrap_valr};
use jaq_json::{Val, read};
use serde::de::IgnoredAny;

use super::{JqFault, OUTPUT_BYTES_MAX, OUTPUTS_MAX};

/// Functions that look at something other than the input, or end the process.
const LEFT_OUT: [&str; 14] = [
    "debug",
    "debug_empty",
    "env",
    "halt",
    "halt_error",
    "input",
    "input_filename",
    "input_line_number",
    "inputs",
    "localtime",
    "now",
    "stderr",
    "stderr_empty",
    "strflocaltime",
];

/// An expression, ready to run.
pub(super) struct Program {
    filter: jaq_core::Filter<JustLut<Val>>,
    time_max: Duration,
}

impl Program {
    pub(super) fn compile(text: &str, time_max: Duration) -> Result<Self, String> {
        if let Ok(tokens) = Lexer::new(text).lex()
            && tokens.iter().any(defines)
        {
            return Err("it defines a function (def), which could call itself without end: expected pipes, map, select, \
                reduce and the like"
                .to_owned());
        }
        let is_there = |name: &str| !LEFT_OUT.contains(&name);
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let defs = defs.filter(|def| is_there(def.name));
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let funs = funs.filter(|(name, ..)| is_there(name));
        let arena = Arena::default();
        let modules = Loader::new(defs)
            .load(&arena, File { code: text, path: () })
            .map_err(|errors| said(errors.into_iter().map(|(_, error)| of_load(&error))))?;
        let filter = Compiler::default().with_funs(funs).compile(modules);
        let undefined = |(name, kind): (&str, jaq_core::compile::Undefined)| {
            let hint =
                if is_there(name) { "" } else { " (expressions here look at their input alone)" };
            format!("{} {name} is not defined{hint}", kind.as_str())
        };
        let filter = filter
            .map_err(|errors| said(errors.into_iter().flat_map(|(_, all)| all).map(undefined)))?;
        Ok(Self { filter, time_max })
    }

    /// All outputs for one input.
    pub(super) fn run(&self, text: &str, input: &str) -> Result<Vec<String>, JqFault> {
        let failed = |what: String| JqFault::Failed { text: text.to_owned(), what };
        let run = AssertUnwindSafe(|| self.outputs(text, input));
        // A library's mistake about one item is no reason to end the node.
        catch_unwind(run).unwrap_or_else(|_| Err(failed("jq broke off".to_owned())))
    }

    fn outputs(&self, text: &str, input: &str) -> Result<Vec<String>, JqFault> {
        let failed = |what: String| JqFault::Failed { text: text.to_owned(), what };
        // jaq takes more than JSON, however deep.
        check_json(input)
            .map_err(|what| failed(format!("its input is not JSON that can be read: {what}")))?;
        let input = read::parse_single(input.as_bytes());
        let input = input.map_err(|error| failed(error.to_string()))?;
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let (begun, mut bytes) = (Instant::now(), 0_usize);
        let mut outputs = Vec::new();
        for output in self.filter.id.run((context, input)).map(unwrap_valr) {
            let output = output.map_err(|error| failed(error.to_string()))?.to_string();
            bytes = bytes.saturating_add(output.len());
            if bytes > OUTPUT_BYTES_MAX || outputs.len() >= OUTPUTS_MAX {
                return Err(JqFault::Large { text: text.to_owned() });
            }
            if begun.elapsed() >= self.time_max {
                return Err(JqFault::Slow { text: text.to_owned() });
            }
            check_json(&output).map_err(|_| {
                let shown: String = output.chars().take(100).collect();
                failed(format!("its output {shown} is not JSON"))
            })?;
            outputs.push(output);
        }
        Ok(outputs)
    }
}

/// Values within values; deeper ones are nobody's data.
const DEPTH_MAX: usize = 128;

/// Whether a text is JSON, of a depth that can be worked on.
fn check_json(text: &str) -> Result<(), String> {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("values within values, deeper than {DEPTH_MAX}"));
        }
    }
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| error.to_string())
}

/// Whether a token begins a definition, or one within it does.
fn defines(token: &Token<&str>) -> bool {
    match &token.1 {
        Tok::Word => token.0 == "def",
        Tok::Block(inner) => inner.iter().any(defines),
        Tok::Str(parts) => parts.iter().any(|part| match part {
            StrPart::Term(inner) => defines(inner),
            StrPart::Str(_) | StrPart::Char(_) => false,
        }),
        Tok::Var | Tok::Fmt | Tok::Num | Tok::Sym => false,
    }
}

fn of_load(error: &load::Error<&str>) -> String {
    let found = |text: &str| match text.chars().take(40).collect::<String>() {
        end if end.is_empty() => "found its end".to_owned(),
        text => format!("found {text:?}"),
    };
    match error {
        load::Error::Io(errors) => said(errors.iter().map(|(_, what)| what.clone())),
        load::Error::Lex(errors) => said(
            errors
                .iter()
                .map(|(expected, at)| format!("{}, expected {}", found(at), expected.as_str())),
        ),
        load::Error::Parse(errors) => said(
            errors
                .iter()
                .map(|(expected, at)| format!("{}, expected {}", found(at), expected.as_str())),
        ),
    }
}

/// The first few of what is wrong.
fn said(what: impl Iterator<Item = String>) -> String {
    what.take(3).collect::<Vec<_>>().join("; ")
}
