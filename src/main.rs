//! The command line: picks the engines, starts what is named, nothing else.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use disconnectd::cli::{self, Cli, CliError, Command, DemoArgs, Exit, Screen, ServeArgs, Session, Verb};
use disconnectd::clock::Clock;
use disconnectd::config::{Config, ConfigError, DatabaseUrl, Environment, LogConfig};
use disconnectd::demo::{self, Demo, DemoError};
use disconnectd::domain::trace::TraceParent;
use disconnectd::domain::user::{LINK_MAX, SignInSecret};
use disconnectd::serve::{Roles, ServeError, Server};
use disconnectd::shutdown::Shutdown;
use disconnectd::store::sqlite::Patience;
use disconnectd::store::{Installation, Store};
use disconnectd::traces::{self, Traces};
use disconnectd::{console, doctor, engines, telemetry};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the program can't start its threads: {error}");
            return Exit::Failed.into();
        }
    };
    // Behind `dyn`: else all of it is in the program once for each way in which the runtime may poll it.
    let work: Pin<Box<dyn Future<Output = Exit>>> = Box::pin(run(cli));
    let exit = runtime.block_on(work);
    // A question or a file that is still being read holds a thread; it must not hold up the end.
    runtime.shutdown_background();
    exit.into()
}

async fn run(cli: Cli) -> Exit {
    let screen = Arc::new(Screen::of_process(cli.json));
    let config = match Environment::read().and_then(|environment| Config::load(cli.config.as_deref(), &environment)) {
        Ok(config) => config,
        Err(error) => {
            let error = match error {
                ConfigError::Unfit { .. } | ConfigError::Invalid { in_file: false, .. } => {
                    CliError::Usage(error.to_string())
                }
                _ => CliError::Failed(error.to_string()),
            };
            screen.fail(&error);
            return error.exit();
        }
    };
    let done = match cli.command {
        Command::Demo(args) => demo(demo::configuration(config), args, &screen).await,
        Command::Serve(args) => serve(config, args, None, &screen).await,
        Command::Migrate(_) => migrate(&config, &screen).await,
        Command::Verb(verb) => return command(&config, verb, &screen).await,
    };
    done.unwrap_or_else(|error| {
        screen.fail(&error);
        error.exit()
    })
}

async fn command(config: &Config, verb: Verb, screen: &Arc<Screen>) -> Exit {
    // What a command itself logs belongs to its answer; these are for someone who asks for more.
    let logs = LogConfig { json: false, filter: "off".into() };
    let begun = telemetry::init_logs(&logs).map_err(CliError::Usage);
    let begun = begun.map(|()| match verb.asks_for_a_disconnect() {
        // That they can't be sent is for `serve` to say, and no reason not to do what is asked.
        Some(name) => (Traces::start(config).unwrap_or_default(), traces::Span::of_command(name)),
        None => (None, traces::Span::NONE),
    });
    let (traces, measured) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            screen.fail(&error);
            return error.exit();
        }
    };
    let exit = match session(config, &verb, measured.context(), screen).await {
        Ok(session) => cli::run(verb, &session).await,
        Err(error) => {
            screen.fail(&error);
            error.exit()
        }
    };
    drop(measured);
    if let Some(traces) = traces {
        traces.end().await;
    }
    exit
}

async fn session(
    config: &Config,
    verb: &Verb,
    trace: Option<TraceParent>,
    screen: &Arc<Screen>,
) -> Result<Session, CliError> {
    let store = open_store(config, screen, patience(screen)).await?;
    // The doctor says itself what is wrong with the schema.
    if !matches!(verb, Verb::Doctor(_)) || matches!(config.database, DatabaseUrl::Sqlite(_)) {
        engines::prepare(config, &*store).await?;
    }
    let actor = cli::owner::actor(&*store, config.token.as_ref(), verb).await?;
    Ok(Session {
        run_own: Arc::new(cli::own_event::OwnEvent::new(store.clone(), config)),
        console_url: config.console_url(config.http_listen),
        probes: doctor::probes::all(config, &store),
        queue: {
            let config = config.clone();
            Arc::new(move |installation: &Installation| engines::open_queue(&config, installation))
        },
        store,
        screen: Arc::clone(screen),
        actor,
        trace,
        failures_max: config.failures_max,
    })
}

async fn open_store(config: &Config, screen: &Screen, patience: Patience) -> Result<Arc<dyn Store>, CliError> {
    Ok(engines::open_store(config, Clock::system(), |note| screen.note(note), patience).await?)
}

/// Of somebody at a screen.
fn patience(screen: &Arc<Screen>) -> Patience {
    let screen = Arc::clone(screen);
    Patience::of_a_command(move |note| screen.note(note))
}

async fn migrate(config: &Config, screen: &Arc<Screen>) -> Result<Exit, CliError> {
    let store = open_store(config, screen, patience(screen)).await?;
    let applied = store.migrate().await?;
    if screen.json {
        screen.print_json(&json!({ "applied": applied }))?;
    } else {
        screen.print(&match applied {
            0 => "the database's schema is up to date already".to_owned(),
            applied => format!("the database's schema is up to date now; migrations applied: {applied}"),
        })?;
    }
    Ok(Exit::Done)
}

/// With `sign_in`, what signs somebody in to the console is told with where it is.
async fn serve(
    config: Config,
    args: ServeArgs,
    sign_in: Option<SignInSecret>,
    screen: &Screen,
) -> Result<Exit, CliError> {
    let roles = Roles::of(&args.roles, &config.queue).map_err(CliError::Usage)?;
    telemetry::init_logs(&config.log).map_err(CliError::Usage)?;
    let metrics = telemetry::init_metrics().map_err(CliError::Failed)?;
    let traces = Traces::start(&config).map_err(CliError::Failed)?;
    let served = serve_until_stopped(config, roles, metrics, sign_in, screen).await;
    // Whatever it came to.
    if let Some(traces) = traces {
        traces.end().await;
    }
    served
}

async fn serve_until_stopped(
    config: Config,
    roles: Roles,
    metrics: PrometheusHandle,
    sign_in: Option<SignInSecret>,
    screen: &Screen,
) -> Result<Exit, CliError> {
    let stop =
        Shutdown::on_signals().map_err(|error| CliError::Failed(format!("signals can't be followed: {error}")))?;
    let patience = Patience::of_a_server(|note| tracing::info!("{note}"), stop.clone());
    let store = open_store(&config, screen, patience).await?;
    let server = Server { store, config, clock: Clock::system(), roles, metrics, stop };
    let console_config = server.config.clone();
    let announce = |address| {
        let console = sign_in.map(|secret| console::sign_in_link(&console_config.console_url(address), &secret));
        // Nobody who reads it is no reason not to serve.
        let _ = if screen.json {
            screen.print_json(&json!({ "listening": format!("http://{address}"), "console": console }))
        } else {
            let console = console.map(|url| {
                format!("\nthe console, for this once and within {} minutes: {url}", LINK_MAX.as_secs() / 60)
            });
            screen.print(&format!("listening on http://{address}{}", console.unwrap_or_default()))
        };
    };
    server.run(announce).await.map_err(|error| match error {
        ServeError::Store(error) => error.into(),
        error @ (ServeError::Listen { .. } | ServeError::Answers(_) | ServeError::Http(_) | ServeError::Work(_)) => {
            CliError::Failed(error.to_string())
        }
    })?;
    Ok(Exit::Done)
}

async fn demo(config: Config, args: DemoArgs, screen: &Arc<Screen>) -> Result<Exit, CliError> {
    let quiet = LogConfig { json: false, filter: "warn,lapin=off,sqlx=off".into() };
    telemetry::init_logs(&quiet).map_err(CliError::Usage)?;
    let store = open_store(&config, screen, patience(screen)).await?;
    let tell = |line: &str| {
        if !screen.json {
            // A reader who has gone away misses it, no more.
            let _ = screen.print(line);
        }
    };
    let demo = Demo { config: &config, store: store.clone(), clock: Clock::system(), tell: &tell };
    let failed = |error| match error {
        DemoError::Store(error) => error.into(),
        error => CliError::Failed(error.to_string()),
    };
    let (user, program) = (cli::system_user().name, std::env::args().next().unwrap_or_else(|| "disconnectd".into()));
    let exit = if args.load {
        let loaded = demo.load_alone(&user).await.map_err(failed)?;
        if screen.json {
            screen.print_json(&loaded)?;
        } else {
            screen.print(&loaded.next_commands(&program, !config.database_is_given))?;
        }
        Exit::Done
    } else {
        let summary = demo.run(&user).await.map_err(failed)?;
        if screen.json {
            screen.print_json(&summary)?;
        } else {
            screen.print(&summary.to_string())?;
            screen.print(&summary.next_commands(&program, !config.database_is_given))?;
        }
        if summary.failed == 0 { Exit::Done } else { Exit::Failed }
    };
    let sign_in =
        if args.serve && exit == Exit::Done { Some(demo.sign_in(&user).await.map_err(failed)?) } else { None };
    store.close().await;
    if sign_in.is_some() {
        return serve(config, ServeArgs { roles: Vec::new() }, sign_in, screen).await;
    }
    Ok(exit)
}
