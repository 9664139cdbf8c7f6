//! The HTTP API: this file is its map. Each route stands in a group, and each group names its role.
//!
//! A request's way through it: [`request_id`] gives it an id and a line in the log; the group's [`auth`] says who asks,
//! and whether they may; [`call`] takes its body in, within bounds, and runs it where there is [`room`]; [`once`] keeps the
//! answer of a write for whoever sends it again; [`extract`] reads it into types for the handler. Where there is no
//! answer there is a [`problem`]. The [`document`] is made from the same groups, so it can't say something else.

#![expect(unused_qualifications, reason = "utoipa's macro qualifies what it is given")]

mod accounts;
mod auth;
mod call;
pub mod campaigns;
mod connections;
mod disconnect;
mod doctor;
mod document;
mod events;
pub(crate) mod extract;
mod health;
mod if_match;
mod imports;
mod invoices;
mod once;
mod page;
pub(crate) mod problem;
pub(crate) mod request_id;
mod room;
mod settings;
mod tokens;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

pub use self::auth::Remembered;
use self::auth::{Gate, Place};
use self::call::{Brings, Terms};
use self::problem::Problem;
pub use self::room::{OneAtATime, Room, Taken, Wanted};
use crate::console::{self, Console};
use crate::doctor::Probe;
use crate::domain::token::Role;
use crate::health::Health;
use crate::queue::own::OwnQueue;
use crate::shutdown::Shutdown;
use crate::store::{Page, Store, StoreResult};

/// What the answers are made from.
pub struct Api {
    pub store: Arc<dyn Store>,
    pub health: Arc<Health>,
    pub queue: OwnQueue,
    pub metrics: PrometheusHandle,
    pub stop: Shutdown,
    /// Whether it answers calls, or its own health and metrics alone.
    pub answers_calls: bool,
    /// How many failed executions end an event that is asked for here.
    pub failures_max: i32,
    pub probes: Vec<Arc<dyn Probe>>,
    /// For the calls that run.
    pub room: Room,
    /// Of the calls that look at everything.
    pub examining: OneAtATime,
    /// For when the database is away.
    pub remembered: Remembered,
    /// The pages for people, where this process has them.
    pub console: Option<Console>,
}

type Shared = Arc<Api>;

impl Api {
    /// All that it answers.
    ///
    /// # Errors
    /// Those of the document's serializer.
    pub fn answers(mut self) -> std::io::Result<Answers> {
        let console = self.console.take();
        router(Arc::new(self), console).map(Answers)
    }
}

/// What is ready to be served.
#[derive(Debug)]
pub struct Answers(Router);

impl Answers {
    /// Answers until `end`, which comes after the stop: readiness is answered while work drains.
    ///
    /// # Errors
    /// Those of the listener.
    pub async fn serve(self, listener: TcpListener, end: Shutdown) -> std::io::Result<()> {
        connections::serve(self.0, listener, connections::Limits::USUAL, end).await
    }
}

/// All routes. Whatever is added here is in the document, with its role.
fn router(api: Shared, console: Option<Console>) -> std::io::Result<Router> {
    use Brings::{File, FileOrJson, Json, JsonForACohort, JsonForASecret};
    use campaigns::templates;
    let group = |role, place, brings, routes| of_role(role, place, brings, &api, routes);
    let calls = |role, brings, routes| group(role, Place::Calls, brings, routes);
    let mut all = OpenApiRouter::with_openapi(document::begun()).merge(open(health::open())).merge(group(
        Role::Viewer,
        Place::Health,
        Json,
        health::read(),
    ));
    if api.answers_calls {
        let read = accounts::read()
            .merge(events::read())
            .merge(invoices::read())
            .merge(settings::read())
            .merge(doctor::read())
            .merge(campaigns::read())
            .merge(templates::read());
        let write = accounts::write()
            .merge(disconnect::write())
            .merge(events::write())
            .merge(campaigns::command())
            .merge(templates::write());
        all = all
            .merge(group(Role::Viewer, Place::Page, Json, page::read()))
            .merge(calls(Role::Viewer, Json, read))
            .merge(calls(Role::Operator, Json, write))
            .merge(calls(Role::Operator, File, imports::write()))
            .merge(calls(Role::Viewer, JsonForACohort, campaigns::read_whole()))
            .merge(calls(Role::Operator, FileOrJson, campaigns::make()))
            .merge(calls(Role::Operator, JsonForACohort, campaigns::change().merge(campaigns::command_whole())))
            .merge(calls(Role::Approver, Json, templates::approve()))
            .merge(calls(Role::Approver, JsonForACohort, campaigns::approve()))
            .merge(calls(Role::Admin, Json, settings::write().merge(tokens::manage())))
            .merge(calls(Role::Admin, JsonForASecret, tokens::create()));
    }
    let (router, document) = all.split_for_parts();
    let mut router = router.layer(Extension(document::finished(document)?)).with_state(api);
    if let Some(console) = &console {
        router = router.merge(console.clone().pages());
    }
    router = router.fallback(no_such_route).method_not_allowed_fallback(no_such_method);
    // What is not the API's is answered in pages, also where there is nothing.
    if let Some(console) = console {
        router = router.layer(from_fn_with_state(Arc::new(console), console::pages_not_problems));
    }
    Ok(router.layer(from_fn(request_id::follow)))
}

/// Puts a group of routes behind their role: the layer that asks for it, and the document that names it.
fn of_role(
    role: Role,
    place: Place,
    brings: Brings,
    api: &Shared,
    mut routes: OpenApiRouter<Shared>,
) -> OpenApiRouter<Shared> {
    document::demand(routes.get_openapi_mut(), role, place, brings);
    let with_a_query = Arc::new(document::with_a_query(routes.get_openapi()));
    let gate = Gate { api: api.clone(), role, place };
    let terms = Terms { api: api.clone(), place, brings, with_a_query };
    // The layer that is added last comes first.
    routes.route_layer(from_fn_with_state(terms, call::run)).route_layer(from_fn_with_state(gate, auth::admit))
}

/// For anybody: whether the process lives, and nothing else.
fn open(mut routes: OpenApiRouter<Shared>) -> OpenApiRouter<Shared> {
    document::demand_nothing(routes.get_openapi_mut());
    routes
}

async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_route", "there is nothing here; /api/openapi.json tells what there is")
}

/// What is there instead, the `Allow` header says.
async fn no_such_method(method: Method) -> Problem {
    let detail = format!("there is no {method} here; /api/openapi.json tells what there is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "unknown_method", detail)
}

/// Whether there is a token with which anybody could ask.
///
/// # Errors
/// Those of the store.
pub async fn has_token(store: &dyn Store) -> StoreResult<bool> {
    let mut page = Page::default();
    loop {
        let tokens = store.tokens(&page).await?;
        if tokens.items.iter().any(|token| token.revoked_at.is_none()) {
            return Ok(true);
        }
        match tokens.next_cursor {
            Some(cursor) => page.after = Some(cursor),
            None => return Ok(false),
        }
    }
}

/// Reads a body as each call that takes one does. For [`crate::fuzz`].
pub fn read_bodies(bytes: &[u8]) {
    campaigns::read_bodies(bytes);
    let _ = extract::json::<accounts::NewContact>(bytes);
    let _ = extract::json::<accounts::NewParent>(bytes);
    let _ = extract::json::<disconnect::DisconnectAsked>(bytes);
    let _ = extract::json::<events::CancelAsked>(bytes);
    let _ = extract::json::<events::DecideAsked>(bytes);
    let _ = extract::json::<events::RescheduleAsked>(bytes);
    let _ = extract::json::<events::RetryAsked>(bytes);
    let _ = extract::json::<settings::NewStatus>(bytes);
    let _ = extract::json::<settings::NewValue>(bytes);
    let _ = extract::json::<tokens::TokenAsked>(bytes);
}
