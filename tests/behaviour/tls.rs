//! TLS to PostgreSQL and RabbitMQ, with a CA of the user's own: who can prove nothing is told nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::program::{Answer, Program};
use crate::support::certificates::{Authority, Certificate};
use crate::support::database::TestDatabase;
use crate::support::servers::{Postgres, Rabbit};

/// What is refused is refused at once, and no command tries for ever.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Takes nobody without TLS.
const ONLY_TLS: &str = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";

struct Rig {
    folder: PathBuf,
    ours: Authority,
    postgres: Postgres,
    rabbit: Rabbit,
}

impl Rig {
    /// Servers whose certificates say `localhost`.
    fn start() -> Self {
        // The servers' users pass through the folders above it.
        let base = std::env::var_os("DISCONNECTD_TEST_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = base.join(format!("tls-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let ours = Authority::new(&folder, "our-ca");
        let Certificate { certificate, key } = ours.issue("DNS:localhost");
        let (postgres, rabbit) = std::thread::scope(|scope| {
            let postgres = scope.spawn(|| {
                let postgres = Postgres::start(&folder);
                postgres.put("server.pem", &certificate);
                postgres.put("server.key", &key);
                postgres.put("pg_hba.conf", ONLY_TLS.as_bytes());
                postgres.configure("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n");
                postgres
            });
            let at = folder.join("rabbitmq").display().to_string();
            let rabbit = Rabbit::start_with(&folder, &[("server.pem", &certificate), ("server.key", &key)], |port| {
                format!(
                    "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\nssl_options.verify = verify_none\n\
                     ssl_options.certfile = {at}/server.pem\nssl_options.keyfile = {at}/server.key\n"
                )
            });
            (postgres.join().unwrap(), rabbit)
        });
        Self { folder, ours, postgres, rabbit }
    }

    fn take(&self, Certificate { certificate, key }: &Certificate) {
        self.postgres.put("server.pem", certificate);
        self.postgres.put("server.key", key);
        self.postgres.reload();
        self.rabbit.put("server.pem", certificate);
        self.rabbit.put("server.key", key);
        assert!(self.rabbit.control(&["eval", "ssl:clear_pem_cache()."]));
    }

    fn database(&self, host: &str, authority: &Path) -> String {
        let (port, authority) = (self.postgres.port, authority.display());
        format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={authority}")
    }

    fn queue(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://guest:guest@{host}:{}/%2f", self.rabbit.port)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// It fails, soon, and with these words.
#[track_caller]
fn refused(program: &Program, arguments: &[&str], words: &str) -> Answer {
    let begun = Instant::now();
    let answer = program.run(arguments).exits(1);
    let said = format!("{}{}", answer.stdout, answer.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(words), "{arguments:?} should say `{words}`: {said}");
    assert!(begun.elapsed() < AT_ONCE, "{arguments:?} took {:?}", begun.elapsed());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_trusted_for_their_certificates_alone() {
    let rig = block_in_place(Rig::start);
    let ca = rig.ours.file();
    TestDatabase::run_on_server(rig.database("localhost", &ca), async |db: &TestDatabase| {
        let path = url::Url::parse(&db.url()).unwrap().path().to_owned();
        let database = |host: &str, ca: &Path| rig.database(host, ca).replace("/postgres?", &format!("{path}?"));
        let configured = |name: &str, database: &str, queue: &str, ca: Option<&Path>| {
            let folder = db.folder().join(name);
            std::fs::create_dir(&folder).unwrap();
            let program = Program::new(&folder, database, queue);
            match ca {
                Some(ca) => program.configured(&format!("[queue]\nca_file = \"{}\"\n", ca.display())),
                None => program,
            }
        };
        let (good_database, good_queue) = (database("localhost", &ca), rig.queue("amqps", "localhost"));
        let plain_database = good_database.split('?').next().unwrap();
        block_in_place(|| {
            let good = configured("good", &good_database, &good_queue, Some(&ca));
            disconnects(&good);

            let misnamed = "the server's certificate is for localhost, not for 127.0.0.1: name the server in the URL";
            let unknown = "is not from a CA that is trusted here";
            let other = Authority::new(&rig.folder, "other-ca").file();
            for (name, url, words) in [
                ("database-misnamed", database("127.0.0.1", &ca), misnamed),
                ("database-unknown", database("localhost", &other), unknown),
                ("database-plain", format!("{plain_database}?sslmode=disable"), "so write ?sslmode=verify-full"),
            ] {
                database_refused(&configured(name, &url, &good_queue, Some(&ca)), words);
            }
            let not_found = "RabbitMQ at localhost";
            std::thread::scope(|scope| {
                for (name, queue, ca, words) in [
                    ("queue-misnamed", rig.queue("amqps", "127.0.0.1"), Some(&ca), misnamed),
                    ("queue-unknown", good_queue.clone(), Some(&other), unknown),
                    // The machine's own do not know it either.
                    ("queue-unnamed", good_queue.clone(), None, not_found),
                    ("queue-plain", rig.queue("amqp", "localhost"), None, "amqps://"),
                ] {
                    let program = configured(name, &good_database, &queue, ca.map(PathBuf::as_path));
                    scope.spawn(move || queue_refused(&program, words));
                }
            });

            let expired = "or one of those above it, expired at 20";
            rig.take(&rig.ours.issue_expired("DNS:localhost"));
            database_refused(&good, expired);
            // So that the queue is what is in the way, the database is not asked who it is.
            let unasked = format!("{plain_database}?sslmode=require");
            queue_refused(&configured("queue-expired", &unasked, &good_queue, Some(&ca)), expired);
            rig.take(&rig.ours.issue("DNS:localhost"));
            good.run(&["accounts", "list"]).exits(0);
        });
    })
    .await;
}

/// From one end to the other: a disconnect that was asked for runs through the queue.
fn disconnects(program: &Program) {
    program.run(&["migrate"]).exits(0);
    program.write("accounts.csv", super::ACCOUNTS);
    program.run(&["import", "accounts", "accounts.csv"]).exits(0);
    let served = program.serve(&[]);
    served.until_logged("serving");
    let done = program.run(&["disconnect", "1003", "--yes"]).exits(0);
    assert!(done.stdout.contains("1003"), "{done:#?}");
    let found = program.run(&["doctor"]).exits(0);
    for words in ["PostgreSQL, whose certificate is checked", "RabbitMQ, whose certificate is checked", "messages wait"]
    {
        assert!(found.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{found:#?}");
    }
    served.signal("TERM");
    assert_eq!(served.ended().0, Some(0));
}

/// By a command, soon; and a process that serves ends with it.
fn database_refused(program: &Program, words: &str) {
    refused(program, &["accounts", "list"], words);
    let (code, log) = program.serve(&[]).ended();
    assert!(code == Some(1) && log.contains(words), "serve should say `{words}`: {code:?} {log}");
}

/// By the commands that ask the broker; and a process that serves says it, and goes on trying.
fn queue_refused(program: &Program, words: &str) {
    // The commands give it some seconds each to come back.
    std::thread::scope(|scope| {
        scope.spawn(|| refused(program, &["doctor"], words));
        scope.spawn(|| refused(program, &["queue", "dead", "list"], words));
        let served = program.serve(&[]);
        served.until_logged("RabbitMQ is away; trying again until it is back");
        served.until_logged(words);
    });
}
