//! What a caller sends: Opus packets at the times that discontinuous transmission leaves them, over and over.

use std::time::Duration;

pub const TICKS_PER_SECOND: u64 = 48_000;

/// The file holds, big-endian: the period in ticks (4 bytes), then for each frame its tick (4), its length (2) and itself.
pub struct Pattern {
    period: u64,
    frames: Vec<(u64, Vec<u8>)>,
}

impl Pattern {
    pub fn read(path: &str) -> Self {
        let file = std::fs::read(path).expect("PATTERN is a readable file");
        let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as u64;
        let (mut frames, mut at) = (vec![], 4);
        while at < file.len() {
            let length = u16::from_be_bytes(file[at + 4..at + 6].try_into().unwrap()) as usize;
            frames.push((number(at), file[at + 6..at + 6 + length].to_vec()));
            at += 6 + length;
        }
        Self { period: number(0), frames }
    }

    /// No frame at all.
    pub fn silent() -> Self {
        Self { period: TICKS_PER_SECOND, frames: vec![] }
    }

    /// Where the call of this rank begins, so that calls do not speak in step: golden sections of the period.
    pub fn offset(&self, rank: usize) -> usize {
        let section = (rank as f64 * 0.618_033_988_75).fract();
        (section * self.frames.len() as f64) as usize
    }

    /// The tick, from 0, and the payload of the frame `sequence` of a call that begins at `offset`.
    pub fn frame(&self, offset: usize, sequence: u64) -> Option<(u64, &[u8])> {
        let count = self.frames.len();
        if count == 0 {
            return None;
        }
        let index = offset + sequence as usize;
        let (tick, payload) = &self.frames[index % count];
        Some((tick + (index / count) as u64 * self.period - self.frames[offset].0, payload))
    }
}

pub fn duration(ticks: u64) -> Duration {
    Duration::from_micros(ticks * 1_000_000 / TICKS_PER_SECOND)
}
