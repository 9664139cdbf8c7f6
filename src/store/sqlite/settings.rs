//! Settings and account statuses.

use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use super::failure::{failure, unreadable};
use super::rows::get;
use crate::domain::account::Status;
use crate::domain::refusal::Refusal;
use crate::domain::settings::{SettingKey, Settings};
use crate::store::{StoreError, StoreResult};

pub async fn settings(connection: &mut SqliteConnection) -> StoreResult<Settings> {
    let stored: Vec<(String, String)> = sqlx::query_as("/* settings: load */ select key, value from settings")
        .fetch_all(connection)
        .await
        .map_err(failure)?;
    let mut settings = Settings::default();
    for (key, value) in stored {
        // A key that this program does not know belongs to a newer one.
        if let Ok(key) = SettingKey::parse(&key) {
            settings.set(key, &value).map_err(|error| unreadable(&format!("setting {}: {error}", key.as_str())))?;
        }
    }
    Ok(settings)
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
        let mut settings = settings(&mut tx).await?;
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
