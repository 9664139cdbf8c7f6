//! Who asks: the owner of the token in `DISCONNECTD_TOKEN`, else the system's user.

use super::Verb;
use super::session::{CliError, system_user};
use super::table::instant;
use crate::config::Secret;
use crate::domain::actor::{Actor, Source};
use crate::domain::refusal::Refusal;
use crate::domain::token::{Role, TokenSecret, TokenView};
use crate::store::Store;

/// Who the log names for what a verb does. Without a token nothing is restricted but approvals, which are somebody's:
/// whoever can open the database can do everything with it.
///
/// # Errors
/// Refused: a token that is unknown or revoked, or whose role is not enough for the verb; an approval without one. No
/// sentence repeats it.
pub async fn actor(store: &dyn Store, token: Option<&Secret>, verb: &Verb) -> Result<Actor, CliError> {
    let Some(token) = token else {
        return if verb.needs_token() { Err(Refusal::ApprovalNeedsToken.into()) } else { Ok(system_user()) };
    };
    match store.token(&TokenSecret::presented(token.expose()).hash()).await {
        Ok(found) => admit(found, verb.role()),
        // The doctor changes nothing, and says itself what is wrong with the database.
        Err(_) if matches!(verb, Verb::Doctor(_)) => Ok(system_user()),
        Err(error) => Err(error.into()),
    }
}

fn admit(found: Option<TokenView>, needed: Role) -> Result<Actor, CliError> {
    let Some(token) = found else {
        return Err(CliError::refused(
            "token_unknown",
            "the token in DISCONNECTD_TOKEN is none of this database's; correct the variable, or unset it",
        ));
    };
    let TokenView { name, role, .. } = token;
    if let (Some(at), Some(by)) = (token.revoked_at, token.revoked_by) {
        let at = instant(&at);
        return Err(CliError::refused(
            "token_revoked",
            format!("the token in DISCONNECTD_TOKEN, {name}'s, was revoked at {at} UTC by {by}; ask for another"),
        ));
    }
    if !role.allows(needed) {
        return Err(CliError::refused(
            "role_missing",
            format!(
                "this takes the role {needed}, and the token in DISCONNECTD_TOKEN, {name}'s, has the role {role}; ask \
                 an admin to do it, or for another token"
            ),
        ));
    }
    Ok(Actor::new(name, Source::Cli))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;
    use crate::domain::token::TokenId;

    fn token(role: Role) -> TokenView {
        TokenView {
            id: TokenId(7),
            name: "ada".into(),
            role,
            created_at: "2026-11-24T09:00:00Z".parse().unwrap(),
            created_by: "root".into(),
            revoked_at: None,
            revoked_by: None,
        }
    }

    #[test]
    fn the_owner_of_a_good_token_with_enough_of_a_role_asks() {
        assert_eq!(admit(Some(token(Role::Admin)), Role::Operator).unwrap(), Actor::new("ada", Source::Cli));
        assert_eq!(admit(Some(token(Role::Viewer)), Role::Viewer).unwrap(), Actor::new("ada", Source::Cli));
    }

    #[test]
    fn everybody_else_is_refused_with_what_to_do() {
        let revoked = TokenView {
            revoked_at: Some("2026-11-25T09:00:00Z".parse().unwrap()),
            revoked_by: Some("bo".into()),
            ..token(Role::Admin)
        };
        for (found, code, part) in [
            (None, "token_unknown", "none of this database's; correct"),
            (Some(revoked), "token_revoked", "ada's, was revoked at 2026-11-25 09:00:00 UTC by bo; ask for another"),
            (Some(token(Role::Approver)), "role_missing", "takes the role admin, and the token in"),
            (Some(token(Role::Approver)), "role_missing", "ada's, has the role approver; ask"),
        ] {
            let error = admit(found, Role::Admin).unwrap_err();
            assert_eq!((error.exit(), error.code()), (Exit::Refused, code));
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
