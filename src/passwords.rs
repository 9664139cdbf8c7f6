//! Passwords: hashed and checked with Argon2id, away from the threads that wait, and not too many at once.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;

use crate::domain::user::{Password, PasswordHash};
use crate::random;

/// How many are hashed at once: each takes 19 MiB and some ten milliseconds of a processor.
const AT_ONCE: usize = 2;

/// How many may be under way or wait for that. Who comes later is refused at once.
const WAITING_MAX: usize = 32;

/// Clones share the bound.
#[derive(Debug, Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// For whom there is no password: checking one takes as long.
    nobody: Arc<PasswordHash>,
}

impl Passwords {
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, String> {
        let nobody = hash(&random::bytes::<32>()?)?;
        let (places, waiting) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(WAITING_MAX)));
        Ok(Self { places, waiting, nobody: Arc::new(nobody) })
    }

    /// # Errors
    /// The system gives no random bytes.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, String> {
        self.away(move || hash(password.expose().as_bytes())).await?
    }

    /// Whether it is the password of this hash. Without a hash it is not, and takes as long to say so.
    ///
    /// # Errors
    /// The process ends.
    pub async fn is_right(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, String> {
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| (*self.nobody).clone());
        let is_right = move || Argon2::default().verify_password(password.expose().as_bytes(), hash.0.as_str()).is_ok();
        Ok(self.away(is_right).await? && is_known)
    }

    async fn away<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let ended = |_| "the process ends, so no password was looked at".to_owned();
        let among = self.waiting.clone().try_acquire_owned();
        let among = among.map_err(|_| "too many sign in at this moment; try again in a moment".to_owned())?;
        let place = self.places.clone().acquire_owned().await.map_err(|error| ended(error.to_string()))?;
        let work = move || {
            let _places = (place, among); // until it is done, whether or not somebody waits still
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| ended(error.to_string()))
    }
}

fn hash(password: &[u8]) -> Result<PasswordHash, String> {
    let salt = random::bytes::<16>()?;
    let hashed = Argon2::default().hash_password_with_salt(password, &salt);
    hashed.map(|hash| PasswordHash(hash.to_string())).map_err(|error| format!("the password can't be hashed: {error}"))
}

/// A password that nobody can foresee: 24 characters.
///
/// # Errors
/// The system gives no random bytes.
pub fn generated() -> Result<Password, String> {
    Password::chosen(&URL_SAFE_NO_PAD.encode(random::bytes::<18>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new().unwrap();
        let password = generated().unwrap();
        let hash = passwords.hash(password.clone()).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$"), "{}", hash.0);
        assert!(!hash.0.contains(password.expose()));
        assert_ne!(hash, passwords.hash(password.clone()).await.unwrap(), "each is salted");
        assert!(passwords.is_right(password.clone(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(generated().unwrap(), Some(hash)).await.unwrap());
        assert!(!passwords.is_right(password, None).await.unwrap());
    }
}
