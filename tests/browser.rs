//! The console in a real browser: headless Chromium, led by WebDriver. Each test has a browser of its own.
//!
//! What the pages say in every case is tested by plain requests, in `behaviour::console`; here is what only a browser
//! shows: scripts, focus, keys, colours, widths, and that nothing is asked of anybody else.

mod accounts;
mod campaigns;
mod decide;
mod disconnect;
mod events;
mod looks;
mod print;
mod roles;
mod sign_in;
mod system;
mod widths;
mod window;
mod without_javascript;

/// Makes of each `async fn NAME(db: &TestDatabase)` a test on an empty database of the embedded pair. What a browser
/// does with a page depends on no engine; one test of the flow that matters most runs on both.
macro_rules! embedded {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                use crate::support::database::{Engine, TestDatabase};
                TestDatabase::run_on_empty(Engine::Sqlite, super::$name).await;
            }
        })+
    };
}
pub(crate) use embedded;
