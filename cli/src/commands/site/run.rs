//! `run`: the node, until it is stopped.

use std::sync::Arc;

use branchline_node::storage::OpenError;
use branchline_node::storage::folder::{FOLDER_PATIENCE, FOLDER_PAUSE, FolderError};
use branchline_node::{Config, Extension, LogFormat, Node, Overrides, Settings, StartError};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};
use tracing::info;
use tracing_subscriber::{EnvFilter, reload};

use crate::args::{Global, RunArgs};
use crate::error::CliError;
use crate::extensions::extensions;
use crate::log_filter::log_filter;
use crate::output;
use crate::visible::LogLines;

/// Runs the node until SIGTERM or Ctrl-C. SIGHUP lets it read its configuration again.
pub(crate) async fn run(global: &Global, args: RunArgs) -> Result<(), CliError> {
    let overrides = Overrides {
        listen: args.listen,
        external: args.external,
        peers: args.peer,
        mdns: args.no_mdns.then_some(false),
        api: args.api,
        log: args.log,
        log_format: args.log_format,
    };
    let extensions = extensions();
    let config = Config::load_with(&global.data, args.config.as_deref(), overrides, &extensions)?;
    let settings = config.settings.clone();
    let set_log = log(&settings)?;
    let mut stop = StopSignals::new()?;
    let mut reload = listen(SignalKind::hangup())?;
    let node = tokio::select! {
        node = start(config, &extensions, &set_log) => node.map_err(|error| CliError::of_start(error, &global.data))?,
        () = stop.wait() => return Ok(()),
    };
    let result = match tell_ready(global, &settings, &node).await {
        Ok(()) => tokio::select! {
            () = stop.wait() => Ok(()),
            () = reload_when_told(&node, &mut reload) => Ok(()),
            reason = node.failed() => Err(CliError::failed(format!("the node has failed: {reason}"))
                .hint("nothing acknowledged is lost: fix the cause and start the node again; it will rebuild its tables")),
        },
        Err(error) => Err(error),
    };
    tokio::select! {
        () = node.shutdown() => {}
        // Who asks twice is in a hurry. What was acknowledged is safe.
        () = stop.wait() => return Err(CliError::failed("stopped before everything was closed")),
    }
    result
}

/// Starts the node; a command that is just using the data folder is waited for.
async fn start(
    config: Config,
    extensions: &[Arc<dyn Extension>],
    set_log: &SetLog,
) -> Result<Node, StartError> {
    let deadline = Instant::now() + FOLDER_PATIENCE;
    // A command that has just taken the folder over from a node may not have said so yet.
    let (mut was_node, mut has_told) = (false, false);
    loop {
        let set_log = Arc::clone(set_log);
        let builder = Node::builder(config.clone())
            .with_all(extensions.iter().cloned())
            .with_log_filter(move |setting| set_log(setting));
        match builder.start().await {
            Err(StartError::Open(OpenError::Folder(FolderError::Locked {
                is_node,
                process,
                ..
            }))) if Instant::now() < deadline && !(is_node && was_node) => {
                if !has_told {
                    info!(process, "a command has the data folder open, the start waits for it");
                    has_told = true;
                }
                was_node = is_node;
                sleep(FOLDER_PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn tell_ready(global: &Global, settings: &Settings, node: &Node) -> Result<(), CliError> {
    let handle = node.handle();
    let status =
        handle.replica_status().await.map_err(|error| CliError::failed(error.to_string()))?;
    let listening: Vec<_> = handle.listening().iter().map(ToString::to_string).collect();
    let api = node.api_address().map(|api| format!("http://{api}")).unwrap_or_default();
    let (site, name) = (node.site().to_string(), status.name);
    if settings.log_format == LogFormat::Json {
        let ready =
            json!({ "ready": { "site": site, "name": name, "api": api, "listening": listening } });
        output::note(ready);
        return Ok(());
    }
    let at = if listening.is_empty() {
        "listening nowhere".to_owned()
    } else {
        format!("listening on {}", listening.join(" "))
    };
    output::note(format_args!("ready: site {name} ({site}), API {api}, {at}"));
    if status.network.is_none() {
        output::note(format_args!(
            "this site does not belong to a network yet: `branchline --data {} join FILE`",
            global.data.display()
        ));
    }
    Ok(())
}

fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::failed(format!("cannot listen for signals: {error}")))
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, CliError> {
        let terminate = listen(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Changes what is logged, by the setting of the configuration.
type SetLog = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

fn log(settings: &Settings) -> Result<SetLog, CliError> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(log_filter(&settings.log)?)
        .with_writer(|| LogLines)
        .with_ansi(false);
    Ok(match settings.log_format {
        LogFormat::Text => {
            let lines = lines.with_filter_reloading();
            let filter = lines.reload_handle();
            lines.init();
            setter(filter)
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let filter = lines.reload_handle();
            lines.init();
            setter(filter)
        }
    })
}

fn setter<S: 'static>(in_use: reload::Handle<EnvFilter, S>) -> SetLog {
    Arc::new(move |setting| {
        let filter = log_filter(setting).map_err(|error| error.message())?;
        in_use.reload(filter).map_err(|error| error.to_string())
    })
}

/// Reads the configuration again at each SIGHUP; what comes of it is logged.
async fn reload_when_told(node: &Node, hangup: &mut Signal) {
    let handle = node.handle();
    while hangup.recv().await.is_some() {
        let _ = handle.reload().await;
    }
}

/// For commands that open a stopped site: what its storage found amiss.
pub(crate) fn log_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(|| LogLines)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
}
