//! Reads an expression: into words first, then by recursive descent.

use chrono_tz::Tz;

use super::amount::Amount;
use super::evaluate::shown;
use super::{
    Comparison, Condition, Contains, Expression, Field, KEYWORDS, NESTING_MAX, NONE, OneOf, TEXT_MAX, is_bare,
};
use crate::domain::account::AccountNumber;
use crate::domain::calendar;
use crate::domain::money::Currency;

pub(super) fn parse(text: &str) -> Result<Expression, String> {
    if text.len() > TEXT_MAX {
        return Err(format!(
            "the filter has more than {TEXT_MAX} bytes; name the accounts in a file instead (`--accounts`)"
        ));
    }
    let read = || {
        let mut parser = Parser { words: words(text)?.into_iter().peekable(), end: text.len() };
        let expression = parser.any(0)?;
        match parser.words.next() {
            None => Ok(expression),
            Some((at, word)) => Err(unexpected(at, &word, "and, or, or the end")),
        }
    };
    read().map_err(|Trouble { at, why }| {
        // A byte offset says little to a person; `at` comes from `char_indices` or is the end.
        let character = text.get(..at).unwrap_or(text).chars().count() + 1;
        let fields = Field::ALL.map(Field::as_str).join(", ");
        format!("the filter can't be read at character {character}: {why}; the fields are {fields}")
    })
}

/// Where it can't be read (a byte offset), and why.
struct Trouble {
    at: usize,
    why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// Without quotes: a field, a keyword or a value.
    Bare(String),
    Quoted(String),
    Operator(&'static str),
    Open,
    Close,
    Comma,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Bare(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn shown(&self) -> String {
        match self {
            Self::Bare(word) => format!("`{}`", shown(word)),
            Self::Quoted(text) => format!("the text \"{}\"", shown(text)),
            Self::Operator(operator) => format!("`{operator}`"),
            Self::Open => "`(`".into(),
            Self::Close => "`)`".into(),
            Self::Comma => "`,`".into(),
        }
    }
}

/// Longer ones first, so that `<=` is not read as `<`.
const OPERATORS: [&str; 8] = ["!=", "!~", "<=", ">=", "=", "~", "<", ">"];

fn words(text: &str) -> Result<Vec<(usize, Word)>, Trouble> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(words) };
        let (word, after) = if let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            (Word::Operator(operator), &rest[operator.len()..])
        } else {
            match first {
                '(' => (Word::Open, &rest[1..]),
                ')' => (Word::Close, &rest[1..]),
                ',' => (Word::Comma, &rest[1..]),
                '"' | '\'' => {
                    let (value, after) = quoted(rest, first).ok_or_else(|| Trouble {
                        at,
                        why: format!("the quote {first} that opens here is never closed"),
                    })?;
                    (Word::Quoted(value), after)
                }
                '!' => return Err(Trouble { at, why: "found `!`, expected != or !~ or not".into() }),
                _ => {
                    let (word, after) = rest.split_at(rest.find(|c| !is_bare(c)).unwrap_or(rest.len()));
                    (Word::Bare(word.to_owned()), after)
                }
            }
        };
        // No database keeps a NUL, and no name has another.
        if let Word::Bare(value) | Word::Quoted(value) = &word
            && value.chars().any(|c| c.is_control() && c != '\n')
        {
            return Err(Trouble { at, why: "found a control character in a word".into() });
        }
        words.push((at, word));
        rest = after;
    }
}

/// The text up to the closing quote, and what is behind that.
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c != quote {
            value.push(c);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            value.push(quote);
        } else {
            return Some((value, &rest[at + quote.len_utf8()..]));
        }
    }
    None
}

fn unexpected(at: usize, found: &Word, expected: &str) -> Trouble {
    Trouble { at, why: format!("found {}, expected {expected}", found.shown()) }
}

struct Parser {
    words: std::iter::Peekable<std::vec::IntoIter<(usize, Word)>>,
    end: usize,
}

impl Parser {
    fn any(&mut self, depth: usize) -> Result<Expression, Trouble> {
        let first = self.all(depth)?;
        self.joined("or", first, Expression::Any, |parser| parser.all(depth))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, Trouble> {
        let first = self.one(depth)?;
        self.joined("and", first, Expression::All, |parser| parser.one(depth))
    }

    fn joined(
        &mut self,
        keyword: &str,
        first: Expression,
        join: fn(Vec<Expression>) -> Expression,
        next: impl Fn(&mut Self) -> Result<Expression, Trouble>,
    ) -> Result<Expression, Trouble> {
        let mut more = Vec::new();
        while self.takes(keyword) {
            more.push(next(self)?);
        }
        if more.is_empty() {
            return Ok(first);
        }
        more.insert(0, first);
        Ok(join(more))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, Trouble> {
        let expected = "a condition such as status = Active";
        let (at, word) = self.next(expected)?;
        if depth >= NESTING_MAX && (word == Word::Open || word.is("not")) {
            return Err(Trouble { at, why: format!("it is nested more than {NESTING_MAX} deep") });
        }
        if word == Word::Open {
            let inner = self.any(depth + 1)?;
            return match self.next("and, or, or `)`")? {
                (_, Word::Close) => Ok(inner),
                (at, found) => Err(unexpected(at, &found, "and, or, or `)`")),
            };
        }
        if word.is("not") {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        let field = Field::ALL.into_iter().find(|field| word.is(field.as_str()));
        match field {
            Some(field) => self.condition(field).map(Expression::Is),
            None => Err(unexpected(at, &word, expected)),
        }
    }

    fn condition(&mut self, field: Field) -> Result<Condition, Trouble> {
        use super::Field::{Address, Balance, DebitAge, Group, Name, Number, OldestDebit, Parent, Status, Zone};
        let operators = match field {
            Status | Group | Parent | Zone | Field::Currency => "=, !=, in, or not in",
            Number | Name | Address => "=, !=, in, not in, ~, or !~",
            Balance | OldestDebit | DebitAge => "=, !=, <, <=, >, or >=",
        };
        let expected = format!("{operators} behind {}", field.as_str());
        let (at, word) = self.next(&expected)?;
        match field {
            Balance => {
                let comparison = comparison(at, &word, &expected)?;
                let amount = self.value("an amount such as 100.00", Amount::parse)?;
                Ok(Condition::Balance(comparison, amount, self.currency_behind()?))
            }
            OldestDebit => {
                let comparison = comparison(at, &word, &expected)?;
                self.value("a date such as 2026-09-01", calendar::parse_date)
                    .map(|date| Condition::OldestDebit(comparison, date))
            }
            DebitAge => {
                let comparison = comparison(at, &word, &expected)?;
                self.value("a number of days", parse_days).map(|days| Condition::DebitAge(comparison, days))
            }
            Number | Name | Address if matches!(word, Word::Operator("~" | "!~")) => {
                let sought = self.value("a text to look for", text)?;
                let contains = Contains { negated: word == Word::Operator("!~"), text: sought };
                Ok(match field {
                    Number => Condition::NumberHas(contains),
                    Name => Condition::NameHas(contains),
                    _ => Condition::AddressHas(contains),
                })
            }
            Number => self.one_of(at, &word, &expected, exactly(AccountNumber::parse)).map(Condition::Number),
            Name => self.one_of(at, &word, &expected, exactly(text)).map(Condition::Name),
            Status => self.one_of(at, &word, &expected, exactly(text)).map(Condition::Status),
            Group => self.one_of(at, &word, &expected, or_none(text)).map(Condition::Group),
            Parent => self.one_of(at, &word, &expected, or_none(AccountNumber::parse)).map(Condition::Parent),
            Zone => self.one_of(at, &word, &expected, exactly::<Tz>(calendar::parse_zone)).map(Condition::Zone),
            Field::Currency => self.one_of(at, &word, &expected, exactly(Currency::parse)).map(Condition::Currency),
            Address => self.one_of(at, &word, &expected, or_none(text)).map(Condition::Address),
        }
    }

    /// What is behind `=`, `!=`, `in` and `not in`; `word` is the operator.
    fn one_of<T>(
        &mut self,
        at: usize,
        word: &Word,
        expected: &str,
        read: impl Fn(&Word) -> Result<T, String>,
    ) -> Result<OneOf<T>, Trouble> {
        let (negated, list) = match word {
            Word::Operator("=") => (false, false),
            Word::Operator("!=") => (true, false),
            word if word.is("in") => (false, true),
            word if word.is("not") => match self.next("in")? {
                (_, found) if found.is("in") => (true, true),
                (at, found) => return Err(unexpected(at, &found, "in behind not")),
            },
            word => return Err(unexpected(at, word, expected)),
        };
        if !list {
            return Ok(OneOf { negated, values: vec![self.value_word("a value", &read)?] });
        }
        let open = "a list such as (a, b)";
        match self.next(open)? {
            (_, Word::Open) => {}
            (at, found) => return Err(unexpected(at, &found, open)),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value_word("a value", &read)?);
            match self.next("`,` or `)`")? {
                (_, Word::Comma) => {}
                (_, Word::Close) => return Ok(OneOf { negated, values }),
                (at, found) => return Err(unexpected(at, &found, "`,` or `)`")),
            }
        }
    }

    fn value<T>(&mut self, expected: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, Trouble> {
        self.value_word(expected, &exactly(read))
    }

    fn value_word<T>(&mut self, expected: &str, read: &impl Fn(&Word) -> Result<T, String>) -> Result<T, Trouble> {
        let (at, word) = self.next(expected)?;
        let trouble = match &word {
            // Most likely the value was forgotten, and this belongs to what follows.
            Word::Bare(_) if KEYWORDS.iter().any(|keyword| word.is(keyword)) => {
                unexpected(at, &word, &format!("{expected} (in quotes, if that is it)"))
            }
            Word::Bare(_) | Word::Quoted(_) => return read(&word).map_err(|why| Trouble { at, why }),
            _ => unexpected(at, &word, expected),
        };
        Err(trouble)
    }

    /// Behind an amount: what is no `and`, `or` or parenthesis.
    fn currency_behind(&mut self) -> Result<Option<Currency>, Trouble> {
        match self.words.peek() {
            Some((_, word @ Word::Bare(_))) if !word.is("and") && !word.is("or") => {
                self.value("a currency", Currency::parse).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn next(&mut self, expected: &str) -> Result<(usize, Word), Trouble> {
        let at_end = || Trouble { at: self.end, why: format!("found the end, expected {expected}") };
        self.words.next().ok_or_else(at_end)
    }

    fn takes(&mut self, keyword: &str) -> bool {
        self.words.next_if(|(_, word)| word.is(keyword)).is_some()
    }
}

fn comparison(at: usize, word: &Word, expected: &str) -> Result<Comparison, Trouble> {
    Comparison::ALL
        .into_iter()
        .find(|comparison| *word == Word::Operator(comparison.as_str()))
        .ok_or_else(|| unexpected(at, word, expected))
}

/// A value by its text, with or without quotes.
fn exactly<T>(read: impl Fn(&str) -> Result<T, String>) -> impl Fn(&Word) -> Result<T, String> {
    move |word| match word {
        Word::Bare(text) | Word::Quoted(text) => read(text),
        other => Err(format!("{} is not a value", other.shown())),
    }
}

/// The same, where the bare word `none` stands for what is missing.
fn or_none<T>(read: impl Fn(&str) -> Result<T, String>) -> impl Fn(&Word) -> Result<Option<T>, String> {
    let read = exactly(read);
    move |word| if word.is(NONE) { Ok(None) } else { read(word).map(Some) }
}

fn text(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("found an empty text, expected a value".into()) } else { Ok(value.to_owned()) }
}

fn parse_days(text: &str) -> Result<i64, String> {
    text.parse::<i32>().map(i64::from).map_err(|_| format!("`{}` is not a number of days, such as 90", shown(text)))
}
