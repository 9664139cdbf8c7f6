//! The program itself, run as its users run it: its own process, its environment, its exit code.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Request;
use crate::support::database::PROBE_TOKEN;

/// Nothing that a test waits for takes longer than this, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One installation: a folder, a database and a queue, and commands that run there.
#[derive(Clone)]
pub struct Program {
    folder: PathBuf,
    database: String,
    queue: String,
    config: Option<PathBuf>,
    token: Option<String>,
    is_traced: bool,
    variables: Vec<(&'static str, String)>,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Checks the exit code, and shows everything where it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

impl Program {
    pub fn new(folder: &Path, database: impl Into<String>, queue: impl Into<String>) -> Self {
        Self {
            folder: folder.to_owned(),
            database: database.into(),
            queue: queue.into(),
            config: None,
            token: None,
            is_traced: false,
            variables: Vec::new(),
        }
    }

    /// The same with a configuration file.
    pub fn configured(mut self, toml: &str) -> Self {
        self.config = Some(self.write("disconnectd.toml", toml));
        self
    }

    /// The same with a token in its environment.
    pub fn bearing(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same; it logs everything that there is to be logged.
    pub fn traced(self) -> Self {
        Self { is_traced: true, ..self }
    }

    /// The same with this in its environment.
    pub fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((variable, value.into()));
        self
    }

    /// Writes a file into the folder, where the commands run.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).expect("the temporary folder can be written");
        path
    }

    /// A command that is ready to be started, for what needs more than [`Program::run`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disconnectd"));
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| name == "PATH" || name == "HOME" || name == "USER"))
            .env("DISCONNECTD_DATABASE_URL", &self.database)
            .env("DISCONNECTD_QUEUE_URL", &self.queue)
            .env("DISCONNECTD_HTTP_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null());
        if let Some(token) = &self.token {
            command.env("DISCONNECTD_TOKEN", token);
        }
        if self.is_traced {
            command.env("RUST_LOG", "trace");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with_input(arguments, "")
    }

    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Answer {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            // A command that does not read it closes the pipe.
            let _ = stdin.write_all(input.as_bytes());
        });
        let output = child.wait_with_output().expect("the program ends");
        writer.join().expect("the input was written");
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that has to answer JSON and to exit with 0.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).exits(0).json()
    }

    /// Starts `serve`, and returns once it says where it listens.
    #[track_caller]
    pub fn serve(&self, arguments: &[&str]) -> Served {
        let mut child = self
            .command(&[&["serve"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let so_far = Arc::new(Mutex::new(String::new()));
        let log = std::thread::spawn({
            let so_far = Arc::clone(&so_far);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    so_far.lock().unwrap_or_else(PoisonError::into_inner).push_str(&(line + "\n"));
                }
            }
        });
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output can be read");
        let Some(address) = line.trim().strip_prefix("listening on http://").and_then(|a| a.parse().ok()) else {
            let _ = child.wait();
            let _ = log.join();
            panic!("serve did not start; it said `{line}` and {}", so_far.lock().unwrap());
        };
        Served { child, address, log: Some(log), so_far }
    }
}

/// A process that serves. Killed when dropped.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
    /// Reads to the end.
    log: Option<std::thread::JoinHandle<()>>,
    so_far: Arc<Mutex<String>>,
}

impl Served {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "the process is there to be signalled");
    }

    /// Waits for the end. Answers the exit code (`None` where a signal ended it) and everything that was logged.
    #[track_caller]
    pub fn ended(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                let _ = self.log.take().map(std::thread::JoinHandle::join);
                return (status.code(), self.logged());
            }
            assert!(begun.elapsed() < DEADLINE, "the process did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn logged(&self) -> String {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has logged these words.
    #[track_caller]
    pub fn until_logged(&self, words: &str) {
        let begun = Instant::now();
        while !self.logged().contains(words) {
            assert!(begun.elapsed() < DEADLINE, "it did not log `{words}`: {}", self.logged());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A request to it, with the token that [`TestDatabase::probe_token`] makes.
    ///
    /// [`TestDatabase::probe_token`]: crate::support::database::TestDatabase::probe_token
    pub fn request(&self, method: &str, path: &str) -> Request {
        self.bare_request(method, path).token(PROBE_TOKEN)
    }

    /// A request without any token.
    pub fn bare_request(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    /// Asks over HTTP. Answers the status and the body.
    pub fn ask(&self, path: &str) -> std::io::Result<(u16, String)> {
        self.request("GET", path).try_answer().map(|answer| (answer.status, answer.text()))
    }

    /// Waits until `/readyz` says that the process is stopping.
    #[track_caller]
    pub fn until_stopping(&self) {
        let begun = Instant::now();
        while !self.ask("/readyz").is_ok_and(|(_, body)| body.contains("\"stopping\":true")) {
            assert!(begun.elapsed() < DEADLINE, "the process did not say that it is stopping");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `/readyz` answers with this status.
    #[track_caller]
    pub fn until_ready_is(&self, wanted: u16) -> String {
        let begun = Instant::now();
        loop {
            if let Ok((status, body)) = self.ask("/readyz")
                && status == wanted
            {
                return body;
            }
            assert!(begun.elapsed() < DEADLINE, "/readyz did not answer {wanted}: {:?}", self.ask("/readyz"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
