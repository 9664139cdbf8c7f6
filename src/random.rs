//! The only source of what nobody can foresee: the system's own. This process keeps no state that it could be told from.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::domain::token::TokenSecret;
use crate::domain::user::SignInSecret;

/// # Errors
/// A sentence, where the system gives no random bytes.
pub fn token_secret() -> Result<TokenSecret, String> {
    bytes().map(TokenSecret::of)
}

/// # Errors
/// A sentence, where the system gives no random bytes.
pub fn sign_in_secret() -> Result<SignInSecret, String> {
    bytes().map(SignInSecret::of)
}

/// # Errors
/// A sentence, where the system gives no random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| format!("the system gave no random bytes, so no secret was made: {error}"))?;
    Ok(bytes)
}
