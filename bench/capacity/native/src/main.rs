//! Many calls from one thread, commanded line by line.
//!
//! `generator PROTOCOL HOST:PORT PATTERN [--silent] [--utterances]`: PROTOCOL is `voice` (ours, over WebTransport), `quic`,
//! `websocket` or `udp` (these echo what they get); PATTERN is the file that `bench.capacity.traffic` writes. `--silent` calls
//! send pings alone. `--utterances` says that the server answers whole utterances, so that no frame is the echo of another.
//!
//! Commands on standard input, each answered by one line of JSON:
//! `grow N SECONDS` begins N more calls over that time; `begin` and `end` enclose a measured window;
//! `handshakes CONCURRENCY SECONDS` opens and closes connections; `quit` closes all calls.

mod bare_udp;
mod call;
mod plain_quic;
mod prefixed;
mod statistics;
mod tls;
mod traffic;
mod voice;
mod websocket;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;
use tokio::task::{spawn_local, JoinHandle, LocalSet};
use tokio::time::{sleep, timeout, Instant};

use call::{Arrivals, Failure};
use statistics::{processor_seconds, Quantiles, Statistics};
use traffic::Pattern;

const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Voice,
    Quic,
    WebSocket,
    Udp,
}

struct Generator {
    protocol: Protocol,
    server: SocketAddr,
    pattern: Rc<Pattern>,
    statistics: Rc<RefCell<Statistics>>,
    echoes_frames: bool,
    stop: watch::Sender<bool>,
    calls: Vec<JoinHandle<()>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    LocalSet::new().run_until(run()).await;
}

async fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|each| each == option);
    let protocol = match arguments[0].as_str() {
        "voice" => Protocol::Voice,
        "quic" => Protocol::Quic,
        "websocket" => Protocol::WebSocket,
        "udp" => Protocol::Udp,
        other => panic!("PROTOCOL is voice, quic, websocket or udp, got {other}"),
    };
    let pattern = if has("--silent") { Pattern::silent() } else { Pattern::read(&arguments[2]) };
    let mut generator = Generator {
        protocol,
        server: arguments[1].parse().expect("HOST:PORT"),
        pattern: Rc::new(pattern),
        statistics: Rc::default(),
        echoes_frames: !has("--utterances"),
        stop: watch::channel(false).0,
        calls: vec![],
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<f64>().expect("a number");
        match words[0] {
            "grow" => println!("{}", generator.grow(number(1) as usize, number(2)).await),
            "begin" => {
                generator.statistics.borrow_mut().begin();
                println!("{{}}");
            }
            "end" => println!("{}", generator.statistics.borrow().as_json()),
            "handshakes" => println!("{}", generator.handshakes(number(1) as usize, number(2)).await),
            "quit" => break,
            other => panic!("unknown command {other}"),
        }
    }
    generator.stop.send_replace(true);
    for call in generator.calls {
        let _ = timeout(Duration::from_secs(2), call).await;
    }
}

impl Generator {
    /// Begin `count` more calls, evenly over `seconds`, and return once each has been opened or has failed.
    async fn grow(&mut self, count: usize, seconds: f64) -> String {
        let (opened, mut results) = tokio::sync::mpsc::unbounded_channel();
        for index in 0..count {
            let rank = self.calls.len();
            let arrivals = Arrivals::new(self.pattern.clone(), rank, self.statistics.clone(), self.echoes_frames);
            let (protocol, server, opened) = (self.protocol, self.server, opened.clone());
            let (stop, statistics) = (self.stop.subscribe(), self.statistics.clone());
            let delay = Duration::from_secs_f64(seconds * index as f64 / count as f64);
            self.calls.push(spawn_local(async move {
                sleep(delay).await;
                let arrivals = Rc::new(arrivals);
                let ended = match protocol {
                    Protocol::Voice => match within(voice::VoiceLink::open(server, arrivals.clone())).await {
                        Ok(link) => run_call(link, arrivals, stop, &opened).await,
                        Err(failure) => return drop(opened.send(Err(failure.to_string()))),
                    },
                    Protocol::Quic => match within(plain_quic::QuicLink::open(server, arrivals.clone())).await {
                        Ok(link) => run_call(link, arrivals, stop, &opened).await,
                        Err(failure) => return drop(opened.send(Err(failure.to_string()))),
                    },
                    Protocol::WebSocket => match within(websocket::SocketLink::open(server, arrivals.clone())).await {
                        Ok(link) => run_call(link, arrivals, stop, &opened).await,
                        Err(failure) => return drop(opened.send(Err(failure.to_string()))),
                    },
                    Protocol::Udp => match within(bare_udp::UdpLink::open(server, arrivals.clone())).await {
                        Ok(link) => run_call(link, arrivals, stop, &opened).await,
                        Err(failure) => return drop(opened.send(Err(failure.to_string()))),
                    },
                };
                statistics.borrow_mut().ended(ended.err().map(|failure| failure.to_string()));
            }));
        }
        drop(opened);
        let (mut up, mut failed, mut reason) = (0, 0, String::new());
        while up + failed < count {
            match results.recv().await {
                Some(Ok(())) => up += 1,
                Some(Err(failure)) => {
                    failed += 1;
                    reason = failure;
                }
                None => break,
            }
        }
        self.statistics.borrow_mut().sessions += up;
        let sessions = self.statistics.borrow().sessions;
        format!("{{\"sessions\": {sessions}, \"opened\": {up}, \"failed\": {failed}, \"reason\": {reason:?}}}")
    }

    /// Open and close connections, `concurrency` at a time, for `seconds`.
    async fn handshakes(&self, concurrency: usize, seconds: f64) -> String {
        let (began, used) = (Instant::now(), processor_seconds());
        let end = began + Duration::from_secs_f64(seconds);
        let tasks: Vec<_> = (0..concurrency)
            .map(|_| {
                let (protocol, server) = (self.protocol, self.server);
                spawn_local(async move {
                    let (mut times, mut failures, mut reason) = (vec![], 0usize, String::new());
                    while Instant::now() < end {
                        let since = Instant::now();
                        let opened = match protocol {
                            Protocol::Voice => within(voice::connect_and_close(server)).await,
                            Protocol::Quic => within(plain_quic::connect_and_close(server)).await,
                            Protocol::WebSocket => within(websocket::connect_and_close(server)).await,
                            Protocol::Udp => within(bare_udp::connect_and_close(server)).await,
                        };
                        match opened {
                            Ok(()) => times.push(since.elapsed().as_secs_f64() * 1e3),
                            Err(failure) => {
                                failures += 1;
                                reason = failure.to_string();
                            }
                        }
                    }
                    (times, failures, reason)
                })
            })
            .collect();
        let (mut times, mut failed, mut reason) = (vec![], 0, String::new());
        for task in tasks {
            let (each, failures, why) = task.await.expect("a handshake task");
            times.extend(each);
            failed += failures;
            if !why.is_empty() {
                reason = why;
            }
        }
        let (seconds, processor) = (began.elapsed().as_secs_f64(), processor_seconds() - used);
        format!(
            "{{\"seconds\": {seconds:.3}, \"completed\": {}, \"failed\": {failed}, \"reason\": {reason:?}, \"cpu_s\": {processor:.2}, \"ms\": {}}}",
            times.len(),
            Quantiles::of(&times).as_json()
        )
    }
}

async fn run_call<L: call::Link>(
    link: L,
    arrivals: Rc<Arrivals>,
    stop: watch::Receiver<bool>,
    opened: &tokio::sync::mpsc::UnboundedSender<Result<(), String>>,
) -> Result<(), Failure> {
    let _ = opened.send(Ok(()));
    call::run(link, arrivals, stop).await
}

async fn within<T>(opening: impl std::future::Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(OPEN_TIMEOUT, opening).await {
        Ok(result) => result,
        Err(_) => Err("timeout".into()),
    }
}
