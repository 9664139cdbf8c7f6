//! Settings and statuses: checked when they are set, and again when they are used.

use disconnectd::domain::account::Status;
use disconnectd::domain::event::{Outcome, State};
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::settings::{SettingKey, Settings};
use disconnectd::store::{Executed, StoreError};

use crate::support::both_engines;
use crate::support::database::TestDatabase;
use crate::support::rows::account;
use crate::support::scenario::{refusal, request, unusable};

both_engines!(
    an_installation_begins_with_the_settings_and_statuses_of_the_design,
    every_setting_is_changed_and_kept,
    a_setting_that_cannot_be_read_is_refused,
    a_disconnect_status_must_exist_and_not_activate_accounts,
    a_disconnect_leads_to_the_status_that_is_set_when_it_runs,
    a_disconnect_status_broken_later_fails_the_event_with_what_to_do,
    statuses_are_added_once_and_listed_by_name,
    settings_are_read_afresh_by_other_processes,
    settings_that_cannot_be_read_are_each_found_and_each_mended,
);

fn status(name: &str, activates_account: bool) -> Status {
    Status { name: name.into(), activates_account }
}

async fn an_installation_begins_with_the_settings_and_statuses_of_the_design(db: &TestDatabase) {
    assert_eq!(db.store.settings().await.unwrap(), Settings::default());
    let statuses = [status("Active", true), status("Inactive", false), status("Lead", false)];
    assert_eq!(db.store.statuses().await.unwrap(), statuses);
}

async fn every_setting_is_changed_and_kept(db: &TestDatabase) {
    for (key, value) in [
        (SettingKey::DisconnectStatus, "Lead"),
        (SettingKey::CompanyZone, "America/New_York"),
        (SettingKey::CutoffTime, "17:30"),
        (SettingKey::Currency, "EUR"),
        (SettingKey::CampaignApprovalOver, "100"),
        (SettingKey::CampaignWindow, "mon-fri 09:00-17:00; sat 22:00-02:00 Europe/Berlin"),
        (SettingKey::CampaignHolidays, "2126-12-25 2127-01-01"),
        (SettingKey::CampaignHolidays, ""),
        (SettingKey::CampaignPausePercent, "25"),
    ] {
        let settings = db.store.change_setting(key, value).await.unwrap();
        assert_eq!(settings.value(key), value);
        assert_eq!(db.store.settings().await.unwrap(), settings);
    }
    // They count: the currency of new accounts, and what a date means.
    db.accounts([account("A-1")]).await;
    assert_eq!(db.account("A-1").await.currency.code(), "EUR");
    let event = db.event(db.scheduled("A-1").await).await;
    assert_eq!(event.due_at.to_rfc3339(), "2126-12-01T22:30:00+00:00");
}

async fn a_setting_that_cannot_be_read_is_refused(db: &TestDatabase) {
    for (key, value) in [
        (SettingKey::CompanyZone, "Mars"),
        (SettingKey::CutoffTime, "25:00"),
        (SettingKey::Currency, "XYZ"),
        (SettingKey::CampaignApprovalOver, "many"),
        (SettingKey::CampaignWindow, "mon"),
        (SettingKey::CampaignHolidays, "christmas"),
        (SettingKey::CampaignPausePercent, "0"),
    ] {
        let sentence = unusable(db.store.change_setting(key, value).await);
        assert!(sentence.contains(value), "{sentence}");
    }
    assert_eq!(db.store.settings().await.unwrap(), Settings::default());
}

async fn a_disconnect_status_must_exist_and_not_activate_accounts(db: &TestDatabase) {
    let set = async |value: &str| refusal(db.store.change_setting(SettingKey::DisconnectStatus, value).await);
    assert_eq!(set("Active").await, Refusal::DisconnectStatusActivates { name: "Active".into() });
    assert_eq!(set("Gone").await, Refusal::DisconnectStatusMissing { name: "Gone".into() });
    assert_eq!(db.store.settings().await.unwrap(), Settings::default());
}

async fn a_disconnect_leads_to_the_status_that_is_set_when_it_runs(db: &TestDatabase) {
    db.accounts([account("A-1")]).await;
    let order = db.queued("A-1").await;
    db.store.add_status(&status("Left", false)).await.unwrap();
    db.store.change_setting(SettingKey::DisconnectStatus, "Left").await.unwrap();
    db.disconnect(&[order]).await;
    assert_eq!(db.account("A-1").await.status, "Left");
}

async fn a_disconnect_status_broken_later_fails_the_event_with_what_to_do(db: &TestDatabase) {
    db.accounts([account("A-1"), account("A-2")]).await;
    let order = db.queued("A-1").await;
    for (break_it, mend_it) in [
        (
            "update account_statuses set activates_account = not activates_account where name = 'Inactive'",
            "update account_statuses set activates_account = not activates_account where name = 'Inactive'",
        ),
        (
            "update settings set value = 'Gone' where key = 'disconnect_status'",
            "update settings set value = 'Inactive' where key = 'disconnect_status'",
        ),
    ] {
        db.sql(break_it).await;
        let executed = db.disconnect(&[order]).await;
        let [Executed::Failed(failed)] = &executed[..] else { panic!("{executed:?}") };
        assert!(failed.error.contains("settings set disconnect_status"), "{}", failed.error);
        assert_eq!(db.state(order.event_id).await, State::Queued);
        // A disconnect that starts now would only fail; one on a date may be mended before.
        refusal(db.store.request(&request("A-2", "now")).await);
        db.sql(mend_it).await;
    }
    let executed = db.disconnect(&[order]).await;
    assert!(matches!(executed[..], [Executed::Completed { outcome: Outcome::Disconnected, .. }]), "{executed:?}");
}

async fn statuses_are_added_once_and_listed_by_name(db: &TestDatabase) {
    db.store.add_status(&status("Blocked", false)).await.unwrap();
    let again = refusal(db.store.add_status(&status("Blocked", true)).await);
    assert_eq!(again, Refusal::StatusExists { name: "Blocked".into() });
    let names: Vec<_> = db.store.statuses().await.unwrap().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["Active", "Blocked", "Inactive", "Lead"]);
    db.accounts([account("A-1").status("Blocked")]).await;
    let too_long = db.store.add_status(&status(&"x".repeat(65), false)).await;
    assert!(matches!(too_long, Err(StoreError::Rejected(_) | StoreError::Unusable(_))), "{too_long:?}");
}

async fn settings_are_read_afresh_by_other_processes(db: &TestDatabase) {
    let other = db.open().await;
    other.settings().await.unwrap();
    db.store.change_setting(SettingKey::CutoffTime, "06:00").await.unwrap();
    assert_eq!(other.settings().await.unwrap().value(SettingKey::CutoffTime), "06:00");
}

async fn settings_that_cannot_be_read_are_each_found_and_each_mended(db: &TestDatabase) {
    db.sql("update settings set value = 'Mars' where key = 'company_zone'").await;
    db.sql("update settings set value = 'noon' where key = 'cutoff_time'").await;
    let found = db.store.inspect().await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    for (key, sentence) in ["company_zone", "cutoff_time"].into_iter().zip(&found) {
        assert!(sentence.contains(key) && sentence.contains("can't be read"), "{sentence}");
    }
    unusable(db.store.settings().await);
    let settings = db.store.change_setting(SettingKey::CompanyZone, "Asia/Tokyo").await.unwrap();
    assert_eq!(settings.value(SettingKey::CompanyZone), "Asia/Tokyo");
    let sentence = unusable(db.store.settings().await);
    assert!(sentence.contains("cutoff_time"), "{sentence}");
    db.store.change_setting(SettingKey::CutoffTime, "12:00").await.unwrap();
    assert_eq!(db.store.settings().await.unwrap().value(SettingKey::CompanyZone), "Asia/Tokyo");
}
