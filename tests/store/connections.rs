//! Databases that can't be used: each engine has troubles of its own, and says which in a sentence without secrets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use disconnectd::clock::Clock;
use disconnectd::store::postgres::PostgresStore;
use disconnectd::store::sqlite::SqliteStore;
use disconnectd::store::{Installations as _, StoreError};

use crate::support::database::{Engine, TestDatabase};
use crate::support::scenario::import_options;

/// What a command may take to say that its server is away.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_wrong_password_is_said_without_the_password() {
    let url = std::env::var("DISCONNECTD_TEST_POSTGRES_PASSWORD_URL").expect("run tests/run, which starts the servers");
    let right = PostgresStore::connect(&url, 1).unwrap();
    right.ping().await.unwrap();
    right.close().await;
    let wrong = PostgresStore::connect(&url.replace("right", "open-sesame"), 1).unwrap();
    let error = wrong.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable(_) | StoreError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("password"), "{error}");
    assert!(!format!("{error} {error:?}").contains("open-sesame"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_is_said_soon() {
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = PostgresStore::connect(&format!("postgres://nobody:secret@127.0.0.1:{port}/x"), 1).unwrap();
    let asked = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.is_transient() && asked.elapsed() < PATIENCE);
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_closed_soon_whatever_is_stuck() {
    TestDatabase::run(Engine::Postgres, async |db: &TestDatabase| {
        let store = db.open().await;
        // An import whose file does not end holds its connection. Once the second chunk went in, the first was taken.
        let (file, rows) = tokio::sync::mpsc::channel(1);
        let importing = Arc::clone(&store);
        let import = tokio::spawn(async move { importing.import_debits(rows, import_options(false)).await });
        for _ in 0..2 {
            file.send(Vec::new()).await.unwrap();
        }
        let asked = Instant::now();
        store.close().await;
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        import.abort();
    })
    .await;
}

#[tokio::test]
async fn a_url_that_can_not_be_read_is_an_error() {
    assert!(PostgresStore::connect("postgres://[", 1).is_err());
    for url in ["sqlite://", "sqlite::memory:", "nonsense"] {
        assert!(SqliteStore::open(url, Clock::system()).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = std::env::temp_dir().join(format!("disconnectd_no_database_{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("letter.txt");
    let letter = "Dear customer, ".repeat(500);
    std::fs::write(&file, &letter).unwrap();
    let opened = SqliteStore::open(&format!("sqlite://{}", file.display()), Clock::system()).await;
    let error = match opened {
        Ok(store) => store.migrate().await.expect_err("this is a letter"),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), letter);
    let nowhere = format!("sqlite://{}", folder.join("no/such/folder/x.db").display());
    let error = SqliteStore::open(&nowhere, Clock::system()).await.err().expect("there is no such folder");
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}
