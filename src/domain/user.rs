//! Users: the people who sign in to the console. How a sign-in is let through, and what ends a session.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use super::token::Role;

/// The database's own key. The log and people use the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

/// Nobody has used it for so long: the session is over.
pub const SESSION_IDLE: Duration = Duration::from_hours(12);

/// However much it is used.
pub const SESSION_MAX: Duration = Duration::from_hours(7 * 24);

/// How long a sign-in link is good for.
pub const LINK_MAX: Duration = Duration::from_mins(10);

/// A user as it is listed. Never with the password's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserView {
    #[serde(skip)]
    pub id: UserId,
    pub name: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub disabled_at: Option<DateTime<Utc>>,
    pub disabled_by: Option<String>,
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub name: String,
    pub role: Role,
    /// None: signs in by links alone.
    pub password: Option<PasswordHash>,
    pub created_by: String,
}

/// What to change of a user. Each ends the sessions that there are, but for what lets somebody in again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChange {
    Password(PasswordHash),
    Role(Role),
    Disable,
    Enable,
}

impl UserChange {
    /// Decides a change from what is true under the lock of all users. `other_admins` are those that may sign in.
    ///
    /// # Errors
    /// Nobody would be left to make another admin.
    pub fn check(&self, user: &UserView, other_admins: i64) -> Result<(), Refusal> {
        let is_lost = match self {
            Self::Role(role) => *role != Role::Admin,
            Self::Disable => true,
            Self::Password(_) | Self::Enable => false,
        };
        let is_admin = user.role == Role::Admin && user.disabled_at.is_none();
        if is_lost && is_admin && other_admins == 0 {
            return Err(Refusal::LastAdmin { name: user.name.clone() });
        }
        Ok(())
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn is_new_to(&self, user: &UserView) -> bool {
        match self {
            Self::Password(_) => true,
            Self::Role(role) => *role != user.role,
            Self::Disable => user.disabled_at.is_none(),
            Self::Enable => user.disabled_at.is_some(),
        }
    }
}

/// A password that somebody chose or typed. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// In characters.
    pub const LENGTH_MIN: usize = 12;

    /// In bytes: hashing takes time for each of them.
    pub const BYTES_MAX: usize = 1_024;

    /// A password to be set.
    ///
    /// # Errors
    /// A sentence that says what a password has to be.
    pub fn chosen(text: &str) -> Result<Self, String> {
        if text.chars().count() < Self::LENGTH_MIN {
            return Err(format!("a password has at least {} characters", Self::LENGTH_MIN));
        }
        if text.len() > Self::BYTES_MAX {
            return Err(format!("a password has at most {} bytes", Self::BYTES_MAX));
        }
        if text.chars().any(char::is_control) {
            return Err("a password has no control characters".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// Whatever somebody presents; one that is too long for a password is none.
    #[must_use]
    pub fn presented(text: &str) -> Option<Self> {
        (text.len() <= Self::BYTES_MAX).then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What the database keeps of a password: Argon2id in PHC form. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What a browser's cookie or a sign-in link holds: 32 bytes that nobody can foresee, as text. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInSecret(String);

/// What the database keeps of it: its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignInHash(pub [u8; 32]);

impl SignInSecret {
    #[must_use]
    pub fn of(random: [u8; 32]) -> Self {
        use base64::Engine as _;
        Self(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
    }

    /// Whatever somebody presents; whether it is one, its hash will show.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(text.to_owned())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn hash(&self) -> SignInHash {
        SignInHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// What each form of the session bears: known to whoever has the secret, and tells nothing of it.
    #[must_use]
    pub fn form_key(&self) -> String {
        use base64::Engine as _;
        let key = Sha256::new().chain_update(b"disconnectd form\0").chain_update(self.0.as_bytes()).finalize();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key)
    }
}

impl fmt::Debug for SignInSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInSecret(…)")
    }
}

/// By what somebody signs in.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A password was checked against this hash. The user must have it still when the session begins.
    Password { user: UserId, checked: PasswordHash },
    /// A link, which is used up by it.
    Link(SignInHash),
}

/// A session to begin.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub proof: Proof,
    pub hash: SignInHash,
    /// As the browser names itself, cut to what is worth keeping.
    pub browser: Option<String>,
}

/// The database's own key of a session: names it, and opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(pub i64);

/// A session that is good, as its user and the admins see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionView {
    pub id: SessionId,
    /// As it names itself.
    pub browser: Option<String>,
    pub begun_at: DateTime<Utc>,
    /// To within [`Session::SEEN_AGAIN`].
    pub last_seen_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

/// How many sessions of a user are listed: those that were used last.
pub const SESSIONS_LISTED: u32 = 100;

/// The sessions of a user as they are listed.
#[derive(Debug, Clone, Serialize)]
pub struct Sessions {
    /// Those used last first.
    pub sessions: Vec<SessionView>,
    /// There are more, used longer ago.
    pub is_cut: bool,
}

impl Sessions {
    /// Of what was read with [`SESSIONS_LISTED`] and one more.
    #[must_use]
    pub fn cut(mut sessions: Vec<SessionView>) -> Self {
        let is_cut = sessions.len() > SESSIONS_LISTED as usize;
        sessions.truncate(SESSIONS_LISTED as usize);
        Self { sessions, is_cut }
    }
}

/// Which of a user's sessions are to end. But for a single one, the user's links end with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    One(SessionId),
    /// All but this one.
    Others(SessionId),
    All,
}

impl Ending {
    #[must_use]
    pub fn with_links(self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// The only one that ends, and the only one that does not.
    #[must_use]
    pub fn ids(self) -> (Option<i64>, Option<i64>) {
        match self {
            Self::One(id) => (Some(id.0), None),
            Self::Others(id) => (None, Some(id.0)),
            Self::All => (None, None),
        }
    }
}

/// Who asks in a session that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: UserView,
    pub last_seen_at: DateTime<Utc>,
    /// The database's now.
    pub now: DateTime<Utc>,
}

impl Session {
    /// When it must be written down again that the session is used: not with every request.
    pub const SEEN_AGAIN: TimeDelta = TimeDelta::minutes(5);

    #[must_use]
    pub fn is_to_be_touched(&self) -> bool {
        self.now - self.last_seen_at > Self::SEEN_AGAIN
    }
}

/// Failed sign-ins under one name, known or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Since the last sign-in that was good.
    pub failures: u32,
    pub blocked_until: DateTime<Utc>,
}

impl Attempts {
    /// How many may fail before there is any pause.
    pub const FREE: u32 = 5;

    const PAUSE_FIRST: TimeDelta = TimeDelta::seconds(5);
    const PAUSE_MAX: TimeDelta = TimeDelta::minutes(15);

    /// How long failures are remembered. A guesser gets no more than a hundred tries a day.
    pub const REMEMBERED: Duration = Duration::from_hours(24);

    /// The SHA-256 of a name, under which its failures are kept.
    #[must_use]
    pub fn key(name: &str) -> [u8; 32] {
        Sha256::digest(name.as_bytes()).into()
    }

    /// Lets somebody try, and counts the try as failed until it is known to be good: many at once get no more tries.
    ///
    /// # Errors
    /// How long to wait first.
    pub fn next(before: Option<Self>, now: DateTime<Utc>) -> Result<Self, Duration> {
        let failures = match before {
            None => 1,
            Some(before) if before.blocked_until > now => {
                return Err((before.blocked_until - now).to_std().unwrap_or_default());
            }
            Some(before) => before.failures.saturating_add(1),
        };
        Ok(Self { failures, blocked_until: now + Self::pause_after(failures) })
    }

    fn pause_after(failures: u32) -> TimeDelta {
        let Some(over) = failures.checked_sub(Self::FREE) else { return TimeDelta::zero() };
        // Past eight doublings it is the longest anyway.
        (Self::PAUSE_FIRST * (1 << over.min(8))).min(Self::PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(role: Role, disabled_at: Option<DateTime<Utc>>) -> UserView {
        UserView {
            id: UserId(1),
            name: "ada".into(),
            role,
            created_at: DateTime::UNIX_EPOCH,
            created_by: "root".into(),
            disabled_by: disabled_at.map(|_| "root".into()),
            disabled_at,
        }
    }

    #[test]
    fn a_password_has_at_least_twelve_characters() {
        assert!(Password::chosen("elevenchars").is_err());
        assert!(Password::chosen("zwölfzeichen").is_ok());
        assert!(Password::chosen(&"x".repeat(Password::BYTES_MAX + 1)).is_err());
        assert!(Password::chosen("with a bell \u{7}").is_err());
        assert_eq!(format!("{:?}", Password::chosen("correct horse").unwrap()), "Password(…)");
    }

    #[test]
    fn the_last_admin_stays_one() {
        let admin = user(Role::Admin, None);
        for change in [UserChange::Disable, UserChange::Role(Role::Operator)] {
            assert_eq!(change.check(&admin, 0), Err(Refusal::LastAdmin { name: "ada".into() }), "{change:?}");
            assert_eq!(change.check(&admin, 1), Ok(()));
            assert_eq!(change.check(&user(Role::Operator, None), 0), Ok(()), "it is none");
        }
        assert_eq!(UserChange::Role(Role::Admin).check(&admin, 0), Ok(()));
    }

    #[test]
    fn after_five_failures_the_pauses_grow_to_a_quarter_of_an_hour() {
        let mut now = DateTime::UNIX_EPOCH;
        let mut attempts = None;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let next = Attempts::next(attempts, now).unwrap();
            let pause = next.blocked_until - now;
            if pause > TimeDelta::zero() {
                assert_eq!(
                    Attempts::next(Some(next), now),
                    Err(pause.to_std().unwrap()),
                    "nobody is let try meanwhile"
                );
            }
            pauses.push(pause.num_seconds());
            now = next.blocked_until;
            attempts = Some(next);
        }
        assert_eq!(pauses, [0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    }

    #[test]
    fn the_key_of_forms_is_another_for_each_session_and_does_not_tell_it() {
        let (one, other) = (SignInSecret::of([1; 32]), SignInSecret::of([2; 32]));
        assert_ne!(one.form_key(), other.form_key());
        assert_ne!(one.form_key(), one.expose());
        assert_eq!(format!("{one:?}"), "SignInSecret(…)");
    }
}
