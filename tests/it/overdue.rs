//! A time-out that comes when the server says so: one by the clock that is short enough for a test also ends what a busy
//! machine is slow with, and may come before the server has read the request.

use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport, time,
};
use ureq::{Agent, Error};

use crate::server::Answer;

/// What the server sends when the time is over. Nothing else has it.
const OVER: u8 = 0;

/// No answer: the request's time-out is over as soon as the server has read it.
pub(crate) fn answer() -> Answer {
    Answer::wire(|mut stream| {
        let _gone = std::io::Write::write_all(&mut stream, &[OVER]).is_err();
        let _gone = std::io::copy(&mut stream, &mut std::io::sink()).is_err();
    })
}

/// An agent that takes [`answer`] for its time-out. It must have one.
pub(crate) fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::new().chain(Watching), DefaultResolver::default())
}

#[derive(Debug)]
struct Watching;

impl Connector<Box<dyn Transport>> for Watching {
    type Out = Line;

    fn connect(&self, _: &ConnectionDetails<'_>, line: Option<Box<dyn Transport>>) -> Result<Option<Line>, Error> {
        Ok(line.map(Line))
    }
}

#[derive(Debug)]
struct Line(Box<dyn Transport>);

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let is_there = self.0.await_input(timeout)?;
        if !self.0.buffers().input().contains(&OVER) {
            return Ok(is_there);
        }
        assert_ne!(timeout.after, time::Duration::NotHappening, "nothing would end this");
        Err(Error::Timeout(timeout.reason))
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
