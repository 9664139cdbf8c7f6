//! A number that a balance is compared with: exact, whatever its decimals.

use std::cmp::Ordering;
use std::fmt;

use crate::domain::money::Currency;

/// More than any balance has: those are whole minor units in 64 bits.
const WHOLE_MAX: usize = 19;

/// No currency has more than 4. With [`WHOLE_MAX`] and this, both sides of a comparison fit into 128 bits.
const DECIMALS_MAX: usize = 18;

/// `digits` / 10^`decimals`, without zeros at the end of the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    digits: i128,
    decimals: u32,
}

impl Amount {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || unsigned.ends_with('.') {
            return Err(format!("`{text}` is not an amount; write it like 120.50"));
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        if whole.len() > WHOLE_MAX {
            return Err(format!("`{text}` is more than any balance; {WHOLE_MAX} digits are the most before the point"));
        }
        if fraction.len() > DECIMALS_MAX {
            return Err(format!("`{text}` has more decimals than any currency; {DECIMALS_MAX} are the most"));
        }
        let digits = |text: &str| text.bytes().fold(0_i128, |sum, b| sum * 10 + i128::from(b - b'0'));
        let decimals = u32::try_from(fraction.len()).unwrap_or(0); // at most DECIMALS_MAX, so never 0 for another number
        let unsigned = digits(whole) * 10_i128.pow(decimals) + digits(fraction);
        Ok(Self { digits: if text.starts_with('-') { -unsigned } else { unsigned }, decimals })
    }

    /// How a balance in minor units of `currency` stands to it.
    pub(super) fn compare(self, minor: i64, currency: Currency) -> Ordering {
        let own = currency.decimals();
        let balance = i128::from(minor) * 10_i128.pow(self.decimals.saturating_sub(own));
        balance.cmp(&(self.digits * 10_i128.pow(own.saturating_sub(self.decimals))))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let unit = 10_u128.pow(self.decimals);
        let (whole, fraction) = (self.digits.unsigned_abs() / unit, self.digits.unsigned_abs() % unit);
        if self.decimals == 0 {
            write!(f, "{sign}{whole}")
        } else {
            write!(f, "{sign}{whole}.{fraction:0>width$}", width = self.decimals as usize)
        }
    }
}
