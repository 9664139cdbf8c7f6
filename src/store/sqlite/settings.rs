//! Settings and account statuses.

use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use super::failure::failure;
use super::rows::get;
use crate::domain::account::Status;
use crate::domain::refusal::Refusal;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::{StoreError, StoreResult};

/// # Errors
/// [`StoreError::Unusable`] where one can't be read.
pub async fn settings(connection: &mut SqliteConnection) -> StoreResult<Settings> {
    let (settings, unreadable) = readable(connection).await?;
    if unreadable.is_empty() { Ok(settings) } else { Err(StoreError::Unusable(unreadable.join("; "))) }
}

/// The settings that can be read, defaults in place of the others, and a sentence for each of those.
pub async fn readable(connection: &mut SqliteConnection) -> StoreResult<(Settings, Vec<String>)> {
    let stored: Vec<(String, String)> =
        sqlx::query_as("/* settings: load */ select key, value from settings order by key")
            .fetch_all(connection)
            .await
            .map_err(failure)?;
    let mut settings = Settings::default();
    let mut unreadable = Vec::new();
    for (key, value) in stored {
        // A key that this program does not know belongs to a newer one.
        let Ok(key) = SettingKey::parse(&key) else { continue };
        if let Err(error) = settings.set(key, &value) {
            let key = key.as_str();
            unreadable.push(format!(
                "the setting {key} can't be read: {error}; `disconnectd settings set {key} VALUE` mends it"
            ));
        }
    }
    Ok((settings, unreadable))
}

/// The status that a disconnect leads to, or why there is none. It reads no other setting: what is wrong with those
/// stops no disconnect.
pub async fn target(connection: &mut SqliteConnection) -> StoreResult<Result<Status, Refusal>> {
    let row = sqlx::query(
        "/* settings: target */ select c.value, s.name, s.activates_account
           from (select (select value from settings where key = ?1) as value) as c
           left join account_statuses s on s.name = coalesce(c.value, ?2)",
    );
    let mut settings = Settings::default();
    let row = row
        .bind(SettingKey::DisconnectStatus.as_str())
        .bind(&settings.disconnect_status)
        .fetch_one(connection)
        .await
        .map_err(failure)?;
    if let Some(value) = get(&row, "value")? {
        settings.disconnect_status = value;
    }
    let found = match get::<Option<String>, _>(&row, "name")? {
        None => None,
        Some(name) => Some(Status { name, activates_account: get(&row, "activates_account")? }),
    };
    Ok(settings.target(found.as_slice()).cloned())
}

pub async fn statuses(connection: &mut SqliteConnection) -> StoreResult<Vec<Status>> {
    sqlx::query("/* statuses: list */ select name, activates_account from account_statuses order by name")
        .fetch_all(connection)
        .await
        .map_err(failure)?
        .iter()
        .map(|row| Ok(Status { name: get(row, "name")?, activates_account: get(row, "activates_account")? }))
        .collect()
}

impl SqliteStore {
    pub(super) async fn write_setting(&self, key: SettingKey, value: &str) -> StoreResult<Settings> {
        let mut tx = self.write().await?;
        // Those that can't be read stay as they are: each is mended by itself.
        let (mut settings, _) = readable(&mut tx).await?;
        settings.set(key, value).map_err(StoreError::Unusable)?;
        if key == SettingKey::DisconnectStatus {
            settings.target(&statuses(&mut tx).await?)?;
        }
        sqlx::query(
            "/* settings: change */ insert into settings (key, value) values (?1, ?2)
             on conflict (key) do update set value = excluded.value",
        )
        .bind(key.as_str())
        .bind(settings.value(key))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        Ok(settings)
    }

    pub(super) async fn insert_status(&self, status: &Status) -> StoreResult<()> {
        let mut tx = self.write().await?;
        let exists =
            sqlx::query("/* statuses: exists */ select exists (select 1 from account_statuses where name = ?1)")
                .bind(&status.name)
                .fetch_one(&mut *tx)
                .await
                .and_then(|row| row.try_get::<bool, _>(0))
                .map_err(failure)?;
        if exists {
            return Err(Refusal::StatusExists { name: status.name.clone() }.into());
        }
        sqlx::query("/* statuses: add */ insert into account_statuses (name, activates_account) values (?1, ?2)")
            .bind(&status.name)
            .bind(status.activates_account)
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
        tx.commit().await.map_err(failure)
    }
}
