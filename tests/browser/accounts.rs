//! The list of accounts: filtered, sorted, gone through page by page. With JavaScript and without.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::events::scheduled;
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(the_list_is_filtered_sorted_and_gone_through);

impl Window {
    /// A choice in the filters of a list. A script asks at once; without one there is a button.
    pub fn chooses(&self, filter: &str, value: &str) {
        self.click(&format!("#filters #{filter} option[value='{value}']"));
        self.filters();
    }

    pub fn filters(&self) {
        if !self.has_javascript() {
            self.click("#filters button");
        }
    }

    /// Waits until the list begins with these accounts and has so many.
    fn until_listed(&self, first: &[&str], count: usize) {
        for (place, number) in (1..).zip(first) {
            self.until(&format!("tbody tr:nth-child({place})[data-account='{number}']"));
        }
        self.until(&format!("tbody tr:nth-child({count}):last-child"));
    }
}

async fn the_list_is_filtered_sorted_and_gone_through(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups";
    // By number they begin with N-000, by name with N-109.
    let rows = (0..110).map(|n| format!("N-{n:03},Aaron {:03},Lead,,USD,,,,,north\n", 109 - n));
    program.write("many.csv", format!("{head}\n{}", rows.collect::<String>()));
    program.run(&["import", "accounts", "many.csv"]).exits(0);
    program.run(&["disconnect", "1002", "--yes"]).exits(0);
    scheduled(&program, "1003", "2099-12-01");
    for window in Window::with_and_without_javascript(&served, Role::Operator) {
        window.until_listed(&["1001", "1002", "1003", "N-000"], 50);
        // Each filter takes what is like it, and the address of the page is what was asked.
        window.chooses("status", "Inactive");
        window.until_listed(&["1002"], 1);
        window.until_at("/accounts?search=&status=Inactive&group=&service=&event=&sort=");
        window.until("#status option[value='Inactive']:checked");
        window.chooses("status", "");
        window.chooses("service", "disconnected");
        window.until_listed(&["1002"], 1);
        window.chooses("event", "open");
        window.until_says("#accounts-found", "No account is like that.");
        window.chooses("service", "connected");
        window.until_listed(&["1003"], 1);
        window.chooses("service", "");
        window.chooses("event", "");
        window.chooses("group", "fiber");
        window.until_listed(&["1001"], 1);

        // From page to page, in an order, and the filters stay.
        window.chooses("group", "north");
        window.until_listed(&["N-000", "N-001"], 50);
        assert!(!window.shows("#first"));
        window.chooses("sort", "name");
        window.until_listed(&["N-109", "N-108"], 50);
        window.click("#next");
        window.until_listed(&["N-059", "N-058"], 50);
        window.until("#group option[value='north']:checked");
        window.until("#sort option[value='name']:checked");
        window.click("#next");
        window.until_listed(&["N-009", "N-008"], 10);
        assert!(!window.shows("#next"), "that was the last one");
        // An account, and back to where it was found.
        window.click("[data-account='N-008'] th a");
        window.until_says("#account-number", "N-008");
        window.back();
        window.until_listed(&["N-009", "N-008"], 10);
        window.click("#first");
        window.until_listed(&["N-109", "N-108"], 50);
        // What is asked anew begins at its start.
        window.click("#next");
        window.until_listed(&["N-059"], 50);
        window.chooses("sort", "");
        window.until_listed(&["N-000"], 50);
        window.back();
        window.until_listed(&["N-059"], 50);
        if window.has_javascript() {
            // Without a script, the browser shows its page with the choice that was made on it.
            window.until("#sort option[value='name']:checked");
        }
        window.ends_clean();
    }
}
