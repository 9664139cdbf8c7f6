//! What is wrong with this configuration, database, broker or data.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::problem::Answer;
use crate::doctor::{Depth, Diagnosis, diagnose};

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(examine))
}

/// Look for what is wrong with this configuration, database, broker or data.
///
/// It is answered with 200 whatever is found: `ok` says whether all is well. One such call runs at a time.
#[utoipa::path(
    get,
    path = "/api/v1/doctor",
    tag = "health",
    responses((status = 200, description = "What was found.", body = Diagnosis))
)]
async fn examine(State(api): State<Shared>) -> Answer<Json<Diagnosis>> {
    let _alone = api.examining.begin()?;
    Ok(Json(diagnose(&*api.store, &api.probes, Depth::All).await))
}
