//! Each kind of condition selects the same accounts on both engines, and never one that is disconnected.

use chrono::{Days, Timelike as _};
use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::refusal::Refusal;
use disconnectd::domain::settings::SettingKey;
use disconnectd::store::StoreError;
use disconnectd::store::campaigns::{Made, Making};

use crate::support::both_engines;
use crate::support::campaigns::filtered;
use crate::support::database::TestDatabase;
use crate::support::rows::{account, debit};

both_engines!(
    each_kind_of_condition_selects_the_same_accounts,
    what_is_invoiced_is_no_balance_and_has_no_age,
    the_age_of_a_debit_is_counted_to_today_in_the_companys_zone,
);

impl TestDatabase {
    /// The accounts that a filter selects, in order.
    pub async fn selected(&self, text: &str) -> Vec<String> {
        let (mut draft, cohort) = filtered("x", text);
        draft.everyone = true;
        match self.store.create_campaign(&draft, cohort, Making::QUIET).await {
            Ok(Made::Campaign(view)) => {
                let mut members = self.members(view.id).await;
                members.sort_unstable();
                assert_eq!(view.counts.accounts, i64::try_from(members.len()).unwrap(), "{text}");
                members
            }
            Err(StoreError::Refused(Refusal::EmptyCohort { .. })) => Vec::new(),
            other => panic!("{text}: {other:?}"),
        }
    }
}

async fn each_kind_of_condition_selects_the_same_accounts(db: &TestDatabase) {
    db.accounts([
        account("A-1")
            .name("Ada Lovelace")
            .groups(&["gold", "tower"])
            .address("1 Main St")
            .zone("Europe/Berlin")
            .email("a@b.c"),
        account("A-2").name("Bob 100% O'Hara").groups(&["tower"]),
        account("A-3").name("Çelik \"Ünal\"").parent("A-1").currency("EUR").address("Höhe_2"),
        account("A-4").name("none").status("Lead").groups(&["none"]).address("1 Main Street").zone("UTC"),
        account("A-5").name("Ada Old").groups(&["gold", "tower"]).address("1 Main St"),
        account("a-1").name("SHOUTING").currency("JPY").status("Inactive").parent("A-3").email("s@b.c"),
    ])
    .await;
    db.debits([
        debit("A-1", "d1", "10.00").tax("0.50").on("2026-01-05"),
        debit("A-1", "d2", "0.00").on("2026-02-01"),
        debit("A-2", "d1", "5.00").on("2025-12-31"),
        debit("A-3", "d1", "10.50").on("2026-01-06"),
        debit("a-1", "d1", "1050").on("2126-01-01"),
        debit("A-5", "d1", "99.00").on("2020-01-01"),
    ])
    .await;
    db.disconnected("A-5").await;
    let cases: &[(&str, &[&str])] = &[
        ("number = A-1", &["A-1"]),
        ("number != A-1", &["A-2", "A-3", "A-4", "a-1"]),
        ("number in (A-2, a-1, A-5, ghost)", &["A-2", "a-1"]),
        ("number not in (A-2, a-1)", &["A-1", "A-3", "A-4"]),
        ("name = \"Bob 100% O'Hara\"", &["A-2"]),
        ("name = 'Çelik \"Ünal\"'", &["A-3"]),
        ("name = ada", &[]),
        ("name ~ ada", &["A-1"]),
        ("name ~ '%'", &["A-2"]),
        ("name ~ \"o'h\"", &["A-2"]),
        ("name ~ 'ç'", &["A-3"]),
        ("name ~ 'üNAL'", &["A-3"]),
        ("name ~ '_'", &[]),
        ("name ~ shout", &["a-1"]),
        ("name !~ a", &["A-4", "a-1"]),
        ("status = Active", &["A-1", "A-2", "A-3"]),
        ("status != Active", &["A-4", "a-1"]),
        ("status in (Lead, Inactive)", &["A-4", "a-1"]),
        ("status = active", &[]),
        ("group = tower", &["A-1", "A-2"]),
        ("group != tower", &["A-3", "A-4", "a-1"]),
        ("group in (gold, none)", &["A-1", "A-3", "a-1"]),
        ("group = 'none'", &["A-4"]),
        ("group = none", &["A-3", "a-1"]),
        ("group not in (tower, none)", &["A-4"]),
        ("parent = A-1", &["A-3"]),
        ("parent != A-1", &["A-1", "A-2", "A-4", "a-1"]),
        ("parent = none", &["A-1", "A-2", "A-4"]),
        ("parent != none", &["A-3", "a-1"]),
        ("parent not in (A-1, none)", &["a-1"]),
        ("zone = Europe/Berlin", &["A-1"]),
        ("zone = UTC", &["A-2", "A-3", "A-4", "a-1"]),
        ("zone not in (UTC, Asia/Tokyo)", &["A-1"]),
        ("currency = EUR", &["A-3"]),
        ("currency != USD", &["A-3", "a-1"]),
        ("address = '1 Main St'", &["A-1"]),
        ("address ~ 'main st'", &["A-1", "A-4"]),
        ("address ~ 'HÖHE_'", &["A-3"]),
        ("address !~ main", &["A-2", "A-3", "a-1"]),
        ("address = none", &["A-2", "a-1"]),
        ("address != none", &["A-1", "A-3", "A-4"]),
        ("address != '1 Main St'", &["A-2", "A-3", "A-4", "a-1"]),
        ("balance = 10.50", &["A-1", "A-3"]),
        ("balance = 10.50 EUR", &["A-3"]),
        ("balance > 5", &["A-1", "A-3", "a-1"]),
        ("balance >= 5", &["A-1", "A-2", "A-3", "a-1"]),
        ("balance < 5.00", &["A-4"]),
        ("balance <= 5", &["A-2", "A-4"]),
        ("balance != 10.50", &["A-2", "A-4", "a-1"]),
        ("balance = 0", &["A-4"]),
        ("balance > 1049 JPY", &["a-1"]),
        ("balance < 1000 USD", &["A-1", "A-2", "A-4"]),
        ("oldest_debit = 2026-01-05", &["A-1"]),
        ("oldest_debit != 2026-01-05", &["A-2", "A-3", "a-1"]),
        ("oldest_debit < 2026-01-06", &["A-1", "A-2"]),
        ("oldest_debit <= 2026-01-06", &["A-1", "A-2", "A-3"]),
        ("oldest_debit > 2026-01-05", &["A-3", "a-1"]),
        ("oldest_debit >= 2026-01-05", &["A-1", "A-3", "a-1"]),
        ("not oldest_debit >= 2026-01-05", &["A-2", "A-4"]),
        ("debit_age < 0", &["a-1"]),
        ("debit_age > 1", &["A-1", "A-2", "A-3"]),
        ("not debit_age > 1", &["A-4", "a-1"]),
        ("group = tower and balance > 5", &["A-1"]),
        ("group = gold or status = Lead", &["A-1", "A-4"]),
        ("group = gold or status = Lead and zone = Asia/Tokyo", &["A-1"]),
        ("(group = gold or status = Lead) and zone = UTC", &["A-4"]),
        ("not (group = tower or currency = EUR)", &["A-4", "a-1"]),
        ("not not parent = none and not (name ~ ada and not address = none)", &["A-2", "A-4"]),
        ("number = 'x'' or 1=1 --'", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(db.selected(text).await, *expected, "{text}");
    }
    // Another zone of the company's is another zone of the accounts without one.
    db.store.change_setting(SettingKey::CompanyZone, "Asia/Tokyo").await.unwrap();
    assert_eq!(db.selected("zone = Asia/Tokyo").await, ["A-2", "A-3", "a-1"]);
    assert_eq!(db.selected("zone = UTC").await, ["A-4"]);
}

async fn what_is_invoiced_is_no_balance_and_has_no_age(db: &TestDatabase) {
    db.accounts(["A-1", "A-2"].map(account)).await;
    db.debits([debit("A-1", "old", "9.00").on("2026-01-05"), debit("A-2", "old", "9.00").on("2026-01-05")]).await;
    db.store.invoice_all(&Actor::new("clerk", Source::Cli)).await.unwrap();
    db.debits([debit("A-2", "new", "1.00").on("2026-03-01")]).await;
    assert_eq!(db.selected("balance = 0").await, ["A-1"]);
    assert_eq!(db.selected("balance = 1").await, ["A-2"]);
    assert_eq!(db.selected("oldest_debit < 2126-01-01").await, ["A-2"]);
    assert_eq!(db.selected("oldest_debit = 2026-03-01").await, ["A-2"]);
}

async fn the_age_of_a_debit_is_counted_to_today_in_the_companys_zone(db: &TestDatabase) {
    let now = db.store.now().await.unwrap();
    // Whatever the hour, one where the date is another than in UTC, and midnight is an hour away or more.
    let zone = if now.hour() >= 10 { chrono_tz::Pacific::Kiritimati } else { chrono_tz::Pacific::Pago_Pago };
    let today = now.with_timezone(&zone).date_naive();
    assert_ne!(today, now.date_naive());
    db.store.change_setting(SettingKey::CompanyZone, zone.name()).await.unwrap();
    db.accounts([account("A-1"), account("A-2").zone("UTC")]).await;
    let ago = |days: u64| (today - Days::new(days)).to_string();
    db.debits([debit("A-1", "d", "1.00").on(&ago(90)), debit("A-2", "d", "1.00").on(&ago(91))]).await;
    assert_eq!(db.selected("debit_age = 90").await, ["A-1"]);
    assert_eq!(db.selected("debit_age > 90").await, ["A-2"]);
    assert_eq!(db.selected("debit_age >= 90").await, ["A-1", "A-2"]);
    assert_eq!(db.selected("debit_age != 90").await, ["A-2"]);
    assert_eq!(db.selected("debit_age < 91").await, ["A-1"]);
    assert_eq!(db.selected("debit_age <= 89").await, [""; 0]);
}
