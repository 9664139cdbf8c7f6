//! Tokens: who may ask over the API, and on the command line in somebody's name. Each has a role.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// The number of a token, by which it is listed and revoked. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct TokenId(pub i64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a token's owner may do. Each role may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Imports, disconnects, and changes plans, families and contacts.
    Operator,
    /// Approves what others prepared.
    Approver,
    /// Changes settings, statuses and tokens.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Approver, Self::Admin];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// # Errors
    /// A sentence that names the roles there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let roles: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("there is no role `{text}`; there are {}", roles.join(", "))
        })
    }

    /// Whether the owner of a token with this role may do what asks for `needed`.
    #[must_use]
    pub fn allows(self, needed: Self) -> bool {
        self >= needed
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The token itself, which is shown once, when it is made: `dct_` and 43 characters. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

/// What the database keeps of a token: the SHA-256 of it. The token has 256 random bits, so no slow hash is needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenSecret {
    const PREFIX: &'static str = "dct_";

    /// From 32 bytes of a source that nobody can foresee.
    #[must_use]
    pub fn of(random: [u8; 32]) -> Self {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
        Self(format!("{}{text}", Self::PREFIX))
    }

    /// Whatever somebody presents as a token; whether it is one, its hash will show.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is; the log names them so. Several tokens may have one owner, so that one can replace another.
    pub name: String,
    pub role: Role,
    pub hash: TokenHash,
    /// Who makes it.
    pub created_by: String,
}

/// A token as it is listed. Never with the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenView {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    /// Null while it is good.
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_do_what_the_ones_before_it_may() {
        assert!(Role::Admin.allows(Role::Viewer) && Role::Operator.allows(Role::Operator));
        assert!(!Role::Viewer.allows(Role::Operator) && !Role::Approver.allows(Role::Admin));
        assert!(Role::ALL.is_sorted());
        assert!(Role::parse("root").unwrap_err().contains("viewer, operator, approver, admin"));
    }

    #[test]
    fn a_token_is_never_shown_by_accident_and_is_kept_as_its_hash() {
        let token = TokenSecret::of([7; 32]);
        assert_eq!(token.expose().len(), 47);
        assert!(!format!("{token:?}").contains(token.expose()));
        assert_eq!(TokenSecret::presented(&format!(" {}\n", token.expose())).hash(), token.hash());
        assert_ne!(token.hash(), TokenSecret::of([8; 32]).hash());
    }
}
