//! How time and memory grow with hosts, drawn.
//!
//! What always holds: what is drawn is what the rows say, each case a point; all axes are logarithmic, and each has its unit.

use plotters::prelude::*;
use serde_json::Value;
use std::error::Error;
use std::ops::Range;

const SIZE: (u32, u32) = (960, 460);
const HOSTS: Range<f64> = 8.0..14_000.0;
const KINDS: [(&str, RGBColor); 3] =
    [("random", RGBColor(27, 108, 168)), ("skew", RGBColor(181, 83, 28)), ("drain", RGBColor(60, 122, 60))];
const ASKED: RGBColor = RGBColor(90, 90, 90);

/// One of the two pictures.
struct Panel {
    title: &'static str,
    unit: &'static str,
    field: &'static str,
    range: Range<f64>,
    /// (hosts, at most).
    asked: &'static [(f64, f64)],
    of_what: &'static str,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "Time",
        unit: "CPU seconds, reading and writing included",
        field: "cpu_s",
        range: 0.001..10.0,
        asked: &[(200.0, 0.02), (1_000.0, 0.1), (4_000.0, 0.5), (10_000.0, 2.0)],
        of_what: "asked of rebalancing",
    },
    Panel {
        title: "Memory",
        unit: "MiB at most (those of the parent count where it has more)",
        field: "peak_mib",
        range: 1.0..1_000.0,
        asked: &[(4_000.0, 64.0)],
        of_what: "asked at 4,000 hosts",
    },
];

/// Seconds of CPU and MiB of ours by hosts, side by side, as SVG.
pub fn growth(rows: &[Value]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled("Plans for 30 stores a host, by hosts", ("sans-serif", 18))?;
        for (area, panel) in area.split_evenly((1, 2)).iter().zip(&PANELS) {
            panel.draw(area, rows)?;
        }
        area.present()?;
    }
    Ok(svg)
}

impl Panel {
    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        rows: &[Value],
    ) -> Result<(), Box<dyn Error>> {
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 15))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(HOSTS.log_scale(), self.range.clone().log_scale())?;
        let number = |value: &f64| format!("{value}");
        chart
            .configure_mesh()
            .x_desc("hosts")
            .y_desc(self.unit)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .light_line_style(RGBColor(240, 240, 240))
            .draw()?;
        for (kind, colour) in KINDS {
            let points = self.points(rows, kind);
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(kind)
                .legend(legend);
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        let asked = self.asked.iter().map(|point| Cross::new(*point, 5, ASKED.stroke_width(2)));
        let legend = |(x, y)| Cross::new((x + 9, y), 5, ASKED.stroke_width(2));
        chart.draw_series(asked)?.label(self.of_what).legend(legend);
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .draw()?;
        Ok(())
    }

    /// (hosts, value) of every case of a kind, the smallest fleet first.
    fn points(&self, rows: &[Value], kind: &str) -> Vec<(f64, f64)> {
        let ours = rows.iter().filter(|row| row["case"] == kind && row["who"] == "slotctl");
        let point = |row: &Value| Some((row["hosts"].as_f64()?, row[self.field].as_f64()?));
        let mut points: Vec<(f64, f64)> = ours.filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_case_is_a_point_with_its_axes_named() {
        let row = |case: &str, hosts: u32| json!({"case": case, "who": "slotctl", "hosts": hosts, "cpu_s": 0.01, "peak_mib": 20.0});
        let others = json!({"case": "random", "who": "hbal", "hosts": 10, "cpu_s": 5.0, "peak_mib": 21.0});
        let rows = [row("random", 10), row("random", 200), row("drain", 1_000), others];
        let svg = growth(&rows).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2 * 3, "{svg}");
        for named in ["hosts", "CPU seconds", "MiB", "random", "skew", "drain", "Time", "Memory"] {
            assert!(svg.contains(named), "{named}: {svg}");
        }
    }
}
