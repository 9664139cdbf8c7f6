//! Which trace something belongs to, and under which of its spans: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.

use std::fmt;

/// The header that holds it, of a request and of a message.
pub const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of a request, of an event's row and of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceParent {
    pub trace_id: u128,
    pub span_id: u64,
    /// Whoever began the trace wants it kept.
    pub sampled: bool,
}

/// Of version 00, the only one that there is: `00-<32 digits>-<16 digits>-<2 digits>`.
const LENGTH: usize = 55;

const SAMPLED: u8 = 1;

impl TraceParent {
    /// `None` for whatever is not one. A later version is read as far as it is like this one, as the standard asks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let has_end = if version == "00" { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
        let parent = Self {
            trace_id: hex(trace_id, 32)?,
            span_id: u64::try_from(hex(span_id, 16)?).ok()?,
            sampled: u8::try_from(hex(flags, 2)?).ok()? & SAMPLED != 0,
        };
        let is_one = has_end && hex(version, 2)? != 0xff && parts.next().is_none();
        (is_one && parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// So many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn it_is_written_as_it_was_read() {
        let parent = TraceParent::parse(TEXT).unwrap();
        let expected = TraceParent {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
            sampled: true,
        };
        assert_eq!((parent, parent.to_string().as_str()), (expected, TEXT));
        let unsampled = TEXT.replace("-01", "-00");
        assert_eq!(TraceParent::parse(&unsampled).unwrap().to_string(), unsampled);
        // Flags that are not known are not passed on.
        assert!(TraceParent::parse(&TEXT.replace("-01", "-03")).unwrap().sampled);
        assert!(TraceParent::parse(&format!("01{}-later", &TEXT[2..])).unwrap().sampled);
    }

    #[test]
    fn what_is_none_is_none() {
        let (zeros, fewer) = ("0".repeat(32), &TEXT[..54]);
        for bad in [
            "",
            "garbage",
            fewer,
            &format!("{TEXT}0"),
            &format!("{TEXT}-more"),
            &format!("01{}more", &TEXT[2..]),
            &format!("ff{}", &TEXT[2..]),
            &TEXT.to_uppercase(),
            &TEXT.replace('-', "_"),
            &TEXT.replace("4bf92f", "4bf92g"),
            &TEXT.replace("4bf92f", "+bf92f"),
            &format!("00-{zeros}-00f067aa0ba902b7-01"),
            &TEXT.replace("00f067aa0ba902b7", &zeros[..16]),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-7-1",
            &"ü".repeat(LENGTH),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
