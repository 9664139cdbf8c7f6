//! The terminal or the pipe that a command speaks to.
//!
//! Whatever goes through here is harmless for a terminal; see [`super::plain`]. A reader who has gone away (`| head`)
//! is no error: what is left to say is dropped, and the command ends as its work did.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::plain::{plain, plain_json, plain_lines};
use super::session::CliError;

type Sink = Mutex<Box<dyn Write + Send>>;

/// Asks a question, and answers the line that was typed; empty where nobody typed one.
pub type Ask = dyn Fn(&str) -> io::Result<String> + Send + Sync;

pub struct Screen {
    /// One JSON document is the answer.
    pub json: bool,
    /// Columns of the terminal; `None` where the answer goes into a pipe or a file, and nothing is wrapped.
    pub width: Option<u16>,
    /// Whether a progress bar on standard error would be seen.
    pub shows_progress: bool,
    bars: MultiProgress,
    /// Whether standard output is a terminal.
    is_terminal: bool,
    stdout: Sink,
    stderr: Sink,
    /// `None` where nobody is there to answer.
    ask: Option<Arc<Ask>>,
}

/// Whoever waits longer than this is shown that something is done.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// How often a bar is drawn, or a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Narrower than this, tables are left to the terminal to wrap.
const WIDTH_MIN: u16 = 40;

impl Screen {
    /// Standard output and standard error of this process.
    #[must_use]
    pub fn of_process(json: bool) -> Self {
        let width = io::stdout().is_terminal().then(|| Term::stdout().size_checked()).flatten();
        let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self {
            json,
            width: width.map(|(_, columns)| columns.max(WIDTH_MIN)),
            shows_progress: io::stderr().is_terminal(),
            bars: MultiProgress::new(),
            is_terminal: io::stdout().is_terminal(),
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
            ask: asks.then(|| Arc::new(ask_on_terminal) as Arc<Ask>),
        }
    }

    /// One that speaks to these, for tests.
    #[must_use]
    pub fn of(
        json: bool,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
        ask: Option<Arc<Ask>>,
    ) -> Self {
        Self {
            json,
            width: None,
            shows_progress: false,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            is_terminal: false,
            stdout: Mutex::new(Box::new(stdout)),
            stderr: Mutex::new(Box::new(stderr)),
            ask,
        }
    }

    /// The answer for a person.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        write(&self.stdout, &plain_lines(text))
    }

    /// The answer for a program.
    pub fn print_json<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CliError::Failed(format!("the answer can't be written as JSON: {error}")))?;
        write(&self.stdout, &plain_json(&text))
    }

    /// A part of an answer that comes bit by bit: CSV, or lines. `false` where its reader has gone away, and the rest can
    /// be left undone. A file or a pipe gets it as it is.
    pub fn stream(&self, text: &str) -> Result<bool, CliError> {
        let text = if self.is_terminal { plain_lines(text) } else { text.into() };
        told(put(&self.stdout, &text, ""))
    }

    /// The same, a part of the text of a JSON document.
    pub fn stream_json(&self, text: &str) -> Result<bool, CliError> {
        told(put(&self.stdout, &plain_json(text), ""))
    }

    /// One of several documents, on a line of its own. `false` where its reader has gone away.
    pub fn print_json_line<T: Serialize>(&self, value: &T) -> Result<bool, CliError> {
        let text = serde_json::to_string(value)
            .map_err(|error| CliError::Failed(format!("the answer can't be written as JSON: {error}")))?;
        told(put(&self.stdout, &plain_json(&text), "\n"))
    }

    /// Awaits `work`. A person who waits for long sees that something is done, and what.
    pub async fn patiently<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(SILENCE_MAX) => {}
        }
        let bar = self.spinner();
        bar.set_message(what.to_owned());
        let done = work.await;
        bar.finish_and_clear();
        done
    }

    /// For what comes to an end that nobody knows. Unseen where standard error is no terminal.
    #[must_use]
    pub fn spinner(&self) -> ProgressBar {
        if !self.shows_progress {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
            bar.set_style(style);
        }
        self.with_bar(bar)
    }

    /// Draws a bar, again and again, with notes above it.
    #[must_use]
    pub fn with_bar(&self, bar: ProgressBar) -> ProgressBar {
        let bar = self.bars.add(bar);
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Whether a person sees both what is answered and a progress bar.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.is_terminal && self.shows_progress && !self.json
    }

    /// Something to know beside the answer.
    pub fn note(&self, text: &str) {
        // A bar draws itself again. Nobody could be told that telling does not work.
        let _ = self.bars.clear();
        let _ = write(&self.stderr, &plain_lines(text));
    }

    /// What went wrong, where there is an answer all the same.
    pub fn error(&self, text: &str) {
        self.note(&format!("error: {text}"));
    }

    /// Why there is no answer.
    pub fn fail(&self, error: &CliError) {
        let message = error.to_string();
        self.error(&message);
        if self.json {
            let _ = self.print_json(&json!({"error": {"code": error.code(), "message": message}}));
        }
    }

    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.ask.is_some()
    }

    /// A yes-or-no question. Anything but a yes is a no.
    ///
    /// # Errors
    /// Nobody is there to answer, or the terminal went away.
    pub async fn confirm(&self, question: &str) -> Result<bool, CliError> {
        let answer = self.ask(&format!("{question} [y/N]")).await?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// # Errors
    /// Nobody is there to answer, or the terminal went away.
    pub async fn ask(&self, question: &str) -> Result<String, CliError> {
        let Some(ask) = self.ask.clone() else {
            return Err(CliError::refused("not_confirmed", "nobody is there to confirm; add --yes if it is meant"));
        };
        let question = plain(question).into_owned();
        match tokio::task::spawn_blocking(move || ask(&question)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(CliError::refused("not_confirmed", format!("nothing was done: no answer ({error})"))),
            Err(_) => Err(CliError::Failed("nothing was done: the question could not be asked".into())),
        }
    }
}

/// Reads a line as the terminal edits it: whatever interrupts the question leaves the terminal as it was.
fn ask_on_terminal(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{question} ")?;
    stderr.flush()?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer)? == 0 {
        // Nobody pressed return.
        writeln!(stderr)?;
    }
    Ok(answer)
}

fn write(sink: &Sink, text: &str) -> Result<(), CliError> {
    told(put(sink, text, if text.ends_with('\n') { "" } else { "\n" })).map(|_| ())
}

fn put(sink: &Sink, text: &str, end: &str) -> io::Result<()> {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    sink.write_all(text.as_bytes())?;
    sink.write_all(end.as_bytes())?;
    sink.flush()
}

/// Whether there is still a reader.
fn told(written: io::Result<()>) -> Result<bool, CliError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Failed(format!("the answer can't be written: {error}"))),
    }
}
