use std::cell::Cell;
use std::sync::mpsc;
use std::thread::{self, ThreadId};

use super::*;
use crate::ManualClock;

/// No test waits for it.
const LONG: Duration = Duration::from_secs(30);

thread_local! {
    static LOOKED_UP: Cell<u32> = const { Cell::new(0) };
}

/// Counts for the thread that it is called on.
fn count(_: &str) -> io::Result<Found> {
    LOOKED_UP.set(LOOKED_UP.get() + 1);
    Ok(vec![SocketAddr::from(([192, 0, 2, 1], 80))].into_iter())
}

fn no_thread(_: Work) -> io::Result<()> {
    panic!("a thread was started");
}

/// As without a time-out of look-ups.
const NO_THREAD: Option<fn(Work) -> io::Result<()>> = None;

fn clock() -> ManualClock {
    ManualClock::new(None)
}

fn resolve(address: &str, config: &Config) -> Result<ResolvedSocketAddrs, Error> {
    OnCallingThread.resolve(&address.parse().unwrap(), config, NextTimeout::default())
}

#[test]
fn an_address_needs_no_thread_whatever_the_time_outs() {
    for place in ["127.0.0.1:80", "[::1]:443"] {
        let found = find(LONG, place, |place| place.to_socket_addrs(), Some(no_thread), &clock()).unwrap();
        assert_eq!(found.map(|address| address.to_string()).collect::<Vec<_>>(), [place]);
    }
}

#[test]
fn a_name_is_looked_up_on_the_calling_thread() {
    assert_eq!(find(LONG, "api.example.com:80", count, NO_THREAD, &clock()).unwrap().len(), 1);
    assert_eq!(LOOKED_UP.get(), 1);
}

#[test]
fn a_look_up_with_a_time_out_is_on_a_thread_of_its_own() {
    let (told, tells) = mpsc::channel::<ThreadId>();
    let start = move |work: Work| {
        thread::Builder::new().spawn(move || {
            told.send(thread::current().id()).unwrap();
            work();
        })?;
        Ok(())
    };
    assert_eq!(find(LONG, "api.example.com:80", count, Some(start), &clock()).unwrap().len(), 1);
    assert_eq!(LOOKED_UP.get(), 0);
    assert_ne!(tells.recv().unwrap(), thread::current().id());
}

#[test]
fn a_look_up_that_hangs_is_left_behind() {
    let mut work = None;
    // It is started when the caller has given it up, and does no harm then.
    let start = |later: Work| {
        work = Some(later);
        Ok(())
    };
    let error = find(Duration::from_millis(1), "api.example.com:80", count, Some(start), &clock()).unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Resolve)), "{error}");
    work.unwrap()();
    assert_eq!(LOOKED_UP.get(), 1);
}

#[test]
fn where_no_thread_can_be_started_the_caller_looks_up_by_itself() {
    let refuse = |_: Work| Err(io::Error::from(io::ErrorKind::WouldBlock));
    assert_eq!(find(LONG, "api.example.com:80", count, Some(refuse), &clock()).unwrap().len(), 1);
    assert_eq!(LOOKED_UP.get(), 1);
}

#[test]
fn a_thread_that_ends_without_a_word_is_an_error() {
    let end = |work: Work| {
        drop(work);
        Ok(())
    };
    let error = find(LONG, "api.example.com:80", count, Some(end), &clock()).unwrap_err();
    assert!(matches!(error, Error::HostNotFound), "{error}");
}

#[test]
fn what_was_found_too_late_is_a_time_out_of_the_look_up() {
    /// A clock by which a look-up takes three seconds.
    #[derive(Debug)]
    struct Slow(ManualClock);

    impl Clock for Slow {
        fn now(&self) -> crate::Tick {
            self.0.advance(Duration::from_secs(3));
            self.0.now()
        }

        fn wall(&self) -> Option<Duration> {
            None
        }

        fn sleep(&self, _: Duration) {}
    }

    let find = |seconds| find(Duration::from_secs(seconds), "api.example.com:80", count, NO_THREAD, &Slow(clock()));
    assert!(find(3).is_ok());
    let error = find(2).unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Resolve)), "{error}");
    // To a source, any other time-out means that the refresh token may be spent.
    assert_eq!(crate::SourceError::from(error).outcome(), crate::Outcome::Unreachable);
}

#[test]
fn an_error_of_the_look_up_is_the_error() {
    let fail = |_: &str| Err(io::Error::from(io::ErrorKind::NotFound));
    let start = |work: Work| thread::Builder::new().spawn(work).map(drop);
    for found in [
        find(LONG, "api.example.com:80", fail, NO_THREAD, &clock()),
        find(LONG, "api.example.com:80", fail, Some(start), &clock()),
    ] {
        let error = found.unwrap_err();
        assert!(matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::NotFound), "{error}");
    }
}

#[test]
fn addresses_are_of_the_family_that_was_asked_for_and_have_the_schemes_port() {
    let any = Config::builder().build();
    assert_eq!(resolve("https://127.0.0.1/x", &any).unwrap()[..], [SocketAddr::from(([127, 0, 0, 1], 443))]);
    assert_eq!(resolve("http://127.0.0.1:8080", &any).unwrap()[..], [SocketAddr::from(([127, 0, 0, 1], 8080))]);
    let six = Config::builder().ip_family(ureq::config::IpFamily::Ipv6Only).build();
    assert!(matches!(resolve("http://127.0.0.1", &six).unwrap_err(), Error::HostNotFound));
    // Nothing that ureq would ask for.
    assert!(matches!(resolve("/x", &any).unwrap_err(), Error::HostNotFound));
    assert!(matches!(resolve("ftp://127.0.0.1", &any).unwrap_err(), Error::HostNotFound));
}

#[test]
fn a_time_out_of_look_ups_alone_makes_the_difference() {
    for config in
        [Config::builder().timeout_global(Some(LONG)).build(), Config::builder().timeout_resolve(Some(LONG)).build()]
    {
        let found = resolve("http://localhost:80", &config).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }
}
