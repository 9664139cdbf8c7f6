//! Tokens: list, make, revoke.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::accounts::PartAsked;
use super::auth::Caller;
use super::extract::{Asked, Id, Told, numbered_page};
use super::problem::{Answer, Problem};
use crate::domain::text::parse_name;
use crate::domain::token::{NewToken, Role, TokenId, TokenView};
use crate::random;
use crate::store::Paged;

pub fn manage() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list_tokens)).routes(routes!(revoke_token))
}

/// By themselves: their answer holds a secret.
pub fn create() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(create_token))
}

/// List tokens, newest first, revoked ones too.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    params(PartAsked),
    responses((status = 200, description = "A part of the list.", body = Paged<TokenView>))
)]
async fn list_tokens(State(api): State<Shared>, Asked(asked): Asked<PartAsked>) -> Answer<Json<Paged<TokenView>>> {
    Ok(Json(api.store.tokens(&numbered_page(asked.limit, asked.after)?).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenAsked {
    /// Whose it is; the log names them so.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    name: String,
    role: Role,
}

/// A new token, with the token itself: this answer alone shows it.
#[derive(Debug, Serialize, ToSchema)]
struct TokenMade {
    #[serde(flatten)]
    view: TokenView,
    /// The token itself. It is shown this once.
    token: String,
}

/// Make a token.
///
/// This takes no `Idempotency-Key`: its answer holds a secret, which is not kept. Revoke what was made in vain.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    request_body = TokenAsked,
    responses((status = 201, description = "The token, shown this once.", body = TokenMade))
)]
async fn create_token(
    State(api): State<Shared>,
    caller: Caller,
    Told(told): Told<TokenAsked>,
) -> Answer<(StatusCode, Json<TokenMade>)> {
    let name = parse_name(&told.name).map_err(|error| Problem::invalid("name", error))?;
    let secret = random::token_secret()
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_random_bytes", error))?;
    let token = NewToken { name, role: told.role, hash: secret.hash(), created_by: caller.owner };
    let view = api.store.create_token(&token).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { view, token: secret.expose().to_owned() })))
}

/// The token that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct TokenInPath {
    /// The number of the token.
    #[param(minimum = 1, example = 1)]
    #[expect(dead_code, reason = "it is read by `Id`; this describes it")]
    id: i64,
}

/// Revoke a token: it is good for nothing any more, at once.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "tokens",
    params(TokenInPath),
    responses((status = 200, description = "The token, revoked.", body = TokenView))
)]
async fn revoke_token(State(api): State<Shared>, caller: Caller, Id(token): Id) -> Answer<Json<TokenView>> {
    Ok(Json(api.store.revoke_token(TokenId(token), &caller.actor()).await?))
}
