//! The only source of what nobody can foresee: the system's own. This process keeps no state that it could be told from.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::domain::token::TokenSecret;

/// # Errors
/// A sentence, where the system gives no random bytes.
pub fn token_secret() -> Result<TokenSecret, String> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| format!("the system gave no random bytes, so no token was made: {error}"))?;
    Ok(TokenSecret::of(bytes))
}
