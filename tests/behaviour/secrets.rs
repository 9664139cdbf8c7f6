//! What is secret is told to nobody: not in answers, errors and logs, however much is asked for, nor in the list of
//! processes; and it can be given by files.

use disconnectd::domain::token::Role;

use super::amqp_url;
use crate::program::Program;
use crate::support::database::{Engine, TestDatabase};

/// As they are written in URLs, and as they are sent.
const DATABASE_PASSWORD: &str = "sesame-of-the-database";
const QUEUE_PASSWORD: &str = "sesame-of-the-queue";
const TOKEN: &str = "dct_sesame-of-ada";
const CONSOLE_PASSWORD: &str = "sesame of the console";

/// None of them, however it is written.
const SESAME: &str = "sesame";

/// The same URL with somebody's name and password.
fn of_user(url: &str, user: &str, password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

/// In text, in hexadecimal and in the lists of bytes that `{:?}` makes.
#[track_caller]
fn holds_none(what: &str, text: &str) {
    let bytes: Vec<_> = SESAME.bytes().map(|byte| byte.to_string()).collect();
    let hexadecimal = "736573616d65".to_owned();
    let flat: String = text.split_whitespace().collect();
    for written in [SESAME.to_owned(), bytes.join(","), hexadecimal] {
        let found = flat.find(&written);
        let around = found.map(|at| flat[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect());
        assert_eq!(around, None::<String>, "{what} tells a secret behind this");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_nothing_that_is_printed() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.known_token("ada", Role::Admin, TOKEN).await;
        // The server takes whatever password this user brings; that of the queue is wrong.
        let database = of_user(&db.url(), "postgres", DATABASE_PASSWORD);
        let queue = of_user(&amqp_url(), "guest", QUEUE_PASSWORD);
        let program = Program::new(db.folder(), &database, &queue);
        let commands: [&[&str]; 12] = [
            &["--help"],
            &["doctor"],
            &["--json", "doctor"],
            &["accounts", "list"],
            &["accounts", "show", "nobody"],
            &["settings", "show"],
            &["migrate"],
            &["import", "accounts", "missing.csv"],
            &["disconnect", "nobody", "--yes"],
            &["queue", "dead", "list"],
            &["users", "create", "--name", "ada", "--role", "viewer", "--password-file", "-"],
            &["serve", "--roles", "worker"],
        ];
        // Servers that are not there, and URLs that are wrong.
        let wrong = [
            ("postgres://ada:sesame@127.0.0.1:1/x", queue.as_str()),
            ("postgres://ada:sesame@127.0.0.1:x/x", queue.as_str()),
            ("postgres://ada:sesame@127.0.0.1/x?sslmode=maybe", queue.as_str()),
            ("postgres://ada:sesame@127.0.0.1/x?sslmod=sesame", queue.as_str()),
            ("postgres://ada:1?sesame@127.0.0.1/x", queue.as_str()),
            (&database, "amqp://guest:sesame@127.0.0.1:1"),
            (&database, "amqp://guest:sesame@127.0.0.1:x"),
            (&database, "http://guest:sesame@127.0.0.1"),
        ];
        // Most of them wait for a server, and not for each other.
        std::thread::scope(|scope| {
            for arguments in commands {
                let bearing = program.bearing(TOKEN);
                scope.spawn(move || {
                    let said = traced(&bearing, arguments, CONSOLE_PASSWORD);
                    assert!(!said.is_empty(), "{arguments:?} says something");
                    holds_none(&format!("{arguments:?}"), &said);
                });
            }
            scope.spawn(|| {
                let said = traced(&program.bearing("dct_sesame-of-nobody"), &["accounts", "list"], "");
                assert!(said.contains("none of this database's"), "{said}");
                holds_none("an unknown token", &said);
            });
            for (database, queue) in wrong {
                let program = Program::new(db.folder(), database, queue);
                scope.spawn(move || holds_none(database, &traced(&program, &["doctor"], "")));
            }
        });
    })
    .await;
}

/// The server's refusal of a password, and a process that goes on: its log, its answers, and what the machine shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_serves_keeps_its_secrets() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.probe_token().await;
        let database = of_user(&db.url(), "postgres", DATABASE_PASSWORD);
        // This one is right, so that everything is sent that there is.
        let program = Program::new(db.folder(), &database, amqp_url()).traced().bearing(TOKEN);
        let served = program.serve(&[]);
        served.until_ready_is(200);
        for path in ["/api/v1/accounts", "/api/v1/doctor", "/metrics", "/nowhere"] {
            let answer = served.bare_request("GET", path).token(TOKEN).answer();
            holds_none(path, &answer.text());
        }
        let signing_in = served.bare_request("POST", "/sign-in").body(
            "application/x-www-form-urlencoded",
            format!("name=ada&password={}", CONSOLE_PASSWORD.replace(' ', "+")),
        );
        holds_none("/sign-in", &signing_in.answer().text());
        served.bare_request("GET", "/sign-in/link?secret=sesame-of-a-link").answer();
        served.bare_request("GET", "/accounts").header("Cookie", "disconnectd_session=sesame-of-a-session").answer();
        served.bare_request("GET", "/readyz").header("Authorization", "Basic YWRhOmRjdF9zZXNhbWU=").answer();
        let shown = std::fs::read_to_string(format!("/proc/{}/cmdline", served.id())).unwrap();
        assert!(shown.contains("serve"));
        holds_none("the list of processes", &shown);
        served.signal("TERM");
        let (code, log) = served.ended();
        assert_eq!(code, Some(0));
        assert!(log.contains("DEBUG"), "everything was asked for");
        holds_none("the log", &log);
        // The broker's password is `guest`, and so is its user; sent together they are this.
        for sent in ["\\0guest\\0guest", "0,103,117,101,115,116,0,103,117,101,115,116", "\0guest\0guest"] {
            assert!(!log.split_whitespace().collect::<String>().contains(sent), "the log tells what was sent");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_given_by_files() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        db.known_token("ada", Role::Admin, TOKEN).await;
        let program = Program::new(db.folder(), "", "");
        let file = |name: &str, content: &str| program.write(name, content).display().to_string();
        let (database, queue) = (file("database", &format!("{}\n", db.url())), file("queue", &amqp_url()));
        let token = file("token", &format!("{TOKEN}\n"));
        let run = |variables: &[(&str, &str)], arguments: &[&str]| {
            let mut command = program.command(arguments);
            command.envs(variables.iter().copied());
            let output = command.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(said).unwrap())
        };
        let all = [
            ("DISCONNECTD_DATABASE_URL_FILE", database.as_str()),
            ("DISCONNECTD_QUEUE_URL_FILE", &queue),
            ("DISCONNECTD_TOKEN_FILE", &token),
        ];
        let (code, said) = run(&all, &["doctor"]);
        assert!(code == Some(0) && said.contains("RabbitMQ") && said.contains("messages wait"), "{said}");
        let (code, said) = run(&all, &["statuses", "add", "Gone"]);
        assert_eq!(code, Some(0), "{said}");

        let empty = file("empty", "\n");
        let lines = file("lines", "dct_sesame\ndct_sesame\n");
        let unreadable = program.write("unreadable", [0xff, 0xfe]).display().to_string();
        for (name, value) in [
            ("DISCONNECTD_DATABASE_URL", "postgres://ada:sesame@127.0.0.1/x"),
            ("DISCONNECTD_QUEUE_URL", "amqp://guest:sesame@127.0.0.1"),
            ("DISCONNECTD_TOKEN", "dct_sesame"),
        ] {
            let by_file = format!("{name}_FILE");
            let (code, said) = run(&[(name, value), (&by_file, &token)], &["accounts", "list"]);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(&format!("{by_file}: {name} is set as well; unset one of the two")), "{said}");
            for (path, words) in [
                ("/nowhere/at-all", "No such file"),
                (&empty, "it is empty"),
                (&lines, "it has several lines"),
                (&unreadable, "UTF-8"),
            ] {
                let (code, said) = run(&[(&by_file, path)], &["accounts", "list"]);
                assert_eq!(code, Some(1), "{said}");
                assert!(said.contains(&format!("{by_file}: the file {path} can't be used")), "{said}");
                assert!(said.contains(words), "{said}");
                holds_none(&by_file, &said);
            }
        }
        // What is wrong in a file is not shown either.
        let (code, said) = run(&[("DISCONNECTD_DATABASE_URL_FILE", &lines)], &["doctor"]);
        assert_eq!(code, Some(1));
        holds_none("a wrong file", &said);
    })
    .await;
}

/// Everything that a command says when everything is logged. A process that serves is ended soon.
fn traced(program: &Program, arguments: &[&str], input: &str) -> String {
    if arguments[0] == "serve" {
        let served = program.clone().traced().serve(&arguments[1..]);
        served.until_logged("RabbitMQ is away");
        served.signal("TERM");
        return served.ended().1;
    }
    let answer = program.clone().traced().run_with_input(arguments, input);
    answer.stdout + &answer.stderr
}
