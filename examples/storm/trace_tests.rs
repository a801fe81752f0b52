//! The trace of a run, read as its viewers read it; and a run that ends early.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::interrupt::Interrupt;
use crate::options::Options;
use crate::trace::{Lane, Sample, Trace};

fn read(trace: Trace) -> Vec<Map<String, Value>> {
    let mut text = Vec::new();
    trace.write(&mut text).unwrap();
    parse(&text)
}

fn parse(text: &[u8]) -> Vec<Map<String, Value>> {
    let events: Vec<Value> = serde_json::from_slice(text).unwrap();
    events.iter().map(|event| event.as_object().unwrap().clone()).collect()
}

/// How often each name began. Fails unless every event has what its kind needs, each row is in order of time, and what begins
/// ends, inside of what it began in.
fn check(events: &[Map<String, Value>]) -> BTreeMap<String, usize> {
    let mut begun = BTreeMap::new();
    let mut rows: BTreeMap<u64, (f64, Vec<String>)> = BTreeMap::new();
    for event in events {
        assert_eq!(event["pid"], 1, "{event:?}");
        let phase = event["ph"].as_str().unwrap();
        if phase == "M" {
            assert!(event["args"]["name"].is_string(), "{event:?}");
            continue;
        }
        let ts = event["ts"].as_f64().unwrap();
        match phase {
            "C" => assert!(event["args"].as_object().unwrap().values().all(Value::is_u64), "{event:?}"),
            "i" if event["s"] == "g" => assert!(event["name"].is_string()),
            _ => {
                let (last, open) = rows.entry(event["tid"].as_u64().unwrap()).or_default();
                assert!(ts >= *last, "{event:?} comes after {last}");
                *last = ts;
                match phase {
                    "B" => {
                        let name = event["name"].as_str().unwrap().to_owned();
                        *begun.entry(name.clone()).or_default() += 1;
                        open.push(name);
                    }
                    "E" => assert!(open.pop().is_some(), "{event:?} ends what never began"),
                    "i" => *begun.entry(event["name"].as_str().unwrap().to_owned()).or_default() += 1,
                    _ => panic!("{event:?}"),
                }
            }
        }
    }
    assert!(rows.values().all(|(_, open)| open.is_empty()), "{rows:?}");
    begun
}

fn trace_of(lanes: Vec<Lane>) -> Trace {
    let sample = Sample { at: Duration::ZERO, calls: 1, failed: 0, refreshes: 1, waits: 0 };
    let title = "a \"title\"\n".to_owned();
    Trace { title, lanes, samples: vec![sample], revoked: vec![Duration::from_secs(1)], end: Duration::from_secs(9) }
}

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn what_begins_ends_even_if_it_never_did() {
    let mut lane = Lane::default();
    lane.begin(at(1), "call");
    lane.begin(at(1), "refresh");
    lane.end(at(2), "wait", None);
    lane.end(at(3), "refresh", Some(7));
    lane.moment(at(4), "replay");
    lane.end(at(5), "call", None);
    lane.end(at(6), "call", None);
    lane.begin(at(7), "call");
    lane.begin(at(8), "wait");
    let events = read(trace_of(vec![lane, Lane::default()]));
    let begun = check(&events);
    assert_eq!(begun, [("call", 2), ("refresh", 1), ("replay", 1), ("wait", 1)].map(|(n, c)| (n.to_owned(), c)).into());
    let token = events.iter().find_map(|event| event.get("args").and_then(|args| args.get("token")));
    assert_eq!(token, Some(&Value::from(7)));
}

#[test]
fn a_long_run_has_its_beginning_and_says_where_that_ends() {
    let mut lane = Lane::default();
    for number in 0..60_000 {
        lane.begin(at(number), "call");
        lane.end(at(number), "call", None);
    }
    let begun = check(&read(trace_of(vec![lane])));
    assert_eq!((begun["call"], begun["the trace of this thread is full"]), (50_000, 1));
}

fn storm(arguments: &[&str], interrupt: &Interrupt) -> bool {
    let options = Options::read(arguments.iter().map(|argument| (*argument).to_owned())).unwrap().unwrap();
    crate::run(&options, interrupt).unwrap()
}

#[test]
fn a_run_leaves_a_trace_with_all_that_happened() {
    let file = std::env::temp_dir().join(format!("storm-{}.json", std::process::id()));
    let path = file.to_str().unwrap();
    let arguments = ["--threads", "4", "--seconds", "2", "--revoke-every", "0.5", "--json", "--trace", path];
    let is_well = storm(&arguments, &Interrupt::default());
    let text = std::fs::read(Path::new(path));
    std::fs::remove_file(&file).unwrap();
    let begun = check(&parse(&text.unwrap()));
    assert!(is_well);
    assert!(begun["call"] > 4 && begun["refresh"] >= 2 && begun["wait"] >= 1 && begun["replay"] >= 1, "{begun:?}");
}

/// It would go on for a day.
#[test]
fn an_interrupted_run_tells_what_it_has_seen() {
    let interrupt = Interrupt::default();
    interrupt.come();
    assert!(storm(&["--threads", "4", "--seconds", "86400", "--json"], &interrupt));
}
