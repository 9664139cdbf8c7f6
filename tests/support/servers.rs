//! A PostgreSQL and a RabbitMQ of a test's own, to be set up as it needs them, killed and started again. `tests/run` has
//! installed them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::DEADLINE;

/// Below the ports that the kernel gives to outgoing connections, or one of those could take it between two starts.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("there is an id command");
    id.stdout.trim_ascii() == b"0"
}

/// Servers refuse to be root.
fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups", "--"]).arg(program);
    command
}

fn give_to(user: &str, path: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("-R").arg(format!("{user}:")).arg(path).status();
        assert!(given.is_ok_and(|status| status.success()), "{} can be given to {user}", path.display());
    }
}

fn put(folder: &Path, user: &str, name: &str, content: &[u8]) {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    give_to(user, &path);
}

fn log_of(folder: &Path, name: &str) -> Stdio {
    let file = std::fs::File::options().create(true).append(true).open(folder.join(name));
    file.expect("the log can be written").into()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_millis(500)).is_ok()
}

pub fn signal(process: u32, name: &str) {
    // One that has ended meanwhile is no failure.
    let _ = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).stderr(Stdio::null()).status();
}

pub struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    pub port: u16,
    server: Child,
}

impl Postgres {
    pub fn start(folder: &Path) -> Self {
        let programs = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
        let mut programs: Vec<_> = programs.map(|version| version.unwrap().path().join("bin")).collect();
        programs.sort();
        let programs = programs.pop().expect("PostgreSQL is installed");
        let folder = folder.join("postgres");
        std::fs::create_dir(&folder).unwrap();
        give_to("postgres", &folder);
        let made = as_user("postgres", &programs.join("initdb"))
            .current_dir(&folder)
            .arg(format!("--pgdata={}", folder.join("data").display()))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .stdout(log_of(&folder, "initdb.log"))
            .stderr(log_of(&folder, "initdb.log"))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "initdb failed");
        let port = free_port();
        let server = Self::server(&folder, &programs, port);
        let postgres = Self { folder, programs, port, server };
        postgres.until_up();
        postgres
    }

    fn server(folder: &Path, programs: &Path, port: u16) -> Child {
        as_user("postgres", &programs.join("postgres"))
            .current_dir(folder)
            .arg("-D")
            .arg(folder.join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}"), "-c", "max_connections=200"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.display()))
            .stdin(Stdio::null())
            .stdout(log_of(folder, "server.log"))
            .stderr(log_of(folder, "server.log"))
            .spawn()
            .expect("PostgreSQL starts")
    }

    /// Puts a file into its folder of data, where it may read it and nobody else.
    pub fn put(&self, name: &str, content: &[u8]) {
        put(&self.folder.join("data"), "postgres", name, content);
    }

    /// Adds these lines to its configuration.
    pub fn configure(&self, settings: &str) {
        let file = self.folder.join("data/postgresql.conf");
        let mut config = std::fs::File::options().append(true).open(file).unwrap();
        config.write_all(settings.as_bytes()).unwrap();
        self.reload();
    }

    /// It reads its configuration and its certificate again: for connections that come after that was logged.
    pub fn reload(&self) {
        let reloads = || self.logged().matches("received SIGHUP").count();
        let before = reloads();
        signal(self.server.id(), "HUP");
        until("PostgreSQL reads its configuration again", || reloads() > before);
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn until_up(&self) {
        until("PostgreSQL is up", || {
            let asked = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            asked.is_ok_and(|status| status.success())
        });
    }

    /// As after a power cut: nothing is written any more, and the next start recovers from the log.
    pub fn stop_immediately(&mut self) {
        signal(self.server.id(), "QUIT");
        let _ = self.server.wait();
    }

    pub fn start_again(&mut self) {
        self.server = Self::server(&self.folder, &self.programs, self.port);
        self.until_up();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}

/// How long a message of this broker may be unacknowledged.
pub const CONSUMER_TIMEOUT: Duration = Duration::from_secs(3);

pub struct Rabbit {
    folder: PathBuf,
    pub port: u16,
    node_port: u16,
    mapper_port: u16,
    mapper: Child,
    server: Child,
}

/// Debian keeps its programs there.
const RABBIT_PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

impl Rabbit {
    /// Consumers have [`CONSUMER_TIMEOUT`] to acknowledge.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[], |port| format!("listeners.tcp.1 = 127.0.0.1:{port}\n"))
    }

    /// With these files beside its configuration, and with the lines of it that say where it listens.
    pub fn start_with(folder: &Path, files: &[(&str, &[u8])], listeners: impl FnOnce(u16) -> String) -> Self {
        let folder = folder.join("rabbitmq");
        std::fs::create_dir(&folder).unwrap();
        let (port, node_port, mapper_port) = (free_port(), free_port(), free_port());
        for (name, content) in files {
            put(&folder, "rabbitmq", name, content);
        }
        let mut config = listeners(port);
        writeln!(config, "consumer_timeout = {}", CONSUMER_TIMEOUT.as_millis()).unwrap();
        std::fs::write(folder.join("rabbitmq.conf"), config).unwrap();
        // How often it looks for consumers that take too long.
        std::fs::write(folder.join("advanced.config"), "[{rabbit, [{channel_tick_interval, 1000}]}].\n").unwrap();
        std::fs::write(folder.join("enabled_plugins"), "[].\n").unwrap();
        std::fs::write(folder.join("rabbitmq-env.conf"), "").unwrap();
        give_to("rabbitmq", &folder);
        let mapper = as_user("rabbitmq", Path::new("epmd"))
            .args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("Erlang's port mapper starts");
        until("Erlang's port mapper is up", || is_listening(mapper_port));
        let server = Self::run(&folder, "rabbitmq-server", (port, node_port, mapper_port))
            .stdin(Stdio::null())
            .stdout(log_of(&folder, "server.log"))
            .stderr(log_of(&folder, "server.log"))
            .spawn()
            .expect("RabbitMQ starts");
        let rabbit = Self { folder, port, node_port, mapper_port, mapper, server };
        rabbit.until_up();
        rabbit
    }

    fn run(folder: &Path, program: &str, (port, node_port, mapper_port): (u16, u16, u16)) -> Command {
        let mut command = as_user("rabbitmq", &Path::new(RABBIT_PROGRAMS).join(program));
        command.current_dir(folder).env("HOME", folder);
        for (name, file) in [
            ("CONF_ENV_FILE", "rabbitmq-env.conf"),
            ("CONFIG_FILE", "rabbitmq.conf"),
            ("ADVANCED_CONFIG_FILE", "advanced.config"),
            ("ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("MNESIA_BASE", "mnesia"),
            ("GENERATED_CONFIG_DIR", "config"),
            ("SCHEMA_DIR", "schema"),
            ("LOG_BASE", "log"),
            ("PID_FILE", "pid"),
        ] {
            command.env(format!("RABBITMQ_{name}"), folder.join(file));
        }
        command
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", mapper_port.to_string())
            .env("RABBITMQ_NODENAME", format!("faults-{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", node_port.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            // Makes the script become the server instead of watching over it.
            .env("RUNNING_UNDER_SYSTEMD", "1");
        command
    }

    fn ports(&self) -> (u16, u16, u16) {
        (self.port, self.node_port, self.mapper_port)
    }

    /// Answers whether the server did what it was told.
    pub fn control(&self, arguments: &[&str]) -> bool {
        let told = Self::run(&self.folder, "rabbitmqctl", self.ports())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log_of(&self.folder, "control.log"))
            .stderr(log_of(&self.folder, "control.log"))
            .status();
        told.is_ok_and(|status| status.success())
    }

    /// Puts a file into its folder, where it may read it and nobody else.
    pub fn put(&self, name: &str, content: &[u8]) {
        put(&self.folder, "rabbitmq", name, content);
    }

    /// Where it is, or what stands before it.
    pub fn url(port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    fn until_up(&self) {
        until("RabbitMQ listens", || is_listening(self.port));
        assert!(self.control(&["await_startup", "--timeout", "90"]), "RabbitMQ did not start");
    }

    pub fn kill(&mut self) {
        signal(self.server.id(), "KILL");
        let _ = self.server.wait();
    }

    pub fn start_again(&mut self) {
        self.server = Self::run(&self.folder, "rabbitmq-server", self.ports())
            .stdin(Stdio::null())
            .stdout(log_of(&self.folder, "server.log"))
            .stderr(log_of(&self.folder, "server.log"))
            .spawn()
            .expect("RabbitMQ starts");
        self.until_up();
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
        let _ = self.mapper.kill();
        let _ = self.mapper.wait();
    }
}
