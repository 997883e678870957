//! One call, whatever carries it: when it sends what, and how late its answers are.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{watch, Notify};
use tokio::time::{sleep_until, Instant};

use crate::statistics::{Datagrams, Statistics};
use crate::traffic::{duration, Pattern};

pub type Failure = Box<dyn std::error::Error>;

pub const PING_INTERVAL: Duration = Duration::from_millis(250);
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// The sending side of one connection.
pub trait Link {
    async fn send_frame(&mut self, sequence: u64, tick: u64, payload: &[u8]) -> Result<(), Failure>;
    async fn send_ping(&mut self, id: u64) -> Result<(), Failure>;
    async fn send_played(&mut self, report: Played) -> Result<(), Failure>;
    /// What the connection has sent and received so far; `None` where it is none of UDP.
    fn datagrams(&self) -> Option<Datagrams>;
    async fn close(self);
}

/// How much of an answer has left the loudspeaker.
pub struct Played {
    pub utterance_id: u64,
    pub position_ms: u64,
    pub is_complete: bool,
}

/// What comes in for one call; the tasks that read its connection report here.
pub struct Arrivals {
    pattern: Rc<Pattern>,
    offset: usize,
    began: Cell<Instant>,
    jitter: Cell<Jitter>,
    statistics: Rc<RefCell<Statistics>>,
    echoes_frames: bool,
    playing: RefCell<VecDeque<Utterance>>,
    has_audio: Notify,
    failure: RefCell<Option<String>>,
}

struct Utterance {
    id: u64,
    began: Instant,
    received_ms: u64,
    is_ended: bool,
}

/// The interarrival jitter of RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Default)]
struct Jitter {
    last_ms: Option<f64>,
    mean_ms: f64,
}

impl Jitter {
    fn after(self, late_ms: f64) -> Self {
        let deviation = self.last_ms.map_or(self.mean_ms, |last| (late_ms - last).abs());
        Self { last_ms: Some(late_ms), mean_ms: self.mean_ms + (deviation - self.mean_ms) / 16.0 }
    }
}

impl Arrivals {
    pub fn new(pattern: Rc<Pattern>, rank: usize, statistics: Rc<RefCell<Statistics>>, echoes_frames: bool) -> Self {
        let offset = pattern.offset(rank);
        Self {
            pattern,
            offset,
            began: Cell::new(Instant::now()),
            jitter: Cell::default(),
            statistics,
            echoes_frames,
            playing: RefCell::default(),
            has_audio: Notify::new(),
            failure: RefCell::default(),
        }
    }

    /// A downlink frame has come; where frames are echoed it is late by the time since it was due to be sent.
    pub fn frame(&self, sequence: u64, bytes: usize) {
        let mut statistics = self.statistics.borrow_mut();
        statistics.frames_received += 1;
        statistics.bytes_received += bytes as u64;
        if self.echoes_frames {
            if let Some((tick, _)) = self.pattern.frame(self.offset, sequence) {
                let due = self.began.get() + duration(tick);
                let late_ms = milliseconds(due);
                let jitter = self.jitter.get().after(late_ms);
                self.jitter.set(jitter);
                statistics.echoes_ms.push(late_ms);
                statistics.jitter_ms.push(jitter.mean_ms);
            }
        }
    }

    pub fn pong(&self, id: u64) {
        let due = self.began.get() + PING_INTERVAL * id as u32;
        self.statistics.borrow_mut().pongs_ms.push(milliseconds(due));
    }

    /// Audio of an utterance up to `end_ms` has come, in the voice protocol.
    pub fn heard(&self, utterance_id: u64, end_ms: u64) {
        let mut playing = self.playing.borrow_mut();
        match playing.iter_mut().find(|each| each.id == utterance_id) {
            Some(utterance) => utterance.received_ms = end_ms,
            None => {
                playing.push_back(Utterance { id: utterance_id, began: Instant::now(), received_ms: end_ms, is_ended: false });
                self.has_audio.notify_one();
            }
        }
    }

    /// No more of an utterance comes; `None` where it was interrupted.
    pub fn ended(&self, utterance_id: u64, is_whole: bool) {
        let mut playing = self.playing.borrow_mut();
        if is_whole {
            playing.iter_mut().filter(|each| each.id == utterance_id).for_each(|each| each.is_ended = true);
        } else {
            playing.retain(|each| each.id != utterance_id);
        }
    }

    /// The connection is gone.
    pub fn failed(&self, reason: impl ToString) {
        self.failure.borrow_mut().get_or_insert(reason.to_string());
        self.has_audio.notify_one();
    }

    fn report(&self, now: Instant) -> Option<Played> {
        let mut playing = self.playing.borrow_mut();
        let utterance = playing.front()?;
        let position_ms = utterance.received_ms.min((now - utterance.began).as_millis() as u64);
        let is_complete = utterance.is_ended && position_ms == utterance.received_ms;
        let report = Played { utterance_id: utterance.id, position_ms, is_complete };
        if is_complete {
            playing.pop_front();
            if let Some(next) = playing.front_mut() {
                next.began = now;
            }
        }
        Some(report)
    }
}

/// Send frames and pings when they are due, and report playback, until told to stop.
pub async fn run<L: Link>(mut link: L, arrivals: Rc<Arrivals>, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let began = Instant::now();
    arrivals.began.set(began);
    let (mut sequence, mut ping_id) = (0, 0);
    let mut report_at: Option<Instant> = None;
    let mut counted = link.datagrams();
    loop {
        let frame = arrivals.pattern.frame(arrivals.offset, sequence);
        let frame_at = frame.map(|(tick, _)| began + duration(tick));
        let ping_at = began + PING_INTERVAL * ping_id as u32;
        let next = [frame_at, report_at].into_iter().flatten().fold(ping_at, Instant::min);
        tokio::select! {
            _ = sleep_until(next) => {}
            _ = arrivals.has_audio.notified() => {
                report_at = report_at.or(Some(Instant::now() + REPORT_INTERVAL));
            }
            _ = stop.changed() => break,
        }
        if let Some(reason) = arrivals.failure.borrow_mut().take() {
            return Err(reason.into());
        }
        let now = Instant::now();
        if let (Some((tick, payload)), Some(due)) = (frame, frame_at) {
            if now >= due {
                {
                    let mut statistics = arrivals.statistics.borrow_mut();
                    statistics.frames_sent += 1;
                    statistics.behind_ms.push(milliseconds(due));
                }
                link.send_frame(sequence, tick, payload).await?;
                sequence += 1;
            }
        }
        if now >= ping_at {
            link.send_ping(ping_id).await?;
            ping_id += 1;
        }
        if report_at.is_some_and(|at| now >= at) {
            let report = arrivals.report(now);
            report_at = report.is_some().then(|| now + REPORT_INTERVAL);
            if let Some(report) = report {
                link.send_played(report).await?;
            }
        }
        let before = std::mem::replace(&mut counted, link.datagrams());
        if let (Some(now), Some(before)) = (counted, before) {
            arrivals.statistics.borrow_mut().count(now.since(before));
        }
    }
    link.close().await;
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    Instant::now().saturating_duration_since(since).as_secs_f64() * 1e3
}
