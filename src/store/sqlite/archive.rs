//! The archive, of which there is none on SQLite: see the port.

use std::time::Duration;

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::{Archive, StoreResult};

#[async_trait]
impl Archive for SqliteStore {
    async fn archive(&self, _after: Duration) -> StoreResult<u64> {
        Ok(0)
    }
}
