//! What one window of all calls together shows.

use tokio::time::Instant;

/// Datagrams of UDP, as the caller counts them, and their bytes.
#[derive(Clone, Copy, Default)]
pub struct Datagrams {
    pub sent: u64,
    pub received: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

impl Datagrams {
    pub fn and_sent(self, bytes: usize) -> Self {
        Self { sent: self.sent + 1, sent_bytes: self.sent_bytes + bytes as u64, ..self }
    }

    pub fn and_received(self, bytes: usize) -> Self {
        Self { received: self.received + 1, received_bytes: self.received_bytes + bytes as u64, ..self }
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            received_bytes: self.received_bytes - earlier.received_bytes,
        }
    }

    fn and(self, more: Self) -> Self {
        Self {
            sent: self.sent + more.sent,
            received: self.received + more.received,
            sent_bytes: self.sent_bytes + more.sent_bytes,
            received_bytes: self.received_bytes + more.received_bytes,
        }
    }

    fn as_json(self) -> String {
        let Self { sent, received, sent_bytes, received_bytes } = self;
        format!(
            "{{\"sent\": {sent}, \"received\": {received}, \"sent_bytes\": {sent_bytes}, \"received_bytes\": {received_bytes}}}"
        )
    }
}

pub struct Statistics {
    pub sessions: usize,
    pub echoes_ms: Vec<f64>,
    pub jitter_ms: Vec<f64>,
    pub pongs_ms: Vec<f64>,
    pub behind_ms: Vec<f64>,
    pub frames_sent: u64,
    pub frames_received: u64,
    pub bytes_received: u64,
    datagrams: Option<Datagrams>,
    lost: u64,
    reason: String,
    began: Instant,
    processor: f64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            sessions: 0,
            echoes_ms: vec![],
            jitter_ms: vec![],
            pongs_ms: vec![],
            behind_ms: vec![],
            frames_sent: 0,
            frames_received: 0,
            bytes_received: 0,
            datagrams: None,
            lost: 0,
            reason: String::new(),
            began: Instant::now(),
            processor: 0.0,
        }
    }
}

impl Statistics {
    /// Forget what was before.
    pub fn begin(&mut self) {
        *self = Self { sessions: self.sessions, processor: processor_seconds(), ..Self::default() };
    }

    /// A call has sent and received so many more.
    pub fn count(&mut self, more: Datagrams) {
        self.datagrams = Some(self.datagrams.unwrap_or_default().and(more));
    }

    /// A call is over; one with a reason was lost.
    pub fn ended(&mut self, reason: Option<String>) {
        if let Some(reason) = reason {
            self.sessions = self.sessions.saturating_sub(1);
            self.lost += 1;
            self.reason = reason;
        }
    }

    pub fn as_json(&self) -> String {
        format!(
            "{{\"seconds\": {:.3}, \"sessions\": {}, \"lost\": {}, \"reason\": {:?}, \"frames_sent\": {}, \
             \"frames_received\": {}, \"bytes_received\": {}, \"cpu_s\": {:.2}, \"echo_ms\": {}, \"jitter_ms\": {}, \"pong_ms\": {}, \
             \"behind_ms\": {}, \"datagrams\": {}}}",
            self.began.elapsed().as_secs_f64(),
            self.sessions,
            self.lost,
            self.reason,
            self.frames_sent,
            self.frames_received,
            self.bytes_received,
            processor_seconds() - self.processor,
            Quantiles::of(&self.echoes_ms).as_json(),
            Quantiles::of(&self.jitter_ms).as_json(),
            Quantiles::of(&self.pongs_ms).as_json(),
            Quantiles::of(&self.behind_ms).as_json(),
            self.datagrams.map_or("null".into(), Datagrams::as_json),
        )
    }
}

pub struct Quantiles {
    count: usize,
    median: f64,
    p99: f64,
    max: f64,
}

impl Quantiles {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| match sorted.len() {
            0 => 0.0,
            count => sorted[((count as f64 * share).ceil() as usize).clamp(1, count) - 1],
        };
        Self { count: sorted.len(), median: rank(0.5), p99: rank(0.99), max: rank(1.0) }
    }

    pub fn as_json(&self) -> String {
        let Self { count, median, p99, max } = self;
        format!("{{\"n\": {count}, \"median\": {median:.2}, \"p99\": {p99:.2}, \"max\": {max:.2}}}")
    }
}

/// What this process has used so far, user and system.
pub fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|each| each.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
