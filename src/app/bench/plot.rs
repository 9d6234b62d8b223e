//! The picture of how long messages took, by percentile, as an SVG.
//!
//! Apart from the numbers: a table shows five points of each curve, and two servers often differ between them. Both axes are
//! logarithmic; on the lower each step to the right is a tenth of the messages before.

use std::fmt::Write;
use std::time::Duration;

use super::table;
use crate::service::bench::Latencies;

const WIDTH: f64 = 880.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 56.0;
const PLOT_HEIGHT: f64 = 340.0;
/// Below the plot: the labels of the axis, its title.
const AXIS: f64 = 56.0;
/// The height of a line of the legend.
const LINE: f64 = 22.0;

/// How many colours there are; a curve more begins anew with dashes.
const COLOURS: usize = 6;

/// How fine a curve is drawn: points in each step of the lower axis.
const POINTS: u32 = 40;

/// The most steps of the lower axis: up to 99.999 %.
const MOST_STEPS: u32 = 5;

/// Colours and text for light and for dark surroundings.
const STYLE: &str = "\
    svg { color-scheme: light dark; font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif }
    .ground { fill: #ffffff } .text { fill: #24292f } .faint { fill: #57606a } .grid { stroke: #d8dee4 } .axis { stroke: #8c959f }
    .title { font-size: 16px; font-weight: 600 }
    .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round } .dashed { stroke-dasharray: 6 4 }
    .c0 { stroke: #0969da } .c1 { stroke: #cf222e } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df } .c4 { stroke: #bf8700 }
    .c5 { stroke: #0e7c86 }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } .text { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #262c36 } .axis { stroke: #656c76 }
      .c0 { stroke: #58a6ff } .c1 { stroke: #ff7b72 } .c2 { stroke: #56d364 } .c3 { stroke: #bc8cff } .c4 { stroke: #e3b341 }
      .c5 { stroke: #39c5cf }
    }
";

/// How long the messages of one part took.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// What the legend calls it.
    pub(super) name: String,
    pub(super) latencies: Latencies,
}

/// The picture of these curves, at least one.
pub(super) fn svg(curves: &[Curve]) -> String {
    let axes = Axes::of(curves);
    let height = TOP + PLOT_HEIGHT + AXIS + LINE * curves.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Latency by percentile\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"text title\" x=\"{LEFT}\" y=\"32\">Latency by percentile</text>\n"
    );
    axes.draw(&mut svg);
    for (number, curve) in curves.iter().enumerate() {
        axes.draw_curve(&mut svg, number, curve);
    }
    svg.push_str("</svg>\n");
    svg
}

/// What the two axes reach.
struct Axes {
    /// Steps of the lower one: 1 is 90 %, 2 is 99 %.
    steps: u32,
    /// Logarithms to the base of ten of microseconds.
    low: f64,
    high: f64,
}

impl Axes {
    fn of(curves: &[Curve]) -> Self {
        let most = curves.iter().map(|curve| curve.latencies.count()).max().unwrap_or_default();
        let steps = (most.max(10) as f64).log10().ceil().clamp(1.0, f64::from(MOST_STEPS)) as u32;
        let exponent = |time: Duration| (time.as_secs_f64() * 1e6).max(0.1).log10();
        let lowest = curves.iter().map(|curve| exponent(curve.latencies.percentile(0.0))).fold(f64::MAX, f64::min);
        let highest = curves.iter().map(|curve| exponent(curve.latencies.max())).fold(f64::MIN, f64::max);
        // The ends are numbers that have a line, and a little is left above.
        let low = ticks(lowest.floor(), lowest + 1e-9).last().map_or(lowest.floor(), |tick| tick.log10());
        let high = ticks(highest, highest.floor() + 1.5).first().map_or(highest.ceil(), |tick| tick.log10());
        Self { steps, low, high: high.max(low + 0.3) }
    }

    fn x(&self, step: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * step / f64::from(self.steps)
    }

    fn y(&self, exponent: f64) -> f64 {
        let share = (exponent - self.low) / (self.high - self.low);
        TOP + PLOT_HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }

    fn draw(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, TOP + PLOT_HEIGHT);
        for tick in ticks(self.low - 1e-9, self.high + 1e-9) {
            let y = self.y(tick.log10());
            let label = label(tick);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text class=\"faint\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 10.0,
                y + 4.5
            );
        }
        for step in 0..=self.steps {
            let x = self.x(f64::from(step));
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"faint\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 20.0,
                percentile_label(step)
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n\
             <text class=\"faint\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">so many of the messages took no longer</text>",
            bottom + 42.0
        );
    }

    fn draw_curve(&self, svg: &mut String, number: usize, curve: &Curve) {
        let classes = match number / COLOURS {
            0 => format!("curve c{}", number % COLOURS),
            _ => format!("curve dashed c{}", number % COLOURS),
        };
        let mut path = String::new();
        // No farther than there are messages: beyond that a curve would be flat without meaning anything.
        let end = (curve.latencies.count().max(1) as f64).log10().min(f64::from(self.steps));
        let points = (end * f64::from(POINTS)).ceil() as u32;
        for point in 0..=points {
            let step = (f64::from(point) / f64::from(POINTS)).min(end);
            let time = curve.latencies.percentile(100.0 - 100.0 / 10_f64.powf(step));
            let y = self.y((time.as_secs_f64() * 1e6).max(0.1).log10());
            let _ = write!(path, "{}{:.1} {y:.1}", if point == 0 { "M" } else { "L" }, self.x(step));
        }
        let y = TOP + PLOT_HEIGHT + AXIS + LINE * (number as f64 + 0.5);
        let (p50, p99) = (table::time(curve.latencies.percentile(50.0)), table::time(curve.latencies.percentile(99.0)));
        let _ = writeln!(
            svg,
            "<path class=\"{classes}\" d=\"{path}\"/>\n\
             <path class=\"{classes}\" d=\"M{LEFT} {y:.1}h28\"/>\
             <text class=\"text\" x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"faint\">p50 {p50}, p99 {p99}</tspan></text>",
            LEFT + 38.0,
            y + 4.5,
            as_text(&curve.name),
        );
    }
}

/// The numbers 1, 2 and 5 times a power of ten, in microseconds, between two exponents.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let powers = (low.floor() as i32)..=(high.ceil() as i32);
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    all.filter(|tick| (low..=high).contains(&tick.log10())).collect()
}

fn label(micros: f64) -> String {
    let (number, unit) = match micros {
        ..1e3 => (micros, "us"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let unit = if unit == "us" { "\u{b5}s" } else { unit };
    // 0.1 times a power is not quite what it is written as.
    format!("{} {unit}", (number * 10.0).round() / 10.0)
}

fn percentile_label(step: u32) -> String {
    match step {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

/// Text as XML has it. (An address may be of any bytes that a path has.)
fn as_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, times: impl Iterator<Item = u64>) -> Curve {
        let mut latencies = Latencies::default();
        times.for_each(|micros| latencies.record(Duration::from_micros(micros)));
        Curve { name: name.to_owned(), latencies }
    }

    /// Fails unless every element is closed in its turn and every coordinate is a number.
    fn expect_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some(start) = rest.find('<') {
            assert!(!rest[..start].contains('>'), "a `>` outside of a tag: {}", &rest[..start]);
            let end = rest[start..].find('>').expect("the end of a tag") + start;
            let tag = &rest[start + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
            match (tag.strip_prefix('/'), tag.ends_with('/')) {
                (Some(name), _) => assert_eq!(open.pop(), Some(name), "what is closed was opened last"),
                (None, true) => {}
                (None, false) => open.push(tag.split_whitespace().next().expect("a name")),
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "left open: {open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "a coordinate that is none");
    }

    #[test]
    fn pictures_are_well_formed() {
        let spread = || (1..=100_000).map(|number| 15 + number / 1000);
        let pictures = [
            vec![curve("one", std::iter::once(20))],
            vec![curve("none at all", std::iter::empty())],
            vec![curve("a <b> & \"c\"\u{7}", spread()), curve("two", [1, 1_000_000].into_iter())],
            (0..8).map(|_| curve("many", spread())).collect(),
        ];
        for curves in pictures {
            let svg = svg(&curves);
            expect_well_formed(&svg);
            assert_eq!(svg.matches("class=\"curve").count(), 2 * curves.len(), "a curve and its sign in the legend");
        }
    }

    #[test]
    fn axes_have_round_numbers_and_hold_everything() {
        let axes = Axes::of(&[curve("", (1..=100_000).map(|number| 15 + number / 1000))]);
        assert_eq!(axes.steps, 5);
        let (low, high) = (10_f64.powf(axes.low), 10_f64.powf(axes.high));
        assert!((low - 10.0).abs() < 1e-6 && (high - 200.0).abs() < 1e-6, "{low} {high}");
        assert_eq!(
            ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"].map(str::to_owned).to_vec(),
            (0..5).map(percentile_label).collect::<Vec<_>>()
        );
        let labels: Vec<_> = ticks(1.0, 3.4).into_iter().map(label).collect();
        assert_eq!(
            labels,
            ["10 \u{b5}s", "20 \u{b5}s", "50 \u{b5}s", "100 \u{b5}s", "200 \u{b5}s", "500 \u{b5}s", "1 ms", "2 ms"]
        );
    }
}
