//! The endpoint's load over six hours, as SVG.

use std::fmt::Write as _;

use crate::model::Load;

const WIDTH: usize = 900;
const HEIGHT: usize = 150;
const LEFT: usize = 70;

/// A panel for each run: calls a second, on average over each minute, with a line where the endpoint's capacity is.
pub(crate) fn draw(loads: &[Load]) -> String {
    let panel = HEIGHT + 60;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        LEFT + WIDTH + 20,
        panel * loads.len() + 10,
    );
    for (place, load) in loads.iter().enumerate() {
        // Text is written, so it cannot fail.
        let _ = draw_one(&mut svg, load, panel * place + 30);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_one(svg: &mut String, load: &Load, top: usize) -> std::fmt::Result {
    let minutes = load.minutes();
    // Twice the capacity: what is above it is cut off, and the text says how much it is.
    let highest = 2.0 * f64::from(load.capacity);
    let y = |calls: f64| top + HEIGHT - (HEIGHT as f64 * (calls / highest).min(1.0)) as usize;
    let peak = minutes.iter().copied().fold(0.0, f64::max);
    let bottom = top + HEIGHT;
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">{} ({} devices, busiest minute {peak:.0} calls a second)</text>",
        top - 8,
        load.name,
        load.devices
    )?;
    write!(svg, "<polygon fill=\"#1d5fa8\" points=\"{LEFT},{bottom}")?;
    for (minute, calls) in minutes.iter().enumerate() {
        let (left, right) = (LEFT + minute * WIDTH / minutes.len(), LEFT + (minute + 1) * WIDTH / minutes.len());
        let y = y(*calls);
        write!(svg, " {left},{y} {right},{y}")?;
    }
    writeln!(svg, " {},{bottom}\"/>", LEFT + WIDTH)?;
    let limit = y(load.capacity.into());
    writeln!(svg, "<path stroke=\"#d12f2f\" d=\"M{LEFT} {limit}h{WIDTH}\"/>")?;
    writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} /s</text>", LEFT - 6, limit + 5, load.capacity)?;
    writeln!(svg, "<path stroke=\"#888\" d=\"M{LEFT} {bottom}h{WIDTH}\"/>")?;
    for hour in 0..=6 {
        let x = LEFT + hour * WIDTH / 6;
        writeln!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{hour} h</text>", bottom + 16)?;
    }
    Ok(())
}
