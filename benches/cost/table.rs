//! The one table: what was measured, beside what, and whether the target is met.

use std::collections::BTreeMap;
use std::process::ExitCode;

/// What callgrind has counted: a name, a count and, where there is one, the budget (`.ci/budgets`) a line.
#[derive(Default)]
pub(crate) struct Instructions(BTreeMap<String, (f64, Option<f64>)>);

impl Instructions {
    pub(crate) fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(path).expect("the counts of .ci/instructions");
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, (words.next()?.parse().ok()?, words.next().and_then(|budget| budget.parse().ok()))))
        };
        Instructions(text.lines().filter_map(line).collect())
    }

    pub(crate) fn count(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|(count, _)| *count)
    }
}

pub(crate) struct Table {
    instructions: Instructions,
    broken: Vec<String>,
    missed: usize,
}

/// One line of it.
#[derive(Default)]
pub(crate) struct Row<'a> {
    pub(crate) what: &'a str,
    pub(crate) ours: String,
    /// What it is measured against.
    pub(crate) beside: String,
    pub(crate) ratio: String,
}

impl Table {
    pub(crate) fn new(instructions: Instructions) -> Self {
        Table { instructions, broken: Vec::new(), missed: 0 }
    }

    /// Begins a part of it: what is measured, and what stands beside it.
    #[expect(clippy::unused_self, reason = "whoever prints a line has a table")]
    pub(crate) fn section(&self, title: &str, beside: &str) {
        println!();
        line(title, "ureq-auth", beside, "ratio", "at most");
    }

    /// A figure without a target.
    pub(crate) fn report(&self, row: &Row<'_>) {
        self.print(row, "");
    }

    /// A time: whether the target is met is told, and nothing fails for it, since machines are noisy.
    pub(crate) fn aim(&mut self, row: &Row<'_>, target: &str, met: bool) {
        self.missed += usize::from(!met);
        self.print(row, &format!("{target} {}", if met { "✓" } else { "MISSED" }));
    }

    /// A count, which is the same on every machine: the program fails if it is not what it should be.
    pub(crate) fn insist(&mut self, row: &Row<'_>, target: &str, met: bool) {
        if !met {
            self.broken.push(format!("{}: {}, should be {target}", row.what.trim(), row.ours));
        }
        self.aim(row, target, met);
    }

    /// Instructions that were counted before, and how many of them are beyond those of what is `beside`, with the budget for
    /// these; `at_most`: the target for the ratio.
    pub(crate) fn instructions(&mut self, what: &str, ours: &str, beside: &[&str], at_most: Option<f64>) {
        let counts = &self.instructions;
        let (Some(all), Some((own, budget))) = (counts.count(ours), counts.0.get(&format!("{ours}-own")).copied())
        else {
            return;
        };
        let parts: Vec<String> =
            beside.iter().filter_map(|name| counts.count(name)).map(|part| part.to_string()).collect();
        let sum = all - own;
        let beside = if parts.len() > 1 { format!("{} = {sum}", parts.join(" + ")) } else { sum.to_string() };
        let row = Row { what, ours: all.to_string(), beside, ratio: format!("{:.3} ({own:+})", all / sum) };
        let budget = budget.unwrap_or(f64::INFINITY);
        let target = match at_most {
            Some(ratio) => format!("{ratio} and +{budget}"),
            None => format!("+{budget}"),
        };
        self.insist(&row, &target, own <= budget && at_most.is_none_or(|at_most| all / sum <= at_most));
    }

    #[expect(clippy::unused_self, reason = "whoever prints a line has a table")]
    fn print(&self, row: &Row<'_>, target: &str) {
        line(&format!("  {}", row.what), &row.ours, &row.beside, &row.ratio, target);
    }

    pub(crate) fn finish(self) -> ExitCode {
        println!();
        for broken in &self.broken {
            println!("BROKEN: {broken}");
        }
        println!("{} targets missed", self.missed);
        if self.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn line(what: &str, ours: &str, beside: &str, ratio: &str, target: &str) {
    let line = format!("{what:<46}{ours:>10}  {beside:<48}{ratio:<22}{target}");
    println!("{}", line.trim_end());
}
