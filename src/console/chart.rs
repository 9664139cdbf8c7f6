//! Bar charts: tables with a bar in each row, so that whoever sees no bars has the numbers. The bars are SVG, since the
//! policy for pages allows no styles of their own.

pub struct Chart {
    /// An id for the page.
    pub id: &'static str,
    pub title: String,
    pub of: &'static str,
    pub what: &'static str,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub label: String,
    pub value: String,
    /// Of the longest, in percent.
    pub width: i64,
}

impl Chart {
    /// Of labels, what they measure and how it is shown; none where there is nothing to draw.
    pub fn of(
        id: &'static str,
        title: String,
        of: &'static str,
        what: &'static str,
        values: Vec<(String, i64, String)>,
    ) -> Option<Self> {
        let most = values.iter().map(|(_, value, _)| *value).max().filter(|most| *most > 0)?;
        let bars =
            values.into_iter().map(|(label, value, shown)| Bar { label, value: shown, width: width(value, most) });
        Some(Self { id, title, of, what, bars: bars.collect() })
    }
}

/// At least a line, where there is anything at all.
fn width(value: i64, most: i64) -> i64 {
    let percent = i128::from(value.max(0)) * 100 / i128::from(most.max(1));
    i64::try_from(percent).unwrap_or(100).clamp(i64::from(value > 0), 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_wider_than_their_place() {
        let bars = |values: &[i64]| -> Vec<i64> {
            let values = values.iter().map(|value| (String::new(), *value, String::new())).collect();
            let chart = Chart::of("", String::new(), "", "", values);
            chart.map_or(Vec::new(), |chart| chart.bars.iter().map(|bar| bar.width).collect())
        };
        assert_eq!(bars(&[10, 5, 0]), [100, 50, 0]);
        assert_eq!(bars(&[i64::MAX, 1]), [100, 1], "what is there is seen");
        assert!(bars(&[0, 0]).is_empty() && bars(&[]).is_empty(), "nothing to draw");
        assert_eq!(bars(&[5, -5]), [100, 0], "what is owed to somebody has no length");
    }
}
