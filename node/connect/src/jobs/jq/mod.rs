//! jq expressions of the configuration: what is taken out of an answer, and what is sent.
//!
//! An expression works on its input alone: the environment, the clock, other inputs and the end of the process are not there
//! for it, so that the same record always gives the same output. It runs on a thread of its own, with bounds on time,
//! outputs and bytes: one that finds no end is given up, and its connector says so, while all others go on.
//!
//! Numbers keep the digits that they were written with until somebody calculates with them; then they are floats, as in jq.

mod program;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc as replies;

use program::Program;

/// Longest expression.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// How long an expression may work on one input: the largest answers take a second or two.
pub const TIME_MAX: Duration = Duration::from_secs(20);
/// Most outputs of one input: a page of a provider has some thousands of items.
pub const OUTPUTS_MAX: usize = 200_000;
/// Most bytes of them as JSON: an answer has 64 MiB at the most, and may be taken apart whole.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room for expressions within expressions, and for values within values. Only what is used of it is taken.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// A text that is no expression that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a usable jq expression: {what}")]
pub struct BadFilter {
    /// The text, cut off where it is long.
    pub text: String,
    /// What is wrong with it.
    pub what: String,
}

/// Why an expression gave no output that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JqFault {
    /// It failed by itself.
    #[error("the jq expression {text:?} failed: {what}")]
    Failed {
        /// The expression.
        text: String,
        /// What jq says.
        what: String,
    },
    /// It found no end in time.
    #[error(
        "the jq expression {text:?} was given up after {} s: does it come to an end?", TIME_MAX.as_secs()
    )]
    Slow {
        /// The expression.
        text: String,
    },
    /// It gave too much.
    #[error(
        "the jq expression {text:?} gave more than {OUTPUTS_MAX} outputs or {} MiB for one input",
        OUTPUT_BYTES_MAX / (1024 * 1024)
    )]
    Large {
        /// The expression.
        text: String,
    },
    /// One output was expected.
    #[error("the jq expression {text:?} gave {found} outputs, expected one")]
    NotOne {
        /// The expression.
        text: String,
        /// How many it gave.
        found: usize,
    },
}

/// What one input gave, as JSON texts.
type Texts = Result<Vec<String>, JqFault>;

/// An expression, compiled. Cheap to clone; the thread that runs it ends with its last clone.
#[derive(Clone)]
pub struct Filter {
    inner: Arc<ProgramInner>,
}

struct ProgramInner {
    text: String,
    program: Arc<Program>,
    time_max: Duration,
    /// The site that runs it; `None`: nobody does yet.
    runner: Mutex<Option<mpsc::SyncSender<ProgramWork>>>,
    /// Set while an input that was given up is still worked on.
    is_stuck: Arc<AtomicBool>,
}

struct ProgramWork {
    inputs: VecDeque<String>,
    reply: replies::Sender<Texts>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.inner.text).finish()
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Filter {
    /// Compiles an expression.
    ///
    /// # Errors
    /// It is no jq, is longer than [`TEXT_BYTES_MAX`], defines functions, or uses what expressions do not have here.
    pub fn compile(text: &str) -> Result<Self, BadFilter> {
        Self::compile_for(text, TIME_MAX)
    }

    fn compile_for(text: &str, time_max: Duration) -> Result<Self, BadFilter> {
        let bad = |what: String| BadFilter { text: text.chars().take(200).collect(), what };
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad(format!("{} bytes, expected at most {TEXT_BYTES_MAX}", text.len())));
        }
        let owned = text.to_owned();
        // Deep brackets take the stack that running takes.
        let compiling = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || Program::compile(&owned, time_max))
            .map_err(|error| bad(error.to_string()))?;
        let program = match compiling.join() {
            Ok(program) => Arc::new(program.map_err(bad)?),
            Err(_) => return Err(bad("it cannot be compiled".to_owned())),
        };
        let (text, runner, is_stuck) = (text.to_owned(), Mutex::default(), Arc::default());
        Ok(Self { inner: Arc::new(ProgramInner { text, program, time_max, runner, is_stuck }) })
    }

    /// The expression, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// All outputs for one input.
    ///
    /// # Errors
    /// [`JqFault`].
    pub async fn run(&self, input: Value) -> Result<Vec<Value>, JqFault> {
        match self.run_each(vec![input]).await.pop() {
            Some(outputs) => outputs,
            None => Err(self.slow()),
        }
    }

    /// The one output for one input.
    ///
    /// # Errors
    /// [`JqFault`], also where there are none or several.
    pub async fn run_one(&self, input: Value) -> Result<Value, JqFault> {
        self.one(self.run(input).await?)
    }

    /// The one output.
    ///
    /// # Errors
    /// There are none or several.
    pub fn one<T>(&self, mut outputs: Vec<T>) -> Result<T, JqFault> {
        match (outputs.pop(), outputs.len()) {
            (Some(output), 0) => Ok(output),
            (Some(_), others) => {
                Err(JqFault::NotOne { text: self.shown(), found: others.saturating_add(1) })
            }
            (None, _) => Err(JqFault::NotOne { text: self.shown(), found: 0 }),
        }
    }

    /// All outputs for each of several inputs, in their order.
    pub async fn run_each(&self, inputs: Vec<Value>) -> Vec<Result<Vec<Value>, JqFault>> {
        let texts = inputs.iter().map(Value::to_string).collect();
        let parsed = |outputs: Texts| outputs?.iter().map(|output| self.parsed(output)).collect();
        self.run_texts(texts).await.into_iter().map(parsed).collect()
    }

    /// All outputs for each of several inputs, from JSON texts to JSON texts: numbers come out digit by digit and letter by
    /// letter as they went in, `1e3` as `1e3`.
    pub async fn run_texts(&self, inputs: Vec<String>) -> Vec<Result<Vec<String>, JqFault>> {
        let count = inputs.len();
        let mut results = Vec::with_capacity(count);
        // As many replies as inputs: the thread never waits for the one who asks.
        let (reply, mut replies) = replies::channel(count.max(1));
        let is_taken = !self.inner.is_stuck.load(Ordering::Acquire)
            && self.hand_over(ProgramWork { inputs: inputs.into(), reply });
        while is_taken && results.len() < count {
            match tokio::time::timeout(self.inner.time_max, replies.recv()).await {
                Ok(Some(outputs)) => results.push(outputs),
                Ok(None) => break,
                Err(_) => {
                    self.inner.is_stuck.store(true, Ordering::Release);
                    break;
                }
            }
        }
        results.resize_with(count, || Err(self.slow()));
        results
    }

    /// Gives work to the thread, which is started if there is none.
    fn hand_over(&self, work: ProgramWork) -> bool {
        let mut runner = self.inner.runner.lock().unwrap_or_else(PoisonError::into_inner);
        let work = match &*runner {
            Some(running) => match running.try_send(work) {
                Ok(()) => return true,
                Err(mpsc::TrySendError::Full(_)) => return false,
                Err(mpsc::TrySendError::Disconnected(work)) => work,
            },
            None => work,
        };
        let (sender, works) = mpsc::sync_channel(WAITING_MAX);
        let (program, is_stuck) =
            (Arc::clone(&self.inner.program), Arc::clone(&self.inner.is_stuck));
        let text = self.shown();
        let run = move || run_all(&program, &text, &works, &is_stuck);
        let started =
            thread::Builder::new().name("jq".to_owned()).stack_size(STACK_BYTES).spawn(run);
        let is_taken = started.is_ok() && sender.try_send(work).is_ok();
        *runner = Some(sender);
        is_taken
    }

    /// An output as a value.
    fn parsed(&self, output: &str) -> Result<Value, JqFault> {
        let failed = |error: serde_json::Error| JqFault::Failed {
            text: self.shown(),
            what: error.to_string(),
        };
        serde_json::from_str(output).map_err(failed)
    }

    fn slow(&self) -> JqFault {
        JqFault::Slow { text: self.shown() }
    }

    fn shown(&self) -> String {
        self.inner.text.chars().take(200).collect()
    }
}

/// Tasks that may wait for one expression; each is a group or a page at work.
const WAITING_MAX: usize = 256;

/// Works until nobody holds the expression any more.
fn run_all(
    program: &Program,
    text: &str,
    works: &mpsc::Receiver<ProgramWork>,
    is_stuck: &AtomicBool,
) {
    while let Ok(ProgramWork { mut inputs, reply }) = works.recv() {
        while let Some(input) = inputs.pop_front() {
            let outputs = program.run(text, &input);
            if reply.try_send(outputs).is_err() {
                break;
            }
        }
        is_stuck.store(false, Ordering::Release);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
