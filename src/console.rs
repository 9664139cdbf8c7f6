//! The console: pages for people. This file is its map.
//!
//! A request's way through it: the API's `request_id` gives it an id; [`pages_not_problems`] makes pages of what is not
//! answered, and tells browsers to trust nothing but what is here; the [`gate`] says who asks, by a session of
//! [`sign_in`], whether they may, and whether a form is one of ours; what is [`sent`] twice is carried out once; the
//! handlers ([`accounts`], [`disconnect`], [`invoices`], [`events`], [`campaigns`], [`system`]) ask the same store as
//! everything else. A [`page`] is a full view around a part; htmx asks for the part alone. What the [`reader`] sees of
//! dates and money is in their order. All works without JavaScript; [`assets`] are in the program.

mod accounts;
mod assets;
mod campaigns;
mod chart;
mod disconnect;
mod events;
mod form;
mod gate;
mod groups;
mod invoices;
mod lists;
mod page;
mod password;
mod plain;
mod reader;
mod sent;
mod sessions;
mod sign_in;
mod system;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Mutex;
use url::Url;

pub use self::campaigns::live::Listeners;
use self::gate::{Gate, Visitor, Work};
pub use self::sent::SentForms;
use crate::api::problem::{Problem, Told};
use crate::api::request_id::{RequestId, caught};
use crate::api::{OneAtATime, Room};
use crate::doctor::Probe;
use crate::domain::account::Group;
use crate::domain::token::Role;
use crate::domain::user::SignInSecret;
use crate::kept::Kept;
use crate::passwords::Passwords;
use crate::queue::own::OwnQueue;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// What the pages are made from.
#[derive(Clone)]
pub struct Console {
    pub store: Arc<dyn Store>,
    pub queue: OwnQueue,
    /// The same as for the API's calls.
    pub room: Room,
    /// It is written down of one session at a time that it is used.
    pub touching: Arc<Mutex<()>>,
    pub passwords: Passwords,
    /// How many failed executions end an event that is asked for here.
    pub failures_max: i32,
    pub public_url: Option<Url>,
    /// Ends what would go on for as long as somebody looks.
    pub stop: Shutdown,
    pub listeners: Listeners,
    /// What is looked at besides the database.
    pub probes: Vec<Arc<dyn Probe>>,
    /// Of a million memberships the count takes a tenth of a second.
    pub groups: Arc<Kept<Vec<Group>>>,
    /// Of the pages that read all of the data.
    pub examining: Arc<OneAtATime>,
    pub sent: Arc<SentForms>,
    /// Apart from the others: whoever sends a link has shown nothing yet.
    pub sent_links: Arc<SentForms>,
}

type Shared = Arc<Console>;

/// One route, with the role that it asks for; none where anybody may come.
struct Route {
    path: &'static str,
    role: Option<Role>,
    handler: MethodRouter<Shared>,
    work: Work,
}

impl Route {
    /// It looks at every account of a campaign.
    fn of_cohort(self) -> Self {
        Self { work: Work::Cohort, ..self }
    }

    fn with_file(self) -> Self {
        Self { work: Work::File, ..self }
    }
}

/// All of them: nothing of the console is routed elsewhere.
fn routes() -> Vec<Route> {
    let of = |role, path, handler| Route { path, role, handler, work: Work::Usual };
    let anybody = |path, handler| of(None, path, handler);
    let viewer = |path, handler| of(Some(Role::Viewer), path, handler);
    let operator = |path, handler| of(Some(Role::Operator), path, handler);
    let approver = |path, handler| of(Some(Role::Approver), path, handler);
    let admin = |path, handler| of(Some(Role::Admin), path, handler);
    vec![
        anybody("/sign-in", get(sign_in::show).post(sign_in::by_password)),
        anybody("/sign-in/link", get(sign_in::show_link).post(sign_in::by_link)),
        anybody("/assets/{file}", get(assets::show)),
        viewer("/", get(async || Redirect::to("/accounts"))),
        viewer("/accounts", get(accounts::list)),
        viewer("/accounts/{number}", get(accounts::overview::show)),
        viewer("/accounts/{number}/invoices", get(accounts::invoices)),
        viewer("/accounts/{number}/family", get(accounts::family)),
        viewer("/accounts/{number}/events", get(accounts::events)),
        viewer("/accounts/{number}/log", get(accounts::log)),
        viewer("/invoices/{number}", get(invoices::show)),
        viewer("/events", get(events::list)),
        viewer("/events/calendar", get(events::calendar::show)),
        viewer("/events/{id}", get(events::show)),
        operator("/events/{id}/{change}", get(events::change::ask).post(events::change::confirm)),
        viewer("/campaigns", get(campaigns::list)),
        operator("/campaigns/new", get(campaigns::new::ask).post(campaigns::new::make)).with_file(),
        viewer("/campaigns/{id}", get(campaigns::show)),
        viewer("/campaigns/{id}/live", get(campaigns::live::listen)),
        operator("/campaigns/{id}/change", get(campaigns::change::ask).post(campaigns::change::make)).with_file(),
        viewer("/campaigns/{id}/dry-run", get(campaigns::dry_run::show)).of_cohort(),
        viewer("/campaigns/{id}/blockers", get(campaigns::blockers)).of_cohort(),
        viewer("/campaigns/{id}/report", get(campaigns::report)).of_cohort(),
        approver("/campaigns/{id}/approve", post(campaigns::commands::approve)).of_cohort(),
        operator("/campaigns/{id}/start", post(campaigns::commands::start)).of_cohort(),
        operator("/campaigns/{id}/{command}", get(campaigns::commands::ask).post(campaigns::commands::confirm)),
        viewer("/sign-out", post(sign_in::sign_out)),
        viewer("/theme", post(sign_in::choose_theme)),
        viewer("/password", get(password::ask).post(password::set)),
        viewer("/sessions", get(sessions::own).post(sessions::end_own)),
        operator("/accounts/{number}/disconnect", get(disconnect::window).post(disconnect::confirm)),
        viewer("/system", get(system::show)),
        viewer("/system/settings", get(system::settings::show)),
        admin("/system/settings/{key}", post(system::settings::change)),
        admin("/system/tokens", get(system::tokens::show).post(system::tokens::create)),
        admin("/system/tokens/revoke", post(system::tokens::revoke)),
        admin("/system/users", get(system::users::show).post(system::users::create)),
        admin("/system/users/change", post(system::users::change)),
        admin("/system/users/sessions", get(sessions::of_user).post(sessions::end_of_user)),
    ]
}

/// Each path of the console, with the role that it asks for.
#[must_use]
pub fn paths() -> Vec<(&'static str, Option<Role>)> {
    routes().into_iter().map(|route| (route.path, route.role)).collect()
}

impl Console {
    /// All pages, and what they are made of.
    pub fn pages(self) -> Router {
        let console = Arc::new(self);
        let mut all = Router::new();
        for Route { path, role, handler, work } in routes() {
            let handler = match role {
                Some(role) => {
                    let gate = Gate { console: console.clone(), role, work };
                    handler.route_layer(from_fn_with_state(gate, gate::admit))
                }
                None => handler,
            };
            all = all.route(path, handler);
        }
        all.with_state(console)
    }

    /// Whether browsers come over https alone.
    fn is_secure(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

/// Where a secret signs somebody in, in the console at `url`.
#[must_use]
pub fn sign_in_link(url: &str, secret: &SignInSecret) -> String {
    format!("{url}/sign-in/link?secret={}", secret.expose())
}

fn said(mut problem: Problem, detail: &str) -> Problem {
    detail.clone_into(&mut problem.detail);
    problem
}

fn is_html(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

/// What a browser may do with a page: show it, with what this process serves, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The layer around everything that is not the API's: a problem becomes a page.
pub async fn pages_not_problems(State(console): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_for_programs =
        path == "/api" || path.starts_with("/api/") || ["/healthz", "/readyz", "/metrics"].contains(&path);
    if is_for_programs {
        return next.run(request).await;
    }
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let asked = page::Asked::of(request.headers(), request.uri());
    let mut response = caught(next.run(request)).await;
    let is_page = is_html(&response);
    let problem = match response.extensions_mut().remove::<Problem>() {
        // These speak to programs.
        Some(problem) if problem.code == "unknown_route" => Some(said(problem, "There is nothing here.")),
        Some(problem) if problem.code == "unknown_method" => Some(said(problem, "That can't be done here.")),
        Some(problem) => Some(problem),
        // A path or a query that the router could not read.
        None if response.status().is_client_error() && !is_page && !response.headers().contains_key(page::REDIRECT) => {
            let detail = "This link can't be read. Begin at the list of accounts.";
            Some(Problem::new(response.status(), "invalid", detail))
        }
        None => None,
    };
    if let Some(problem) = problem {
        let visitor = response.extensions_mut().remove::<Visitor>();
        let page = asked.problem(&problem, &id, visitor.as_ref());
        let (mut parts, _) = response.into_parts();
        let (of_page, body) = page.into_response().into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.extend(of_page.headers);
        parts.extensions.insert(Told(problem.detail));
        response = Response::from_parts(parts, body);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "HX-Request, Accept-Language, Cookie"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if console.is_secure() {
        let only = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY).or_insert(only);
    }
    response
}
