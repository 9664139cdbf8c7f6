//! Who may do what, route by route. The roles before `needed` may not; those after it may as well.

use disconnectd::domain::token::Role;

/// A route, with a request that is carried out where somebody may.
pub struct Line {
    /// None: anybody.
    pub needed: Option<Role>,
    /// The method and the path, as the router has it.
    pub route: &'static str,
    /// A document of the API, the fields of a form, or nothing.
    pub body: &'static str,
    /// Who may, changes the database with it.
    pub changes: bool,
}

const fn look(needed: Role, route: &'static str) -> Line {
    Line { needed: Some(needed), route, body: "", changes: false }
}

/// A look that anybody may take.
const fn open(route: &'static str) -> Line {
    Line { needed: None, route, body: "", changes: false }
}

/// What changes the database, where somebody may.
const fn does(needed: Role, route: &'static str, body: &'static str) -> Line {
    Line { needed: Some(needed), route, body, changes: true }
}

/// What has nothing to change as things are here.
const fn idle(needed: Role, route: &'static str, body: &'static str) -> Line {
    Line { changes: false, ..does(needed, route, body) }
}

const fn signs_in(route: &'static str, body: &'static str) -> Line {
    Line { needed: None, route, body, changes: true }
}

use Role::{Admin, Approver, Operator, Viewer};

const CSV: &str =
    "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n2009,Eve,Active,,USD,,,,,\n";

const DEBITS: &str = "account_number,reference,description,amount,tax,charged_on\n1001,fee,Fee,1.00,,2026-11-12\n";

/// The API. Those that change something stand in the order in which each can.
pub const API: &[Line] = &[
    open("GET /healthz"),
    look(Viewer, "GET /readyz"),
    look(Viewer, "GET /metrics"),
    look(Viewer, "GET /api"),
    look(Viewer, "GET /api/page/{file}"),
    look(Viewer, "GET /api/openapi.json"),
    look(Viewer, "GET /api/v1/doctor"),
    look(Viewer, "GET /api/v1/accounts"),
    look(Viewer, "GET /api/v1/accounts/{number}"),
    look(Viewer, "GET /api/v1/accounts/{number}/overview"),
    look(Viewer, "GET /api/v1/accounts/{number}/log"),
    look(Viewer, "GET /api/v1/invoices"),
    look(Viewer, "GET /api/v1/invoices/{number}"),
    look(Viewer, "GET /api/v1/events"),
    look(Viewer, "GET /api/v1/events/{id}"),
    look(Viewer, "GET /api/v1/statuses"),
    look(Viewer, "GET /api/v1/settings"),
    look(Viewer, "GET /api/v1/campaigns"),
    look(Viewer, "GET /api/v1/campaigns/{id}"),
    look(Viewer, "GET /api/v1/campaigns/{id}/log"),
    look(Viewer, "GET /api/v1/campaigns/{id}/dry-run"),
    look(Viewer, "GET /api/v1/campaigns/{id}/blockers"),
    look(Viewer, "GET /api/v1/campaigns/{id}/report"),
    look(Viewer, "GET /api/v1/campaign-templates"),
    look(Viewer, "GET /api/v1/campaign-templates/{id}"),
    look(Admin, "GET /api/v1/tokens"),
    does(Operator, "PUT /api/v1/accounts/{number}/parent", r#"{"parent":"1001"}"#),
    does(Operator, "DELETE /api/v1/accounts/{number}/parent", ""),
    does(Operator, "PATCH /api/v1/accounts/{number}/contact", r#"{"email":"new@example.com"}"#),
    does(Operator, "POST /api/v1/accounts/{number}/disconnect", r#"{"on":"2099-12-01"}"#),
    does(Operator, "POST /api/v1/events/{id}/reschedule", r#"{"on":"2099-12-02"}"#),
    does(Operator, "POST /api/v1/events/{id}/cancel", ""),
    does(Operator, "POST /api/v1/events/{id}/retry", ""),
    idle(Operator, "POST /api/v1/events/{id}/decide", r#"{"children":"keep"}"#),
    does(Operator, "POST /api/v1/imports/accounts", CSV),
    does(Operator, "POST /api/v1/imports/debits", DEBITS),
    does(Operator, "POST /api/v1/campaigns", r#"{"name":"New","accounts":[{"account_number":"1003"}]}"#),
    // Whoever has changed it may not: so it comes first.
    does(Approver, "POST /api/v1/campaigns/{id}/approve", ""),
    does(Operator, "PATCH /api/v1/campaigns/{id}", r#"{"name":"Changed"}"#),
    does(Operator, "PUT /api/v1/campaigns/{id}/cohort", r#"{"accounts":[{"account_number":"2003"}]}"#),
    does(Operator, "POST /api/v1/campaigns/{id}/start", ""),
    does(Operator, "POST /api/v1/campaigns/{id}/pause", ""),
    does(Operator, "POST /api/v1/campaigns/{id}/resume", ""),
    does(Operator, "POST /api/v1/campaigns/{id}/abort", ""),
    idle(Operator, "POST /api/v1/campaigns/{id}/retry", ""),
    does(
        Operator,
        "POST /api/v1/campaign-templates",
        r#"{"name":"New","where":"debit_age > 90","cron":"0 2 1 * *","accounts_max":10}"#,
    ),
    does(Approver, "POST /api/v1/campaign-templates/{id}/approve", ""),
    does(Approver, "POST /api/v1/campaign-templates/{id}/unapprove", ""),
    does(Operator, "POST /api/v1/campaign-templates/{id}/off", ""),
    does(Operator, "POST /api/v1/campaign-templates/{id}/on", ""),
    does(Admin, "POST /api/v1/statuses", r#"{"name":"Gone","activates_account":false}"#),
    does(Admin, "PUT /api/v1/settings/{key}", r#"{"value":"12:34"}"#),
    does(Admin, "POST /api/v1/tokens", r#"{"name":"new","role":"admin"}"#),
    does(Admin, "DELETE /api/v1/tokens/{id}", ""),
];

/// The console, in the same way. `DIGEST` is that of what the page shows.
pub const CONSOLE: &[Line] = &[
    open("GET /sign-in"),
    open("GET /sign-in/link"),
    open("GET /assets/{file}"),
    signs_in("POST /sign-in", "name=viewer&password=correct+horse+battery"),
    signs_in("POST /sign-in/link", "secret=a-link"),
    look(Viewer, "GET /"),
    look(Viewer, "GET /accounts"),
    look(Viewer, "GET /accounts/{number}"),
    look(Viewer, "GET /accounts/{number}/invoices"),
    look(Viewer, "GET /accounts/{number}/family"),
    look(Viewer, "GET /accounts/{number}/events"),
    look(Viewer, "GET /accounts/{number}/log"),
    look(Operator, "GET /accounts/{number}/disconnect"),
    look(Viewer, "GET /invoices/{number}"),
    look(Viewer, "GET /events"),
    look(Viewer, "GET /events/calendar"),
    look(Viewer, "GET /events/{id}"),
    look(Operator, "GET /events/{id}/{change}"),
    look(Viewer, "GET /campaigns"),
    look(Operator, "GET /campaigns/new"),
    look(Viewer, "GET /campaigns/{id}"),
    look(Viewer, "GET /campaigns/{id}/live"),
    look(Operator, "GET /campaigns/{id}/change"),
    look(Viewer, "GET /campaigns/{id}/dry-run"),
    look(Viewer, "GET /campaigns/{id}/blockers"),
    look(Viewer, "GET /campaigns/{id}/report"),
    look(Operator, "GET /campaigns/{id}/{command}"),
    look(Viewer, "GET /password"),
    look(Viewer, "GET /sessions"),
    look(Viewer, "GET /system"),
    look(Viewer, "GET /system/settings"),
    look(Admin, "GET /system/tokens"),
    look(Admin, "GET /system/users"),
    look(Admin, "GET /system/users/sessions"),
    does(Operator, "POST /accounts/{number}/disconnect", "when=date&date=2099-12-01&digest=DIGEST"),
    does(Operator, "POST /events/{id}/{change}", "reason=moved"),
    does(Operator, "POST /campaigns/new", "name=New&numbers=1003&children=keep"),
    does(Approver, "POST /campaigns/{id}/approve", "digest=DIGEST"),
    does(Operator, "POST /campaigns/{id}/change", "name=Changed&window=always&pause_percent=50&seen=1"),
    does(Operator, "POST /campaigns/{id}/start", "digest=DIGEST"),
    does(Operator, "POST /campaigns/{id}/{command}", ""),
    does(Admin, "POST /system/settings/{key}", "value=12:35"),
    does(Admin, "POST /system/tokens", "name=new&role=admin"),
    does(Admin, "POST /system/tokens/revoke", "id=8"),
    does(Admin, "POST /system/users", "name=new&role=admin"),
    does(Admin, "POST /system/users/sessions", "name=clerk&all=yes"),
    does(Admin, "POST /system/users/change", "name=clerk&change=disable"),
    idle(Viewer, "POST /theme", "theme=dark"),
    does(Viewer, "POST /sessions", "others=yes"),
    does(Viewer, "POST /sign-out", ""),
    does(Viewer, "POST /password", "now=correct+horse+battery&new=another+long+one&again=another+long+one"),
];
