//! The users' part of the port: who may sign in to the console, and who is signed in.

use std::time::Duration;

use async_trait::async_trait;

use super::{Page, Paged, StoreResult};
use crate::domain::actor::Actor;
use crate::domain::user::{
    Ending, NewSession, NewUser, PasswordHash, Session, Sessions, SignInHash, UserChange, UserView,
};

/// Users and their sessions.
#[async_trait]
pub trait Users: Send + Sync {
    /// # Errors
    /// [`crate::domain::refusal::Refusal::UserExists`].
    async fn create_user(&self, user: &NewUser) -> StoreResult<UserView>;

    /// # Errors
    /// [`crate::domain::refusal::Refusal::UnknownUser`].
    async fn user(&self, name: &str) -> StoreResult<UserView>;

    /// By name, disabled ones too.
    async fn users(&self, page: &Page) -> StoreResult<Paged<UserView>>;

    /// Changes a user, decided by [`UserChange::check`] under a lock that all such changes take. What changes anything
    /// ends the user's sessions and links.
    async fn change_user(&self, name: &str, change: &UserChange, by: &Actor) -> StoreResult<UserView>;

    /// Counts a try to sign in under a name, known or not, by [`crate::domain::user::Attempts::next`]. `Some`: there
    /// were too many; how long to wait. Of many at the same time no more are let try than one after the other.
    async fn begin_sign_in(&self, name: &str) -> StoreResult<Option<Duration>>;

    /// The user of this name with its password's hash, where it has one and may sign in.
    async fn credentials(&self, name: &str) -> StoreResult<Option<(UserView, PasswordHash)>>;

    /// Begins a session, and forgets the failures under the user's name. `None` where the proof is not good (any more):
    /// a password that was changed or a user that was disabled meanwhile, a link that is used, too old or unknown.
    /// Of many who use one link at the same time, one is let in.
    async fn open_session(&self, session: &NewSession) -> StoreResult<Option<UserView>>;

    /// The session with this hash, while it is good: not ended, not idle for too long, not too old, its user not
    /// disabled.
    async fn session(&self, hash: &SignInHash) -> StoreResult<Option<Session>>;

    /// Writes down that a session is used.
    async fn touch_session(&self, hash: &SignInHash) -> StoreResult<()>;

    /// Ends a session, for good. One that is not there is no error.
    async fn close_session(&self, hash: &SignInHash) -> StoreResult<()>;

    /// The sessions of a user that are good, those used last first, at most
    /// [`crate::domain::user::SESSIONS_LISTED`].
    ///
    /// # Errors
    /// An unknown user.
    async fn sessions(&self, name: &str) -> StoreResult<Sessions>;

    /// Ends sessions of a user, for good, and answers how many were good until then. One that begins at the same time is
    /// ended too, or begins after it.
    ///
    /// # Errors
    /// An unknown user.
    async fn end_sessions(&self, name: &str, which: Ending) -> StoreResult<u64>;

    /// Makes a sign-in link for a user, good for [`crate::domain::user::LINK_MAX`].
    ///
    /// # Errors
    /// An unknown user, or one that is disabled.
    async fn create_link(&self, name: &str, hash: &SignInHash, by: &Actor) -> StoreResult<UserView>;
}
