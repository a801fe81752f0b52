//! The picture: a row per thread, time from left to right. Once for the terminal, once as SVG.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::record::{Doing, Span};

pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) tracks: Vec<Vec<Span>>,
    /// What happens later is left out: the last calls of each thread end at different times.
    pub(crate) length: Duration,
    /// When the token in use was revoked.
    pub(crate) revoked: Vec<Duration>,
}

/// What blank means: a pause longer than the recorder's gap. The program makes none; a busy machine may.
const BETWEEN: &str = "no call for 25 ms or more";

const ALL: [Doing; 4] = [Doing::Calling, Doing::Waiting, Doing::Refreshing, Doing::Replayed];

impl Doing {
    fn name(self) -> &'static str {
        match self {
            Doing::Calling => "calling",
            Doing::Waiting => "waiting for the refresh",
            Doing::Refreshing => "refreshing",
            Doing::Replayed => "replayed",
        }
    }

    fn char(self) -> char {
        match self {
            Doing::Calling => '·',
            Doing::Waiting => 'w',
            Doing::Refreshing => 'R',
            Doing::Replayed => 'r',
        }
    }

    fn ansi(self) -> &'static str {
        match self {
            Doing::Calling => "\x1b[2m",
            Doing::Waiting => "\x1b[33m",
            Doing::Refreshing => "\x1b[1;31m",
            Doing::Replayed => "\x1b[36m",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Doing::Calling => "#cfdce8",
            Doing::Waiting => "#f2a900",
            Doing::Refreshing => "#d12f2f",
            Doing::Replayed => "#1d5fa8",
        }
    }
}

/// Puts pieces, each with its width, into lines of `width` characters at most.
fn fold(pieces: impl IntoIterator<Item = (String, usize)>, gap: &str, width: usize) -> String {
    let (mut text, mut used) = (String::new(), 0);
    for (piece, length) in pieces {
        if used > 0 && used + gap.len() + length <= width {
            text += gap;
            used += gap.len();
        } else if used > 0 {
            text.push('\n');
            used = 0;
        }
        text += &piece;
        used += length;
    }
    text
}

impl Picture {
    /// As text, `width` characters wide at most.
    pub(crate) fn text(&self, width: usize, colour: bool) -> String {
        let label = self.tracks.len().to_string().len() + 1;
        let columns = width.saturating_sub(label + 1).max(20);
        let paint = |doing: Doing, text: &str| match colour {
            true => format!("{}{text}\x1b[0m", doing.ansi()),
            false => text.to_owned(),
        };

        let mut text = fold(self.title.split(' ').map(|word| (word.to_owned(), word.len())), " ", width);
        let mut legend: Vec<_> = ALL
            .iter()
            .map(|&doing| {
                let shown = format!("{} {}", paint(doing, &doing.char().to_string()), doing.name());
                (shown, 2 + doing.name().len())
            })
            .collect();
        let plain = |text: &str| (text.to_owned(), text.len());
        legend.push(plain(&format!("blank: {BETWEEN}")));
        if !self.revoked.is_empty() {
            legend.push(plain("x token revoked"));
        }
        text += &format!("\n{}", fold(legend, "  ", width));
        if !self.revoked.is_empty() {
            let mut marks = vec![' '; columns];
            for &at in &self.revoked {
                marks.get_mut(self.column(at, columns)).into_iter().for_each(|mark| *mark = 'x');
            }
            text += &format!("\n{:label$} {}", "", marks.iter().collect::<String>().trim_end());
        }
        text.push('\n');
        for (number, track) in self.tracks.iter().enumerate() {
            text += &format!("{:<label$} ", format!("t{}", number + 1));
            // Painted in runs, not by the character.
            for run in self.row(track, columns).chunk_by(|one, other| one == other) {
                match run.first().copied().flatten() {
                    Some(doing) => text += &paint(doing, &doing.char().to_string().repeat(run.len())),
                    None => text += &" ".repeat(run.len()),
                }
            }
            text.push('\n');
        }
        text += &format!("{:label$} {}\n", "", self.axis(columns));
        text
    }

    /// What a thread did, by column. What is rarer covers what is not, since a column is longer than most of it.
    fn row(&self, track: &[Span], columns: usize) -> Vec<Option<Doing>> {
        let mut row = vec![None; columns];
        for doing in [Doing::Calling, Doing::Waiting, Doing::Refreshing] {
            for span in self.spans(track, doing) {
                let (from, to) = (self.column(span.from, columns), self.column(span.to, columns));
                row.iter_mut().take(to + 1).skip(from).for_each(|cell| *cell = Some(doing));
            }
        }
        // A replay mostly follows a wait, and would cover it: then its mark goes into the next column.
        for span in self.spans(track, Doing::Replayed) {
            let at = self.column(span.from, columns);
            let free = |cell: &&mut Option<Doing>| !matches!(cell, Some(Doing::Waiting | Doing::Refreshing));
            if let Some(cell) = row.iter_mut().skip(at).take(2).find(free) {
                *cell = Some(Doing::Replayed);
            }
        }
        row
    }

    fn spans<'a>(&self, track: &'a [Span], doing: Doing) -> impl Iterator<Item = &'a Span> + use<'a> {
        let length = self.length;
        track.iter().filter(move |span| span.doing == doing && span.from < length)
    }

    fn column(&self, at: Duration, columns: usize) -> usize {
        let share = at.div_duration_f64(self.length).min(1.0);
        ((share * columns as f64) as usize).min(columns - 1)
    }

    fn axis(&self, columns: usize) -> String {
        let mut axis = String::new();
        for second in self.seconds(columns / 6) {
            let column = self.column(Duration::from_secs(second), columns);
            let label = format!("{second} s");
            if column + label.len() <= columns {
                axis += &format!("{:width$}{label}", "", width = column.saturating_sub(axis.len()));
            }
        }
        axis
    }

    /// Round seconds from the start to the end, not more than about `most`.
    fn seconds(&self, most: usize) -> impl Iterator<Item = u64> + use<> {
        let length = self.length.as_secs();
        let wide_enough = |&&step: &&u64| length / step <= most.max(1) as u64;
        let steps = [1, 2, 5, 10, 30, 60, 300, 600, 3600, 21_600];
        (0..=length).step_by(*steps.iter().find(wide_enough).unwrap_or(&86_400) as usize)
    }

    /// As a picture that stands alone.
    pub(crate) fn svg(&self) -> Result<String, fmt::Error> {
        let row = (640 / self.tracks.len().max(1)).clamp(7, 18);
        // Wide enough for the legend, and not so wide that a page which shrinks it makes the text too small to read.
        let (left, top, plot) = (44.0, 78.0, 926.0);
        let (width, bottom) = (left + plot + 30.0, top + (row * self.tracks.len()) as f64);
        let height = bottom + 30.0;
        let x = |at: Duration| left + plot * at.div_duration_f64(self.length).min(1.0);

        let mut svg = String::new();
        let title = &self.title;
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="14" fill="#333">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{left}" y="26" font-size="16" font-weight="bold">{title}</text>"##
        )?;
        self.legend(&mut svg, left)?;
        for second in self.seconds(20) {
            let x = x(Duration::from_secs(second));
            writeln!(svg, r##"<path d="M{x:.1} {top}V{bottom}" stroke="#eee"/>"##)?;
            writeln!(svg, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{second} s</text>"#, bottom + 18.0)?;
        }
        for (number, track) in self.tracks.iter().enumerate() {
            let (y, bar) = (top + (row * number) as f64, row as f64 - 2.0);
            // Not every row has room for its name.
            if row >= 12 || number % 4 == 0 {
                let (x, y) = (left - 8.0, y + row as f64 / 2.0 + 3.5);
                writeln!(svg, r#"<text x="{x}" y="{y}" font-size="11" text-anchor="end">t{}</text>"#, number + 1)?;
            }
            for doing in ALL {
                let spans: Vec<_> = self.spans(track, doing).collect();
                if spans.is_empty() {
                    continue;
                }
                // One path for all of a kind keeps the file small.
                write!(svg, r#"<path fill="{}" d=""#, doing.colour())?;
                for span in spans {
                    let least = if doing == Doing::Calling { 0.5 } else { 2.0 };
                    let (from, length) = (x(span.from), (x(span.to) - x(span.from)).max(least));
                    write!(svg, "M{from:.1} {y}h{length:.1}v{bar}h-{length:.1}z")?;
                }
                writeln!(svg, r#""/>"#)?;
            }
        }
        for &at in &self.revoked {
            let x = x(at);
            writeln!(svg, r##"<path d="M{x:.1} {}V{bottom}" stroke="#333" stroke-dasharray="3 3"/>"##, top - 8.0)?;
        }
        svg += "</svg>\n";
        Ok(svg)
    }

    fn legend(&self, svg: &mut String, left: f64) -> fmt::Result {
        let (mut x, text) = (left, 55.0);
        // There is no measuring of text here; this is enough for any sans-serif of its size.
        let width = |name: &str| 44.0 + 8.0 * name.len() as f64;
        for doing in ALL {
            writeln!(svg, r#"<rect x="{x}" y="43" width="14" height="14" fill="{}"/>"#, doing.colour())?;
            writeln!(svg, r#"<text x="{}" y="{text}">{}</text>"#, x + 20.0, doing.name())?;
            x += width(doing.name());
        }
        writeln!(svg, r##"<rect x="{x}" y="43.5" width="13" height="13" fill="#fff" stroke="#999"/>"##)?;
        writeln!(svg, r#"<text x="{}" y="{text}">{BETWEEN}</text>"#, x + 20.0)?;
        x += width(BETWEEN);
        if !self.revoked.is_empty() {
            writeln!(svg, r##"<path d="M{} 41v18" stroke="#333" stroke-dasharray="3 3"/>"##, x + 7.0)?;
            writeln!(svg, r#"<text x="{}" y="{text}">token revoked</text>"#, x + 16.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let span = |doing, from, to| Span { doing, from: Duration::from_millis(from), to: Duration::from_millis(to) };
        let track =
            vec![span(Doing::Calling, 0, 9_900), span(Doing::Refreshing, 100, 400), span(Doing::Replayed, 401, 401)];
        let title = "1000 threads, 1000000 calls, 100 refreshes, reactive only (a token lives 1 s, and one is revoked every 1.5 s)";
        let picture = Picture {
            title: title.to_owned(),
            tracks: vec![track; 1000],
            length: Duration::from_secs(10),
            revoked: vec![Duration::from_secs(1), Duration::from_millis(9_999)],
        };
        for width in [40, 80, 200] {
            let text = picture.text(width, false);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width && widest > width - 10, "{widest} of {width}:\n{text}");
            let shown = text.replace('\n', " ");
            for name in ALL.map(Doing::name).into_iter().chain([title, BETWEEN, "x token revoked"]) {
                assert!(shown.contains(name), "{name}");
            }
        }
    }
}
