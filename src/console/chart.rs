//! Bar charts: SVG within the page, each bar with its label and its value as text, so that the chart is its own table.

/// How much place there is, in the units of the drawing.
const LABELS: u32 = 230;
const BARS: u32 = 330;
const LINE: u32 = 24;

pub struct Chart {
    pub title: &'static str,
    pub of: &'static str,
    pub what: &'static str,
    pub bars: Vec<Bar>,
    pub height: usize,
}

pub struct Bar {
    pub label: String,
    pub value: String,
    pub y: usize,
    pub text_y: usize,
    pub width: u32,
    pub value_x: u32,
}

impl Chart {
    /// Of labels, what they measure and how it is shown; none where there is nothing to draw.
    pub fn of(
        title: &'static str,
        of: &'static str,
        what: &'static str,
        values: Vec<(String, i64, String)>,
    ) -> Option<Self> {
        let most = values.iter().map(|(_, value, _)| *value).max().filter(|most| *most > 0)?;
        let bar = |(place, (label, value, shown)): (usize, (String, i64, String))| {
            let width = width(value, most);
            let y = place * LINE as usize;
            Bar { label, value: shown, y: y + 3, text_y: y + 16, width, value_x: LABELS + width + 6 }
        };
        let bars: Vec<_> = values.into_iter().enumerate().map(bar).collect();
        Some(Self { title, of, what, height: bars.len() * LINE as usize, bars })
    }
}

/// At least a line, where there is anything at all.
fn width(value: i64, most: i64) -> u32 {
    let part = i128::from(value.max(0)) * i128::from(BARS) / i128::from(most.max(1));
    u32::try_from(part).unwrap_or(BARS).max(u32::from(value > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_wider_than_their_place() {
        let bars = |values: &[i64]| -> Vec<u32> {
            let values = values.iter().map(|value| (String::new(), *value, String::new())).collect();
            Chart::of("", "", "", values).map_or(Vec::new(), |chart| chart.bars.iter().map(|bar| bar.width).collect())
        };
        assert_eq!(bars(&[10, 5, 0]), [BARS, BARS / 2, 0]);
        assert_eq!(bars(&[i64::MAX, 1]), [BARS, 1], "what is there is seen");
        assert!(bars(&[0, 0]).is_empty() && bars(&[]).is_empty(), "nothing to draw");
        assert_eq!(bars(&[5, -5]), [BARS, 0], "what is owed to somebody has no length");
    }
}
