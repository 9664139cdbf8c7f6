use std::fmt::Write as _;
use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::When;
use crate::domain::text::TEXT_MAX;

const ACCOUNTS: &str = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n";
const DEBITS: &str = "account_number,reference,description,amount,tax,charged_on\n";

fn read_all<T: Row + Send + 'static>(bytes: impl Into<Vec<u8>>) -> Result<Vec<Result<T, Problem>>, String> {
    read_from(Cursor::new(bytes.into()))
}

fn read_from<T: Row + Send + 'static>(read: impl Read + Send + 'static) -> Result<Vec<Result<T, Problem>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut rows = rows(Source::new("a.csv", read)).await.map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while let Some(chunk) = rows.recv().await {
            assert!(!chunk.is_empty());
            all.extend(chunk);
        }
        Ok(all)
    })
}

/// Line and column of each problem, and the line of each row.
fn lines(text: &[u8]) -> Vec<(u64, &'static str)> {
    let rows = read_all::<AccountRow>([ACCOUNTS.as_bytes(), text].concat()).unwrap();
    rows.into_iter().map(|row| row.map_or_else(|p| (p.line, p.column), |row| (row.line, "ok"))).collect()
}

#[test]
fn a_whole_row() {
    let row = "  7590-VHVEG ,\"Ada \"\"A\"\" Lovelace\",Active,1,EUR,Europe/Berlin,\"1 Main St, #2\",a@b.c,\"L1\r\nL2\",b; a;;b\n";
    let rows = read_all::<AccountRow>(format!("{ACCOUNTS}{row}")).unwrap();
    let row = rows[0].as_ref().unwrap();
    assert_eq!(row.number.as_str(), "7590-VHVEG");
    assert_eq!(row.name, "Ada \"A\" Lovelace");
    assert_eq!(row.parent, Some(AccountNumber::parse("1").unwrap()));
    assert_eq!(row.currency.unwrap().code(), "EUR");
    assert_eq!(row.zone, Some(chrono_tz::Europe::Berlin));
    assert_eq!(row.address.as_deref(), Some("1 Main St, #2"));
    assert_eq!(row.contact.mailing_address.as_deref(), Some("L1\nL2"));
    assert_eq!(row.groups, ["a", "b"]);
}

#[test]
fn a_byte_order_mark_line_ends_and_the_order_of_columns_do_not_matter() {
    let text = "\u{feff}charged_on,amount,tax,description,reference,account_number\r\n2026-11-01,1.50,,Fee,r1,1\r\n\
                \r\n2026-11-02,2,0.10,\"Fee\",r2,1";
    for chunk in [1, 2, 3, 7, 4096] {
        let rows = read_from::<DebitRow>(Dribble { bytes: text.into(), at: 0, chunk }).unwrap();
        let row = rows[1].as_ref().unwrap();
        assert_eq!((row.line, row.reference.as_str(), row.amount.as_str(), row.tax.as_str()), (4, "r2", "2", "0.10"));
        assert_eq!(rows[0].as_ref().unwrap().line, 2);
    }
}

/// Gives a few bytes at a time, as a pipe may.
struct Dribble {
    bytes: Vec<u8>,
    at: usize,
    chunk: usize,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.chunk.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..read].copy_from_slice(&self.bytes[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

#[test]
fn a_wrong_header_is_named() {
    let error = |text: &str| read_all::<DebitRow>(text).unwrap_err();
    assert!(error("").contains("a.csv is empty; its first line must be the header account_number,"));
    assert!(error("\u{feff}\r\n").contains("is empty"));
    assert!(error("account_number,reference,description,amount,tax\n").contains("`charged_on` is missing"));
    assert!(error("account_number,amount,amount\n").contains("`amount` is there twice"));
    assert!(error("number,name\n").contains("there is no column `number`"));
    assert!(error("account_number;reference\n").contains("separated by commas"));
    assert!(error("\n\n\"account").contains("a.csv, line 3: the file ends within the quotes"));
    assert!(read_all::<DebitRow>(b"\xff\xfea\0".as_slice()).unwrap_err().contains("not UTF-8"));
}

#[test]
fn an_unreadable_file_is_named_with_the_reason() {
    let error = Source::open(Path::new("/nowhere/a.csv")).err().unwrap().to_string();
    assert!(error.starts_with("/nowhere/a.csv can't be read: No such file"), "{error}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = Source::open(Path::new("/")).unwrap();
    let error = runtime.block_on(account_rows(directory)).unwrap_err().to_string();
    assert!(error.starts_with("/ can't be read: "), "{error}");
}

#[test]
fn each_problem_names_its_line_and_column() {
    assert_eq!(
        lines(b"1,A,Active,,,,,,,\n2,,,,usd,Mars,,,,\n"),
        [(2, "ok"), (3, "name"), (3, "status"), (3, "currency"), (3, "zone"),]
    );
    assert_eq!(lines(b"1,A\x1b[2J,Active,,,,,,,\n1,A\0,Active,,,,,,,\n"), [(2, "name"), (3, "name")]);
    assert_eq!(lines(b"1,A\xff,Active,,,,,,,\n2,A,Active,,,,,,,\n"), [(2, "name"), (3, "ok")]);
    let long = "9".repeat(65);
    assert_eq!(lines(format!("{long},A,Active,{long},,,,,,\n").as_bytes()), [(2, "number"), (2, "parent_number")]);
    let long = "n".repeat(TEXT_MAX + 1);
    assert_eq!(lines(format!("1,{long},Active,,,,,,,").as_bytes()), [(2, "name")]);
}

#[test]
fn lines_are_those_of_the_file() {
    let text = b"1,A,Active,,,,,,\"x\r\ny\",\r\n\r\n2,A,Active,,,,,,,\r\n,,,,,,,,,\r\n3,A,Active,,,,,,,";
    assert_eq!(lines(text), [(2, "ok"), (5, "ok"), (7, "ok")]);
    assert_eq!(lines(b"1,A,Active,,,,,,\n2,A,Active,,,,,,,,\n"), [(2, ""), (3, "")]);
}

#[test]
fn a_file_that_is_cut_short_is_noticed() {
    assert_eq!(lines(b"1,A,Active,,,,,,,\n2,\"A,Active"), [(2, "ok"), (3, "")]);
    assert_eq!(lines(b"1,A,Active,,,,,,,\n2,A,Acti"), [(2, "ok"), (3, "")]);
    assert_eq!(lines(b"1,\"A\",Active,,,,,,,\"b\""), [(2, "ok")]);
}

#[test]
fn a_row_that_never_ends_takes_no_more_memory_than_others() {
    let long = "a".repeat(1 << 20);
    let text = format!("1,\"{long}\",Active,,,,,,,\n2,A,Active,,,,,,,\n3,{}\n", ",".repeat(1 << 20));
    assert_eq!(lines(text.as_bytes()), [(2, ""), (3, "ok"), (4, "")]);
    let endless = io::repeat(b'"').take(8 << 20);
    let rows = read_from::<AccountRow>(Cursor::new(ACCOUNTS).chain(endless)).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].is_err());
}

/// Fails once its bytes are read.
struct Torn(Cursor<Vec<u8>>);

impl Read for Torn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("torn")),
            read => Ok(read),
        }
    }
}

#[test]
fn a_file_that_tears_is_not_a_file_that_ends() {
    let text = format!("{ACCOUNTS}1,A,Active,,,,,,,\n2,A");
    let rows = read_from::<AccountRow>(Torn(Cursor::new(text.into_bytes()))).unwrap();
    assert!(rows[0].is_ok());
    assert_eq!(rows[1], Err(Problem::new(3, "", "the file can't be read on: torn")));
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_long_file_comes_in_chunks() {
    let mut text = DEBITS.to_owned();
    let number = 3 * CHUNK_ROWS + 1;
    for i in 0..number {
        writeln!(text, "1,r{i},Fee,1,,2026-11-01").unwrap();
    }
    let rows = read_all::<DebitRow>(text).unwrap();
    assert_eq!(rows.len(), number);
    assert!(rows.iter().enumerate().all(|(i, row)| row.as_ref().unwrap().line == i as u64 + 2));
}

#[test]
fn amounts_and_dates_of_debits() {
    let row = |row: &str| {
        let rows = read_all::<DebitRow>(format!("{DEBITS}{row}\n")).unwrap();
        rows.into_iter().map(|row| row.err().map_or("ok", |problem| problem.column)).collect::<Vec<_>>()
    };
    assert_eq!(row("1,r,Fee,1.5,,2026-11-31"), ["charged_on"]);
    assert_eq!(row("1,r,Fee,,,2026-11-30"), ["amount"]);
    assert_eq!(row(&format!("1,r,Fee,{},,2026-11-30", "1".repeat(41))), ["amount"]);
    assert_eq!(row("1,,,1,1,2026-11-30"), ["reference", "description"]);
}

/// The rows of a campaign's list, or the problems.
fn members(text: &str) -> Vec<Result<MemberRow, Problem>> {
    read_all::<MemberRow>(text).unwrap()
}

#[test]
fn a_list_of_account_numbers_needs_no_other_column() {
    for header in ["account_number", "number"] {
        let rows = members(&format!("{header}\n A-1 \n\nA-2\n"));
        let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
        let row =
            |line, account| MemberRow { line, account: AccountNumber::parse(account).unwrap(), on: None, reason: None };
        assert_eq!(rows, [row(2, "A-1"), row(4, "A-2")]);
    }
}

#[test]
fn a_list_may_have_dates_and_reasons_in_any_order() {
    let rows = members("reason,number,date\n\"moved\r\naway\",A-1,2126-12-01\n,A-2,now\n x ,A-3,\n");
    let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
    let row = |at: usize| (rows[at].account.as_str(), rows[at].on, rows[at].reason.as_deref());
    assert_eq!(row(0), ("A-1", Some(When::parse("2126-12-01").unwrap()), Some("moved\naway")));
    assert_eq!(row(1), ("A-2", Some(When::Now), None));
    assert_eq!(row(2), ("A-3", None, Some("x")));
    let rows = members("date,account_number\n2126-12-01T09:30,A-1\n");
    assert_eq!(rows[0].as_ref().unwrap().on, Some(When::parse("2126-12-01T09:30").unwrap()));
}

#[test]
fn a_wrong_header_of_a_list_is_named_with_the_columns_there_are() {
    let error = |text: &str| read_all::<MemberRow>(text).unwrap_err();
    assert!(error("").contains("its first line must be the header account_number,[date],[reason]"));
    let unknown = error("account_number,when\n");
    assert!(unknown.contains("there is no column `when`") && unknown.contains("account_number,[date],[reason]"));
    assert!(error("date,reason\n").contains("the column `account_number` is missing"));
    for twice in ["account_number,number\n", "number,number\n"] {
        assert!(error(twice).contains("the column `account_number` is there twice"));
    }
    assert!(error("number,date,date\n").contains("the column `date` is there twice"));
    // An accounts file's alias is not one.
    assert!(read_all::<DebitRow>("number\n").unwrap_err().contains("there is no column `number`"));
}

#[test]
fn each_problem_of_a_list_names_its_line_and_column() {
    let long = "r".repeat(TEXT_MAX + 1);
    let text = format!("number,date,reason\n,tomorrow,a\tb\nA-1\nA-2,,{long}\n\nA-3,2126-13-01,\nA-4,,\n");
    let rows = members(&text);
    let found: Vec<_> =
        rows.into_iter().map(|row| row.map_or_else(|p| (p.line, p.column), |row| (row.line, "ok"))).collect();
    let of_line_2 = [(2, "account_number"), (2, "date"), (2, "reason")];
    assert_eq!(found[..3], of_line_2);
    assert_eq!(found[3..], [(3, ""), (4, "reason"), (6, "date"), (7, "ok")]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in proptest::collection::vec(
            prop_oneof![4 => Just(b','), 2 => Just(b'"'), 2 => Just(b'\n'), 1 => Just(b'\r'), 6 => any::<u8>()],
            0..400,
        ),
        chunk in 1_usize..50,
    ) {
        let _ = read_all::<AccountRow>(bytes.clone());
        let with_header = [ACCOUNTS.as_bytes(), &bytes].concat();
        let whole = read_all::<AccountRow>(with_header.clone()).unwrap();
        // However the bytes arrive, they say the same.
        prop_assert_eq!(&whole, &read_from::<AccountRow>(Dribble { bytes: with_header, at: 0, chunk }).unwrap());
        for problem in whole.iter().filter_map(|row| row.as_ref().err()) {
            prop_assert!(!problem.message.contains("bug"), "{}", problem.message);
        }
    }

    #[test]
    fn what_was_written_is_read(
        names in proptest::collection::vec("[ -~\u{a0}-\u{d7ff}]{1,40}", 1..20),
    ) {
        prop_assume!(names.iter().all(|name| !name.trim().is_empty() && !name.chars().any(char::is_control)));
        let mut writer = csv::Writer::from_writer(ACCOUNTS.as_bytes().to_vec());
        for (i, name) in names.iter().enumerate() {
            writer.write_record([&i.to_string(), name, "Active", "", "", "", "", "", "", ""]).unwrap();
        }
        let rows = read_all::<AccountRow>(writer.into_inner().unwrap()).unwrap();
        let read: Vec<_> = rows.into_iter().map(|row| row.unwrap().name).collect();
        let written: Vec<_> = names.iter().map(|name| name.trim().to_owned()).collect();
        prop_assert_eq!(read, written);
    }
}
