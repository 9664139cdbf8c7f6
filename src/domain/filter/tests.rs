use proptest::prelude::*;

use super::*;
use crate::domain::calendar::{parse_date, parse_zone};
use crate::domain::sample::number;

/// An account of a household, with 120.50 USD that was charged on 2026-09-01, asked about on 2026-12-01.
struct Account {
    number: AccountNumber,
    groups: Vec<String>,
    parent: Option<AccountNumber>,
    currency: &'static str,
    balance: i64,
    oldest_debit: Option<NaiveDate>,
    address: Option<&'static str>,
}

fn account() -> Account {
    Account {
        number: number("1002"),
        groups: vec!["tower-3".into(), "Plan Gold".into()],
        parent: Some(number("1001")),
        currency: "USD",
        balance: 12_050,
        oldest_debit: Some(parse_date("2026-09-01").unwrap()),
        address: Some("12 Elm Street"),
    }
}

impl Account {
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            number: &self.number,
            name: "Ada Lovelace",
            status: "Active",
            groups: &self.groups,
            parent: self.parent.as_ref(),
            zone: parse_zone("America/New_York").unwrap(),
            currency: Currency::parse(self.currency).unwrap(),
            balance: self.balance,
            oldest_debit: self.oldest_debit,
            address: self.address,
            today: parse_date("2026-12-01").unwrap(),
        }
    }

    #[track_caller]
    fn matches(&self, text: &str) -> bool {
        Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(&self.candidate())
    }

    #[track_caller]
    fn is(&self, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(self.matches(text), "{text}");
        }
        for text in others {
            assert!(!self.matches(text), "{text}");
        }
    }
}

fn alone() -> Account {
    Account { groups: vec![], parent: None, balance: 0, oldest_debit: None, address: None, ..account() }
}

#[test]
fn what_an_account_is_called_is_compared_exactly() {
    account().is(
        &[
            "status = Active",
            "status in (Lead, Active)",
            "status != Lead",
            "status not in (Lead, Inactive)",
            "number = 1002",
            "number in (1, 1002)",
            "NAME = 'Ada Lovelace'",
            "zone = America/New_York",
            "zone != Europe/Berlin",
            "zone in (UTC, America/New_York)",
            "currency = USD",
            "currency != EUR",
        ],
        &[
            "status = active",
            "status != Active",
            "status not in (Lead, Active)",
            "number = 100",
            "name = Ada",
            "zone = US/Eastern",
            "currency in (EUR, JPY)",
        ],
    );
}

#[test]
fn an_account_has_or_has_not_one_of_the_groups() {
    account().is(
        &["group = tower-3", "group in (x, \"Plan Gold\")", "group != x", "group not in (x, y)", "group != none"],
        &["group = x", "group != tower-3", "group not in (x, tower-3)", "group = none", "group = Tower-3"],
    );
    alone().is(&["group = none", "group != tower-3"], &["group != none", "group = \"none\""]);
}

#[test]
fn none_is_what_is_missing_and_in_quotes_a_value() {
    account().is(
        &["parent = 1001", "parent != none", "parent in (none, 1001)", "address != NONE", "parent != \"none\""],
        &["parent = none", "parent != 1001", "address = none", "parent = 'none'"],
    );
    alone().is(
        &["parent = none", "address = None", "parent != 1001", "parent not in (1001)", "address !~ elm"],
        &["parent != none", "parent = \"none\"", "address = 'none'", "address ~ elm"],
    );
    let child_of_none = Account { parent: Some(number("none")), ..account() };
    child_of_none.is(&["parent = \"none\"", "parent != none"], &["parent = none"]);
}

#[test]
fn a_text_is_contained_whatever_the_case() {
    account().is(
        &[
            "address ~ \"elm STREET\"",
            "address = \"12 Elm Street\"",
            "name ~ 'LOVE'",
            "name !~ x",
            "address !~ 'oak'",
            "address in ('12 Elm Street', none)",
        ],
        &["address ~ oak", "address = \"12 elm street\"", "name !~ ada"],
    );
    let abroad = Account { address: Some("Ärztehaus ΟΔΟΣ"), ..account() };
    abroad.is(&["address ~ ärzte", "address ~ ÄRZTE", "address ~ οδος"], &["address ~ arzte"]);
}

#[test]
fn a_balance_is_compared_exactly_in_the_units_of_the_accounts_currency() {
    account().is(
        &[
            "balance = 120.5",
            "balance = 120.50000",
            "balance >= 120.50",
            "balance <= 00120.50",
            "balance > 120.499999999999999999",
            "balance < 120.500000000000000001",
            "balance != 120.505",
            "balance > -1",
            "balance < 9999999999999999999",
        ],
        &["balance = 12050", "balance > 120.50", "balance < 120.5", "balance = 120.505", "balance < -0"],
    );
    let yen = Account { currency: "JPY", balance: 120, ..account() };
    yen.is(&["balance = 120.00", "balance < 120.01", "balance > 119.99"], &["balance = 120.01"]);
    let most = Account { balance: i64::MAX, ..account() };
    most.is(&["balance > 92233720368547758.069999999999999999", "balance = 92233720368547758.07"], &[]);
    let most = Account { balance: i64::MAX, currency: "JPY", ..account() };
    most.is(
        &["balance < 9999999999999999999.999999999999999999", "balance = 9223372036854775807"],
        &["balance = 9223372036854775806.999999999999999999"],
    );
    let least = Account { balance: i64::MIN, currency: "KWD", ..account() };
    least.is(&["balance > -9999999999999999999.5", "balance < 0"], &[]);
}

#[test]
fn a_currency_behind_an_amount_leaves_out_accounts_of_another() {
    account().is(
        &["balance > 0 USD", "balance >= 120.50 USD and status = Active", "(balance = 120.5 USD)"],
        &["balance > 0 EUR", "balance < 0 EUR", "balance != 0 EUR", "balance != 120.50 EUR"],
    );
}

#[test]
fn the_oldest_debit_has_a_date_and_an_age_in_whole_days() {
    account().is(
        &[
            "oldest_debit = 2026-09-01",
            "oldest_debit != 2026-09-02",
            "oldest_debit < 2026-09-02",
            "oldest_debit <= 2026-09-01",
            "oldest_debit >= 2026-09-01",
            "oldest_debit > 2026-08-31",
            "debit_age = 91",
            "debit_age > 90",
            "debit_age > -1",
        ],
        &["oldest_debit < 2026-09-01", "debit_age > 91", "debit_age != 91"],
    );
}

#[test]
fn without_a_debit_no_comparison_of_its_date_or_age_holds() {
    for operator in Comparison::ALL.map(Comparison::as_str) {
        alone().is(&[], &[&format!("oldest_debit {operator} 2026-09-01"), &format!("debit_age {operator} 0")]);
    }
    alone().is(&["not debit_age > 90", "balance = 0"], &[]);
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    account().is(
        &[
            "status = Active or status = Lead and number = 1",
            "NOT status = Lead And number = 1002",
            "not (status = Lead or number = 1)",
            "not not status = Active",
            "not(status=Lead)and(number=1002)",
            "status = Active\n\tand number = 1002",
        ],
        &["(status = Active or status = Lead) and number = 1", "not status = Active or number = 1"],
    );
}

#[test]
fn a_doubled_quote_is_one_and_the_other_kind_needs_none() {
    let parse = |text: &str| Filter::parse(text).unwrap().expression;
    let name = |text: &str| Expression::Is(Condition::Name(OneOf { negated: false, values: vec![text.to_owned()] }));
    assert_eq!(parse("name = \"O'Brien \"\"Bob\"\"\""), name("O'Brien \"Bob\""));
    assert_eq!(parse("name = 'O''Brien \"Bob\"'"), name("O'Brien \"Bob\""));
    assert_eq!(parse("name = \"and\""), name("and"));
    assert_eq!(parse("name = a-b_c./:+@#&*;"), name("a-b_c./:+@#&*;"));
}

#[test]
fn what_cannot_be_read_is_refused_with_where_what_and_the_fields() {
    for (text, character, parts) in [
        ("", 1, ["found the end", "expected a condition"]),
        ("  ", 1, ["found the end", "expected a condition"]),
        ("colour = red", 1, ["found `colour`", "expected a condition"]),
        ("status", 7, ["found the end", "expected =, !=, in, or not in behind status"]),
        ("status < Active", 8, ["found `<`", "expected =, !=, in, or not in"]),
        ("status ~ Act", 8, ["found `~`", "expected =, !=, in, or not in"]),
        ("balance in (1)", 9, ["found `in`", "expected =, !=, <"]),
        ("status = Active number = 1", 17, ["found `number`", "expected and, or, or the end"]),
        ("status = and number = 1", 10, ["found `and`", "expected a value"]),
        ("status in Active", 11, ["found `Active`", "expected a list"]),
        ("status in ()", 12, ["found `)`", "expected a value"]),
        ("status in (a b)", 14, ["found `b`", "expected `,` or `)`"]),
        ("status in (a", 13, ["found the end", "expected `,` or `)`"]),
        ("status not = a", 12, ["found `=`", "expected in behind not"]),
        ("(status = a", 12, ["found the end", "expected and, or, or `)`"]),
        ("status = a)", 11, ["found `)`", "expected and, or, or the end"]),
        ("status == a", 9, ["found `=`", "expected a value"]),
        ("status ! a", 8, ["found `!`", "expected !="]),
        ("name = \"é\" or name = \"Ada", 22, ["the quote", "never closed"]),
        ("name = \"\"", 8, ["found an empty text", "expected a value"]),
        ("number = ''", 10, ["an account number is missing", ""]),
        ("name = a\0b", 8, ["control character", ""]),
        ("zone = Mars", 8, ["`Mars` is not an IANA time zone", ""]),
        ("currency = XYZ", 12, ["`XYZ` is not an ISO 4217", ""]),
        ("balance > 1e3", 11, ["`1e3` is not an amount", ""]),
        ("balance > 10000000000000000000", 11, ["more than any balance", ""]),
        ("balance > 0.1234567890123456789", 11, ["more decimals", ""]),
        ("balance > 0 XYZ", 13, ["`XYZ` is not an ISO 4217", ""]),
        ("oldest_debit < 2026-02-30", 16, ["`2026-02-30` is not a date", ""]),
        ("oldest_debit = none", 16, ["`none` is not a date", ""]),
        ("debit_age > 1.5", 13, ["`1.5` is not a number of days", ""]),
    ] {
        let error = Filter::parse(text).expect_err(text);
        assert!(error.contains(&format!("at character {character}:")), "{text}: {error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        assert!(error.contains("the fields are number, name, status"), "{text}: {error}");
    }
}

#[test]
fn length_and_nesting_are_bounded() {
    let nested = |depth| format!("{}status = a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(NESTING_MAX)).is_ok());
    assert!(Filter::parse(&nested(NESTING_MAX + 1)).unwrap_err().contains("more than 32 deep"));
    assert!(Filter::parse(&nested(2_000)).unwrap_err().contains("more than 32 deep"));
    assert!(Filter::parse(&format!("{}status = a", "not ".repeat(33))).unwrap_err().contains("more than 32 deep"));
    let long = |length| format!("name = {}", "a".repeat(length - "name = ".len()));
    assert!(Filter::parse(&long(TEXT_MAX)).is_ok());
    assert!(Filter::parse(&long(TEXT_MAX + 1)).unwrap_err().contains("4096 bytes"));
    let wide = vec!["number=1"; 200].join(" or ");
    assert!(Filter::parse(&wide).is_ok(), "a long chain is not a deep one");
}

#[test]
fn the_text_stays_as_it_was_given() {
    let filter = Filter::parse("  status=Active   AND not number in ( 1 ) ").unwrap();
    assert_eq!(filter.text(), "status=Active   AND not number in ( 1 )");
    assert_eq!(serde_json::to_string(&filter).unwrap(), "\"status=Active   AND not number in ( 1 )\"");
}

#[test]
fn what_does_not_hold_is_named_with_what_the_account_has() {
    let account = account();
    let why = |text: &str| Filter::parse(text).unwrap().why_not(&account.candidate());
    let is = |text: &str, sentence: &str| assert_eq!(why(text).as_deref(), Some(sentence), "{text}");
    assert_eq!(why("status = Active and balance > 0"), None);
    is("status = Lead", "status = Lead no longer holds: the status is Active");
    is(
        "status = Active and (group = x and balance >= 200.00 USD) and number in (1, 2)",
        "group = x no longer holds: the groups are tower-3, Plan Gold; balance >= 200 USD no longer holds: the balance \
         is 120.50 USD; number in (1, 2) no longer holds: the number is 1002",
    );
    is(
        "status = Lead or status = Gone or debit_age > 365",
        "status = Lead or status = Gone or debit_age > 365 no longer holds: the status is Active, the oldest debit is \
         91 days old",
    );
    is("not (address ~ elm)", "not address ~ elm no longer holds: the address is 12 Elm Street");
    is("parent = none", "parent = none no longer holds: the parent is 1001");
    is("oldest_debit < 2026-01-01", "oldest_debit < 2026-01-01 no longer holds: the oldest debit is of 2026-09-01");
    is("zone = UTC", "zone = UTC no longer holds: the zone is America/New_York");
    let five = why("number=1 and number=2 and number=3 and number=4 and number=5").unwrap();
    assert_eq!(five.matches("no longer holds").count(), 3);

    let alone = alone();
    let why = Filter::parse("parent = 1001 and address ~ elm and debit_age > 1").unwrap().why_not(&alone.candidate());
    let sentence = "parent = 1001 no longer holds: there is no parent; address ~ elm no longer holds: there is no \
                    address; debit_age > 1 no longer holds: there is no uninvoiced debit";
    assert_eq!(why.as_deref(), Some(sentence));
}

fn values<T: Clone + fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = OneOf<T>> {
    let values = proptest::collection::vec(value, 1..4);
    (any::<bool>(), values).prop_map(|(negated, values)| OneOf { negated, values })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just("none".to_owned()), Just("AND".to_owned()), "[a-c\"' ()=~,]{1,6}", "\\PC{1,8}",]
}

fn any_number() -> impl Strategy<Value = AccountNumber> {
    any_text().prop_filter_map("blank", |text| AccountNumber::parse(&text).ok())
}

fn any_contains() -> impl Strategy<Value = Contains> {
    (any::<bool>(), any_text()).prop_map(|(negated, text)| Contains { negated, text })
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let zone = proptest::sample::select(chrono_tz::TZ_VARIANTS.to_vec());
    let currency =
        || proptest::sample::select(vec!["USD", "JPY", "KWD"]).prop_map(|code| Currency::parse(code).unwrap());
    let comparison = || proptest::sample::select(Comparison::ALL.to_vec());
    let amount = "-?[0-9]{1,19}(\\.[0-9]{1,18})?".prop_map(|text| Amount::parse(&text).unwrap());
    let date = (1..3_000_000).prop_map(|day| NaiveDate::from_num_days_from_ce_opt(day).unwrap());
    prop_oneof![
        values(any_number()).prop_map(Condition::Number),
        values(any_text()).prop_map(Condition::Name),
        any_contains().prop_map(Condition::NameHas),
        values(any_text()).prop_map(Condition::Status),
        values(proptest::option::of(any_text())).prop_map(Condition::Group),
        values(proptest::option::of(any_number())).prop_map(Condition::Parent),
        values(zone).prop_map(Condition::Zone),
        values(currency()).prop_map(Condition::Currency),
        values(proptest::option::of(any_text())).prop_map(Condition::Address),
        any_contains().prop_map(Condition::AddressHas),
        (comparison(), amount, proptest::option::of(currency()))
            .prop_map(|(comparison, amount, currency)| Condition::Balance(comparison, amount, currency)),
        (comparison(), date).prop_map(|(comparison, date)| Condition::OldestDebit(comparison, date)),
        (comparison(), any::<i32>()).prop_map(|(comparison, days)| Condition::DebitAge(comparison, days.into())),
    ]
}

fn any_expression() -> impl Strategy<Value = Expression> {
    any_condition().prop_map(Expression::Is).prop_recursive(4, 12, 3, |inner| {
        let parts = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts.clone().prop_map(Expression::All),
            parts.prop_map(Expression::Any),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn words_of_the_language_in_any_order_are_read_or_refused(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "status", "balance", "debit_age", "address", "=", "!=", "~", "!~", "in", "not", "and", "or", "(", ")",
                ",", "none", "1", "-9.5", "\"", "'", "USD", "é",
            ]),
            0..20,
        )
    ) {
        let account = account();
        if let Ok(filter) = Filter::parse(&words.join(" ")) {
            prop_assert_eq!(filter.matches(&account.candidate()), filter.why_not(&account.candidate()).is_none());
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_expression(expression in any_expression()) {
        let text = expression.to_string();
        prop_assume!(text.len() <= TEXT_MAX);
        prop_assert_eq!(Filter::parse(&text).map(|filter| filter.expression), Ok(expression));
    }

    #[test]
    fn it_matches_or_says_why_not(expression in any_expression(), with_debit in any::<bool>()) {
        let account = if with_debit { account() } else { alone() };
        let filter = Filter { text: String::new(), expression };
        prop_assert_eq!(filter.matches(&account.candidate()), filter.why_not(&account.candidate()).is_none());
    }
}
