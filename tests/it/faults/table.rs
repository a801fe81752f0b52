//! The table in the documentation, and whether it is true.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

const PAGE: &str = "docs/faults.md";
const REWRITE: &str = "UPDATE_FAULTS";

pub(crate) type Row = Vec<String>;

/// Compares what was seen with what stands on the page between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`, or
/// writes it there.
pub(crate) fn compare(name: &str, head: &[&str], rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let [begin, end] = ["begin", "end"].map(|which| format!("<!-- {name}: {which} -->\n"));
    let (before, rest) = page.split_once(&begin).expect("the page has no place for the table");
    let (written, after) = rest.split_once(&end).expect("the page has no end of the table");
    let seen = markdown(head, rows);
    if env::var_os(REWRITE).is_some() {
        fs::write(&path, [before, &begin, &seen, &end, after].concat()).unwrap();
        return;
    }
    let other = |own: &str, other: &str, mark: char| -> String {
        let lines = own.lines().filter(|line| !other.lines().any(|line_there| line_there == *line));
        lines.fold(String::new(), |text, line| text + &format!("{mark} {line}\n"))
    };
    assert!(
        seen == written,
        "{PAGE} is not what happens ({REWRITE}=1 writes it anew):\n{}{}",
        other(written, &seen, '-'),
        other(&seen, written, '+'),
    );
}

fn markdown(head: &[&str], rows: &[Row]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        writeln!(text, "| {} |", row.join(" | ")).unwrap();
    }
    text
}
