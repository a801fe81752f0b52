//! What came of it: a table for people, one JSON object for programs, and the verdict.

use std::fmt::Write as _;

use serde_json::{Value, json};
use ureq_auth::Stats;

use crate::server::ledger::Counts;
use crate::soak;

pub(crate) struct Report {
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
    /// Calls whose answer came, and was the right one.
    pub(crate) answered: u64,
    /// Calls that ended in an error or with the wrong answer.
    pub(crate) failed: u64,
    /// Calls that never ended, or whose answer came though the server has not accepted them.
    pub(crate) lost: u64,
    pub(crate) first_failure: Option<String>,
    /// What the session counted.
    pub(crate) stats: Stats,
    /// What the server counted, if it is the one that comes with this example.
    pub(crate) server: Option<Counts>,
    /// What came of the faults, if there were any.
    pub(crate) soak: Option<soak::Outcome>,
}

impl Report {
    /// What was wrong, if anything was.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut none = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        none(self.lost, "calls were lost");
        let is_soak = self.soak.is_some();
        none(if is_soak { 0 } else { self.failed }, "calls failed");
        if let Some(server) = &self.server {
            none(server.doubled, "calls reached the API twice");
            none(server.out_of_order, "calls reached the API out of order");
            none(server.refreshes - server.refreshes_needed, "refreshes were not needed");
            none(server.token_calls_at_once.saturating_sub(1), "token calls too many at the same time");
            let invalid_grant = server.invalid_grant - server.invalid_grant_excused;
            none(invalid_grant, "token calls were answered with invalid_grant");
            let arrived = server.refreshes - server.refreshes_lost;
            none(self.stats.refreshes.abs_diff(arrived), "refreshes are between the server's count and ours");
        }
        if let Some(soak) = &self.soak {
            faults.extend(soak.breaches(self));
        }
        if let (1.., false, Some(failure)) = (self.failed, is_soak, &self.first_failure) {
            faults.push(format!("the first failure: {failure}"));
        }
        faults
    }

    pub(crate) fn table(&self) -> String {
        let Report { threads, seconds, stats, server, .. } = self;
        let of_server = |count: fn(&Counts) -> u64| server.as_ref().map_or("n/a".to_owned(), |s| count(s).to_string());
        let refreshes = match server {
            Some(server) => format!("needed {}: 1 first, {} for age", server.refreshes_needed, server.expiries),
            None => "needed n/a".to_owned(),
        };
        let revocations = server.as_ref().map_or(String::new(), |server| {
            format!("{} after {} revocations", server.replaced_after_revocation, server.revocations)
        });
        let youngest = server
            .as_ref()
            .and_then(|server| server.youngest_replaced)
            .map_or(String::new(), |share| format!("age: {:.1} % of a life at the least", share * 100.0));
        let rows = [
            ("calls", self.calls.to_string(), format!("in {seconds:.1} s by {threads} threads")),
            ("answered", self.answered.to_string(), String::new()),
            ("failed", self.failed.to_string(), String::new()),
            ("lost", self.lost.to_string(), String::new()),
            ("doubled", of_server(|server| server.doubled), String::new()),
            ("out of order", of_server(|server| server.out_of_order), String::new()),
            ("refreshes", self.refreshes().to_string(), refreshes),
            ("", String::new(), revocations),
            ("", String::new(), youngest),
            ("joined waits", stats.joined_waits.to_string(), String::new()),
            ("longest wait", format!("{:.1} ms", self.longest_wait_ms()), String::new()),
            ("stale 401s that cost no refresh", stats.late_refusals.to_string(), String::new()),
            ("replays", stats.replays.to_string(), String::new()),
            ("token calls at once, at most", of_server(|server| server.token_calls_at_once), String::new()),
            ("invalid_grant", of_server(|server| server.invalid_grant), String::new()),
            ("connections opened", of_server(|server| server.connections), "token calls apart".to_owned()),
        ];
        let mut table = String::new();
        for (name, value, note) in rows.iter().filter(|(name, _, note)| !name.is_empty() || !note.is_empty()) {
            let line = format!("{name:<32}{value:>9}   {note}");
            // Writing to a String does not fail.
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let of_server = |count: fn(&Counts) -> u64| self.server.as_ref().map(count);
        let mut json = json!({
            "threads": self.threads,
            "seconds": rounded(self.seconds),
            "calls": self.calls,
            "answered": self.answered,
            "failed": self.failed,
            "first_failure": self.first_failure,
            "lost": self.lost,
            "doubled": of_server(|server| server.doubled),
            "out_of_order": of_server(|server| server.out_of_order),
            "expiries": of_server(|server| server.expiries),
            "revocations": of_server(|server| server.revocations),
            "refreshes": self.refreshes(),
            "refreshes_needed": of_server(|server| server.refreshes_needed),
            "youngest_replaced": self.server.as_ref().and_then(|server| server.youngest_replaced).map(rounded),
            "token_calls": of_server(|server| server.token_calls),
            "token_calls_at_once": of_server(|server| server.token_calls_at_once),
            "invalid_grant": of_server(|server| server.invalid_grant),
            "joined_waits": self.stats.joined_waits,
            "stale_401s": self.stats.late_refusals,
            "replays": self.stats.replays,
            "longest_wait_ms": self.longest_wait_ms(),
            "connections": of_server(|server| server.connections),
        });
        if let (Some(soak), Some(members)) = (&self.soak, json.as_object_mut()) {
            members.insert("soak".to_owned(), soak.json(self));
        }
        json
    }

    /// Where both sides count, the server's count stands: a refresh costs what it costs there.
    pub(crate) fn refreshes(&self) -> u64 {
        self.server.as_ref().map_or(self.stats.refreshes, |server| server.refreshes)
    }

    fn longest_wait_ms(&self) -> f64 {
        rounded(self.stats.longest_wait.as_secs_f64() * 1000.0)
    }
}

/// To three places: what is behind them is noise.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
