//! The OpenAPI document: made from the handlers and the types, and completed with what all routes of a group share.

use std::collections::HashSet;

use axum::http::Method;
use bytes::Bytes;
use serde_json::json;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, Components};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{
    Array, ContentBuilder, Info, Object, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::auth::Place;
use super::call::Brings;
use super::once::KEY_MAX;
use super::problem::{self, Problem};
use crate::domain::token::Role;

/// The document, as it is served.
#[derive(Debug, Clone)]
pub struct Document(pub Bytes);

const DESCRIPTION: &str = "\
Disconnects customer accounts: now, on a date, or many at once.

**Tokens.** `disconnectd tokens create --name NAME --role ROLE` makes one; send it as `Authorization: Bearer TOKEN`. A \
role may do everything that the ones before it may: viewer, operator, approver, admin. Each call names its role \
(`x-role`).

**Problems** are `application/problem+json` (RFC 9457). Programs go by `type`, people by `detail`.

**Idempotency-Key** on a write makes it safe to send again: the same key and call get the same answer for 24 hours, \
another call with the key is refused. A key belongs to the token's owner.

**Lists** are answered page by page: go on with `after`, the `next_cursor` of the page before, until it is null.

**X-Request-Id** is taken from the request or made; the answer and each line of the log bear it.";

const REQUEST_ID: &str = "X-Request-Id";

/// What every operation of a group has in common: who may ask for it, and how it may go wrong.
pub fn demand(document: &mut OpenApi, role: Role, place: Place, brings: Brings) {
    for (path, item) in &mut document.paths.paths {
        let has_parameter = path.contains('{');
        for (operation, is_write) in operations(item) {
            operation.extensions.get_or_insert_default().insert("x-role".into(), json!(role.as_str()));
            let mut ways = vec![SecurityRequirement::new("token", Vec::<String>::new())];
            if place != Place::Calls {
                ways.push(SecurityRequirement::new("password", Vec::<String>::new()));
            }
            operation.security = Some(ways);
            for common in &COMMON {
                let applies = match common.when {
                    When::Always => true,
                    When::Named => has_parameter || names_something(operation),
                    When::Written => is_write,
                };
                if applies {
                    let responses = &mut operation.responses.responses;
                    responses
                        .entry(common.status.into())
                        .or_insert_with(|| RefOr::Ref(Ref::from_response_name(common.name)));
                }
            }
            if is_write && brings != Brings::JsonForASecret {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            }
            add_headers(operation, is_write);
        }
    }
}

/// The operations that take a query, by method and path.
#[must_use]
pub fn with_a_query(document: &OpenApi) -> HashSet<(Method, String)> {
    let mut all = HashSet::new();
    for (path, item) in &document.paths.paths {
        let PathItem { get, put, post, delete, patch, .. } = item;
        for (method, operation) in [
            (Method::GET, get),
            (Method::PUT, put),
            (Method::POST, post),
            (Method::DELETE, delete),
            (Method::PATCH, patch),
        ] {
            let parameters = operation.iter().flat_map(|operation| operation.parameters.iter().flatten());
            let is_queried =
                |one: &RefOr<Parameter>| matches!(one, RefOr::T(p) if p.parameter_in == ParameterIn::Query);
            if parameters.into_iter().any(is_queried) {
                all.insert((method, path.clone()));
            }
        }
    }
    all
}

/// An answer without a token: there is nothing to go wrong.
pub fn demand_nothing(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for (operation, _) in operations(item) {
            operation.security = Some(Vec::new());
            add_headers(operation, false);
        }
    }
}

/// The document that the groups' routers are merged into.
pub fn begun() -> OpenApi {
    let mut info = Info::new("disconnectd", env!("CARGO_PKG_VERSION"));
    info.description = Some(DESCRIPTION.into());
    let tags = [
        ("accounts", "Accounts, their families and contacts, and their disconnects."),
        ("events", "Disconnect events, and changes of plan."),
        ("campaigns", "Many disconnects made, run, paused and reported on as one."),
        ("templates", "Campaigns that recur."),
        ("invoices", "Invoices."),
        ("imports", "Accounts and debits from CSV."),
        ("settings", "What belongs to the company."),
        ("tokens", "Who may ask."),
        ("health", "How it goes."),
        ("page", "This page."),
    ];
    let tag = |(name, description): (&str, &str)| {
        let mut tag = Tag::new(name);
        tag.description = Some(description.into());
        tag
    };
    OpenApiBuilder::new().info(info).tags(Some(tags.map(tag))).build()
}

/// Adds what the parts refer to, and serves it from then on.
///
/// # Errors
/// Those of the serializer.
pub fn finished(mut document: OpenApi) -> serde_json::Result<Document> {
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    for common in &COMMON {
        components.responses.insert(common.name.into(), RefOr::T(common.response()));
    }
    let scheme = |scheme, description: &str| {
        let mut http = Http::new(scheme);
        http.description = Some(description.into());
        SecurityScheme::Http(http)
    };
    components.add_security_scheme("token", scheme(HttpAuthScheme::Bearer, "A token."));
    let password = "Any name, and a token as the password: for browsers and scrapers, outside /api/v1 alone.";
    components.add_security_scheme("password", scheme(HttpAuthScheme::Basic, password));
    for (name, schema) in &mut components.schemas {
        name_the_items(name, schema);
        answer_all_fields(name, schema);
    }
    serde_json::to_vec(&document).map(|text| Document(text.into()))
}

/// Problems that many routes share.
struct Common {
    status: &'static str,
    name: &'static str,
    when: When,
    description: &'static str,
    header: Option<(&'static str, &'static str)>,
}

enum When {
    Always,
    /// For what names something that may not be there.
    Named,
    Written,
}

const RETRY_AFTER: Option<(&str, &str)> = Some(("Retry-After", "Seconds."));

const COMMON: [Common; 12] = [
    Common {
        status: "401",
        name: "Unauthorized",
        when: When::Always,
        description: "There is no token, or it is not known, or revoked.",
        header: Some(("WWW-Authenticate", "How a token is sent.")),
    },
    Common {
        status: "403",
        name: "Forbidden",
        when: When::Always,
        description: "The token's role may not do this, or somebody else has to.",
        header: None,
    },
    Common { status: "404", name: "NotFound", when: When::Named, description: "There is no such thing.", header: None },
    Common {
        status: "408",
        name: "TooSlow",
        when: When::Written,
        description: "The request was not there in whole in time. Nothing was done.",
        header: None,
    },
    Common {
        status: "409",
        name: "Conflict",
        when: When::Written,
        description: "A rule says no, as things are; or a call with the same Idempotency-Key is under way.",
        header: None,
    },
    Common {
        status: "413",
        name: "TooLarge",
        when: When::Written,
        description: "The body is too long: a document has at most 1 MiB, and a file (text/csv) 1 GiB.",
        header: None,
    },
    Common {
        status: "415",
        name: "UnsupportedMediaType",
        when: When::Written,
        description: "The body is of another type than this takes, or packed (Content-Encoding).",
        header: None,
    },
    Common {
        status: "422",
        name: "Unreadable",
        when: When::Always,
        description: "A part of the request can't be read, or can't be meant.",
        header: None,
    },
    Common { status: "500", name: "Bug", when: When::Always, description: "This is a bug.", header: None },
    Common {
        status: "501",
        name: "UnknownTransferCoding",
        when: When::Written,
        description: "The body comes in another transfer coding than chunked.",
        header: None,
    },
    Common {
        status: "503",
        name: "Unavailable",
        when: When::Always,
        description: "The database is away or busy. Try again.",
        header: RETRY_AFTER,
    },
    Common {
        status: "504",
        name: "OutOfTime",
        when: When::Always,
        description: "It took too long. A write goes on all the same.",
        header: None,
    },
];

impl Common {
    fn response(&self) -> Response {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        let mut response =
            ResponseBuilder::new().description(self.description).content(problem::CONTENT_TYPE, content).build();
        response.headers.insert(REQUEST_ID.into(), RefOr::T(header("The id of the request.")));
        if let Some((name, description)) = self.header {
            response.headers.insert(name.into(), RefOr::T(header(description)));
        }
        response
    }
}

fn header(description: &str) -> Header {
    let mut header = Header::default();
    header.description = Some(description.into());
    header
}

/// On the answers of an operation itself; the common ones have theirs.
fn add_headers(operation: &mut Operation, is_write: bool) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.insert(REQUEST_ID.into(), RefOr::T(header("The id of the request.")));
            if is_write {
                let replayed = header("`true` where this was answered before.");
                response.headers.insert("Idempotency-Replayed".into(), RefOr::T(replayed));
            }
        }
    }
}

fn idempotency_key() -> Parameter {
    let mut parameter = Parameter::new("Idempotency-Key");
    parameter.parameter_in = ParameterIn::Header;
    parameter.required = Required::False;
    parameter.description = Some("Makes the call safe to send again.".into());
    let key = Object::builder().schema_type(Type::String).min_length(Some(1)).max_length(Some(KEY_MAX));
    parameter.schema = Some(key.pattern(Some("^[!-~]+$")).into());
    parameter
}

/// With a thing of its own as a filter.
fn names_something(operation: &Operation) -> bool {
    let is_thing = |name: &str| matches!(name, "account" | "campaign" | "template");
    let names = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(p) if is_thing(&p.name));
    operation.parameters.iter().flatten().any(names)
}

/// Each operation of a path, and whether it writes.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let writes = [put, post, delete, patch].into_iter().filter_map(Option::as_mut);
    get.as_mut().into_iter().map(|read| (read, false)).chain(writes.map(|write| (write, true)))
}

/// The items of a list are described once, where they stand alone, and not again in each list of them.
fn name_the_items(name: &str, schema: &mut RefOr<Schema>) {
    if let (Some(item), RefOr::T(Schema::Object(list))) = (name.strip_prefix("Paged_"), schema) {
        list.properties.insert("items".into(), Array::new(Ref::from_schema_name(item)).into());
    }
}

/// What is answered has all its fields always, null where there is nothing; what is asked refuses unknown ones, by
/// which the two are told apart.
fn answer_all_fields(name: &str, schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            let is_asked =
                matches!(object.additional_properties.as_deref(), Some(AdditionalProperties::FreeForm(false)));
            if !is_asked {
                let all = object.properties.keys().filter(|field| !LEFT_OUT.contains(&(name, field)));
                object.required = all.cloned().collect();
            }
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(|item| answer_all_fields(name, item)),
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

/// Fields that an answer leaves out where there is nothing to say.
const LEFT_OUT: [(&str, &str); 3] = [("InvoiceView", "lines"), ("Part", "reason"), ("Problem", "field")];
