//! A million devices whose power comes back within one minute, and one token endpoint that cannot serve them all at once.
//!
//! `cargo run --release --example fleet` runs each device as what it is, a [`Session`] with its own policy, on a clock that is
//! moved by hand; only the endpoint and the devices' programs are made up. It prints what the endpoint had to bear over six
//! hours, draws it into `target/fleet.svg`, and fails if the default policy does not keep what docs/fleet.md says. `--devices N` runs
//! fewer, with an endpoint that is slower in proportion; `--life MINUTES` is how long a token lives, an hour unless given.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod model;
mod picture;

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use model::{Load, Model, run};
use ureq_auth::Policy;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut devices, mut minutes) = (1_000_000, 60);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--devices", Some(number)) => devices = number.parse()?,
            ("--life", Some(number)) => minutes = number.parse()?,
            _ => return Err("usage: fleet [--devices N] [--life MINUTES]".into()),
        }
    }
    let life = Duration::from_secs(60 * minutes);
    // What it is compared with has a tenth of the devices: the shape is the same, and the time is shorter.
    let few = (devices / 10).max(500);
    let begin = Instant::now();
    let mut loads = Vec::new();
    for (name, devices, policy, retry_after) in [
        ("the default policy", devices, Policy::new as fn() -> Policy, true),
        ("without jitter: all devices have one seed", few, Policy::new, true),
        ("without backoff: a second between attempts", few, without_backoff, true),
        ("without Retry-After", few, Policy::new, false),
        ("without a spread", few, || Policy::new().with_spread(0), true),
    ] {
        println!("{name}: {devices} devices are made");
        let told = AtomicU32::new(begin.elapsed().as_secs() as u32);
        let progress = |simulated: Duration| {
            let now = begin.elapsed().as_secs() as u32;
            // One thread alone tells.
            if now > told.load(Ordering::Relaxed) + 1 {
                told.store(now, Ordering::Relaxed);
                println!("{name}: minute {} of 360, {now} s", simulated.as_secs() / 60);
            }
        };
        let one_seed = name.starts_with("without jitter");
        let model = Model { name, devices, policy, one_seed, capacity: capacity(devices), retry_after, life };
        let load = run(&model, &progress)?;
        println!("{load}\n");
        loads.push(load);
    }
    std::fs::create_dir_all("target")?;
    std::fs::write("target/fleet.svg", picture::draw(&loads))?;
    println!("target/fleet.svg, {:.1} s in all", begin.elapsed().as_secs_f32());
    loads.first().map_or(Ok(()), Load::check).map_err(Into::into)
}

/// How many calls a second the endpoint answers: 2,000 for a million devices.
fn capacity(devices: u32) -> u32 {
    (devices / 500).max(1)
}

fn without_backoff() -> Policy {
    Policy::new().with_backoff(Duration::from_secs(1), Duration::from_secs(1))
}
