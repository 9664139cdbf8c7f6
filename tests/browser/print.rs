//! Invoices on paper.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(an_invoice_is_printed_dark_on_white_whatever_the_screen_has);

async fn an_invoice_is_printed_dark_on_white_whatever_the_screen_has(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["disconnect", "1002", "--yes"]).exits(0);
    let window = Window::of(&served, Role::Viewer);
    // By the system's choice, and by one's own.
    for (chosen, colours) in [("Auto", "dark"), ("Dark", "light")] {
        window.looks(1280, colours);
        window.go("/invoices/1");
        window.until_says("#theme", chosen);
        let dark = window.colour("body", "background-color");
        assert!(brightness(&dark) < 100, "the screen is dark: {dark}");
        window.prints();
        for css in ["main", "h1", "main a", "time", "thead th", "tbody td", "tfoot th", "#total"] {
            let ink = window.colour(css, "color");
            assert!(brightness(&ink) < 200, "{chosen}: {css} is printed in {ink}");
        }
        for css in ["html", "body", ".sheet", "table", "thead th", "tbody td"] {
            let paper = window.colour(css, "background-color");
            assert!(paper == "rgba(0, 0, 0, 0)" || brightness(&paper) == 3 * 255, "{chosen}: {css} lies on {paper}");
        }
        for css in ["header.bar", ".skip", "#sign-out", "#theme"] {
            assert!(!window.shows(css), "{css} is none of an invoice");
        }
        window.until_says("main", "USD 21.54");
        window.looks(1280, "light");
        window.click("#theme");
        window.until_says("#theme", if chosen == "Auto" { "Dark" } else { "Light" });
    }
    window.ends_clean();
}

/// The sum of red, green and blue, 255 each at most.
#[track_caller]
fn brightness(colour: &str) -> u32 {
    let inside = colour.split(['(', ')']).nth(1).unwrap_or_else(|| panic!("what colour is {colour}?"));
    inside.split(',').take(3).map(|part| part.trim().parse::<u32>().unwrap()).sum()
}
