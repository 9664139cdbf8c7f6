//! Import of accounts and debits from CSV.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::auth::Caller;
use super::call::Spooled;
use super::extract::{Asked, require_type};
use super::problem::{Answer, Problem};
use crate::domain::import::ImportReport;
use crate::import::{self, Source};
use crate::store::ImportOptions;

pub fn write() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(import_accounts)).routes(routes!(import_debits))
}

const ACCOUNTS_EXAMPLE: &str = "\
number,name,status,parent_number,currency,zone,address,email,mailing_address,groups
2001,Ada Miller,Active,,USD,America/New_York,12 Elm Street,ada@example.com,,tower-3;fiber
";

const DEBITS_EXAMPLE: &str = "\
account_number,reference,description,amount,tax,charged_on
2001,2026-11,Monthly charge November,49.90,4.12,2026-11-01
";

/// How to import.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportAsked {
    /// Look at everything, write nothing.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
}

/// Load accounts: new ones are made, those that there are get what the file says.
///
/// CSV in UTF-8 with the header `number,name,status,parent_number,currency,zone,address,email,mailing_address,groups`,
/// its columns in any order. All rows or none; a file with bad lines is answered with 422, and the `report` names them.
#[utoipa::path(
    post,
    path = "/api/v1/imports/accounts",
    tag = "imports",
    params(ImportAsked),
    request_body(content = String, content_type = "text/csv", example = json!(ACCOUNTS_EXAMPLE)),
    responses((status = 200, description = "What was done, or would be.", body = ImportReport))
)]
async fn import_accounts(
    State(api): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked<ImportAsked>,
    Extension(Spooled(file)): Extension<Spooled>,
) -> Answer<Json<ImportReport>> {
    require_type(&headers, "text/csv")?;
    let rows = import::account_rows(Source::new("the file", file)).await?;
    answered(api.store.import_accounts(rows, options(&asked, &caller)).await?)
}

/// Load debits: what accounts owe and has not been invoiced.
///
/// CSV in UTF-8 with the header `account_number,reference,description,amount,tax,charged_on`, its columns in any order.
/// The reference is unique within its account: the same one again changes the debit, unless it is invoiced. All rows or
/// none; a file with bad lines is answered with 422, and the `report` names them.
#[utoipa::path(
    post,
    path = "/api/v1/imports/debits",
    tag = "imports",
    params(ImportAsked),
    request_body(content = String, content_type = "text/csv", example = json!(DEBITS_EXAMPLE)),
    responses((status = 200, description = "What was done, or would be.", body = ImportReport))
)]
async fn import_debits(
    State(api): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked<ImportAsked>,
    Extension(Spooled(file)): Extension<Spooled>,
) -> Answer<Json<ImportReport>> {
    require_type(&headers, "text/csv")?;
    let rows = import::debit_rows(Source::new("the file", file)).await?;
    answered(api.store.import_debits(rows, options(&asked, &caller)).await?)
}

fn options(asked: &ImportAsked, caller: &Caller) -> ImportOptions<'static> {
    ImportOptions { dry_run: asked.dry_run, by: caller.actor(), progress: &|_| {} }
}

fn answered(report: ImportReport) -> Answer<Json<ImportReport>> {
    if report.is_clean() {
        return Ok(Json(report));
    }
    let detail = "nothing was imported: some lines are bad, see the report; correct them and send the file again";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_lines", detail).with("report", json!(report)))
}
