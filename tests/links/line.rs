//! A bad line between a client and a server on this machine: bytes take their time, share a narrow line, and some connections
//! are cut. std threads only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the line does to the bytes of all connections on it.
pub(crate) struct Line {
    /// How long each byte is on its way, in each direction.
    latency: Duration,
    /// How long the line takes for one byte, in each direction; zero if it is wide.
    per_byte: Duration,
    /// When it is free again: towards the server, towards the client.
    free: [Mutex<Instant>; 2],
}

impl Line {
    /// `baud`: bits per second, of which a byte needs ten (8N1).
    pub(crate) fn new(latency: Duration, baud: Option<u32>) -> Arc<Line> {
        let per_byte = baud.map_or(Duration::ZERO, |baud| Duration::from_secs(10) / baud);
        Arc::new(Line { latency, per_byte, free: [Mutex::new(Instant::now()), Mutex::new(Instant::now())] })
    }

    /// When so many bytes that were sent now arrive.
    fn arrival(&self, way: Way, bytes: usize) -> Instant {
        let mut free = self.free[way as usize].lock().unwrap();
        *free = (*free).max(Instant::now()) + self.per_byte * bytes as u32;
        *free + self.latency
    }
}

/// Which connections are cut.
#[derive(Clone, Copy)]
pub(crate) struct Cuts {
    pub(crate) seed: u64,
    pub(crate) percent: u64,
    /// The byte at which one is cut is drawn below this, of both directions together.
    pub(crate) within: u64,
}

impl Cuts {
    /// The byte at which the connection of this number is cut.
    fn of(self, connection: u64) -> Option<u64> {
        let drawn = scrambled(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(connection));
        (drawn % 100 < self.percent).then(|| scrambled(drawn) % self.within)
    }
}

/// SplitMix64's last step.
fn scrambled(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Up,
    Down,
}

/// What came through, as the client sees it: bytes count when they have arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) connections: u64,
    pub(crate) cut: u64,
    /// Bytes towards the server.
    pub(crate) up: u64,
    /// Bytes towards the client.
    pub(crate) down: u64,
    /// How often bytes towards the client followed bytes towards the server, in one connection.
    pub(crate) round_trips: u64,
}

/// An address on this machine that leads over a line to a server. Dropping it cuts what is still connected.
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    line: Arc<Line>,
    cuts: Option<Cuts>,
    server: SocketAddr,
    traffic: Mutex<Traffic>,
    open: Mutex<Vec<Arc<Connection>>>,
    stopping: AtomicBool,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// How many bytes may still pass, and which way the last ones went.
    state: Mutex<(Option<u64>, Way)>,
}

impl Wire {
    pub(crate) fn new(server: SocketAddr, line: &Arc<Line>, cuts: Option<Cuts>) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            line: Arc::clone(line),
            cuts,
            server,
            traffic: Mutex::default(),
            open: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if for_acceptor.stopping.load(SeqCst) {
                    break;
                }
                for_acceptor.connect(stream.unwrap());
            }
        });
        Wire { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        *self.shared.traffic.lock().unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _stopped = acceptor.join();
        }
        for connection in self.shared.open.lock().unwrap().drain(..) {
            connection.cut();
        }
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let server = TcpStream::connect(self.server).unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let number = {
            let mut traffic = self.traffic.lock().unwrap();
            traffic.connections += 1;
            traffic.connections - 1
        };
        let left = self.cuts.and_then(|cuts| cuts.of(number));
        let connection = Arc::new(Connection { client, server, state: Mutex::new((left, Way::Down)) });
        let mut open = self.open.lock().unwrap();
        open.retain(|connection| Arc::strong_count(connection) > 1);
        open.push(Arc::clone(&connection));
        for way in [Way::Up, Way::Down] {
            let (sender, receiver) = channel();
            let (line, reads) = (Arc::clone(&self.line), Arc::clone(&connection));
            small_thread(move || reads.read(way, &line, &sender));
            let (shared, writes) = (Arc::clone(self), Arc::clone(&connection));
            small_thread(move || writes.write(way, &shared, &receiver));
        }
    }
}

fn small_thread(run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap();
}

impl Connection {
    /// Takes bytes as they are sent, and says when they arrive.
    fn read(&self, way: Way, line: &Line, sender: &Sender<(Instant, Vec<u8>)>) {
        let mut from = if way == Way::Up { &self.client } else { &self.server };
        let mut buffer = [0; 4096];
        // A reset is an end as well. The empty piece that says so travels like any other.
        loop {
            let length = from.read(&mut buffer).unwrap_or_default();
            let piece = buffer[..length].to_vec();
            if sender.send((line.arrival(way, length), piece)).is_err() || length == 0 {
                return;
            }
        }
    }

    /// Delivers bytes when their time has come.
    fn write(&self, way: Way, shared: &Shared, receiver: &Receiver<(Instant, Vec<u8>)>) {
        let mut to = if way == Way::Up { &self.server } else { &self.client };
        for (arrival, piece) in receiver {
            thread::sleep(arrival.saturating_duration_since(Instant::now()));
            let (passed, is_cut) = self.pass(way, piece.len(), shared);
            let written = to.write_all(&piece[..passed]);
            if is_cut {
                self.cut();
                return;
            }
            if piece.is_empty() || written.is_err() {
                let _gone = to.shutdown(Shutdown::Write);
                return;
            }
        }
    }

    /// How many of these bytes pass, and whether the connection is cut behind them.
    fn pass(&self, way: Way, bytes: usize, shared: &Shared) -> (usize, bool) {
        let mut state = self.state.lock().unwrap();
        let (left, last) = &mut *state;
        let passed = left.map_or(bytes, |left| bytes.min(left as usize));
        let mut traffic = shared.traffic.lock().unwrap();
        *(if way == Way::Up { &mut traffic.up } else { &mut traffic.down }) += passed as u64;
        if passed > 0 && (std::mem::replace(last, way), way) == (Way::Up, Way::Down) {
            traffic.round_trips += 1;
        }
        let is_cut = passed < bytes;
        traffic.cut += u64::from(is_cut);
        if let Some(left) = left {
            *left -= passed as u64;
        }
        (passed, is_cut)
    }

    fn cut(&self) {
        // The other direction may have cut it already.
        let _ = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
    }
}
