//! How time and memory grow with hosts, drawn.
//!
//! What always holds: both axes are logarithmic, and what is drawn is what the rows say.

use serde_json::Value;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const KINDS: [(&str, &str); 3] = [("random", "#1b6ca8"), ("skew", "#b5531c"), ("drain", "#3c7a3c")];

/// Seconds of CPU (lines) and MiB (dashed) of ours by hosts, as SVG.
pub fn growth(rows: &[Value]) -> String {
    let x = |hosts: f64| LEFT + (hosts.log10() - 1.0) / 3.0 * (WIDTH - LEFT - 30.0);
    // From a thousandth to a thousand, seconds and MiB alike.
    let y = |value: f64| HEIGHT - BOTTOM - (value.max(1e-3).log10() + 3.0) / 6.0 * (HEIGHT - BOTTOM - 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for power in 1..=4 {
        let (at, hosts) = (x(10f64.powi(power)), 10u32.pow(power.unsigned_abs()));
        let (top, foot, label) = (y(1000.0), y(1e-3), HEIGHT - BOTTOM + 18.0);
        let _ = writeln!(svg, "<line x1=\"{at}\" y1=\"{top}\" x2=\"{at}\" y2=\"{foot}\" stroke=\"#ddd\"/>");
        let _ = writeln!(svg, "<text x=\"{at}\" y=\"{label}\" text-anchor=\"middle\">{hosts}</text>");
    }
    for power in -3..=3 {
        let (at, value) = (y(10f64.powi(power)), 10f64.powi(power));
        let (end, label) = (x(10_000.0), LEFT - 8.0);
        let _ = writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{at}\" x2=\"{end}\" y2=\"{at}\" stroke=\"#ddd\"/>");
        let _ = writeln!(svg, "<text x=\"{label}\" y=\"{at}\" text-anchor=\"end\">{value}</text>");
    }
    for (nth, (kind, colour)) in KINDS.into_iter().enumerate() {
        for (field, dash) in [("cpu_s", ""), ("peak_mib", " stroke-dasharray=\"6 4\"")] {
            let ours = rows.iter().filter(|row| row["case"] == kind && row["who"] == "slotctl");
            let points = ours.filter_map(|row| Some((row["hosts"].as_f64()?, row[field].as_f64()?)));
            let points: Vec<String> = points.map(|(hosts, value)| format!("{:.1},{:.1}", x(hosts), y(value))).collect();
            let path = points.join(" ");
            let _ = writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\"{dash}/>");
        }
        let at = 20.0 + 16.0 * nth as f64;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{at}\" fill=\"{colour}\">{kind}</text>", LEFT + 10.0);
    }
    let _ = writeln!(svg, "<text x=\"{}\" y=\"20\">lines: CPU seconds; dashed: MiB at most</text>", LEFT + 80.0);
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">hosts</text>", WIDTH / 2.0, HEIGHT - 10.0);
    svg + "</svg>\n"
}
