//! What an island sounds like: surf, wind, and a bird or a bell, as a WAV file.

use std::f32::consts::TAU;

use peerage::rng::Rng;

const RATE: u32 = 22_050;

/// A recording of `seconds`: mono, 16 bits, 22,050 samples a second, in a RIFF WAVE file (Microsoft and IBM, 1991).
pub(super) fn recording(seconds: u32, rng: &mut Rng) -> Vec<u8> {
    let samples = (seconds * RATE) as usize;
    let calls = calls(seconds, rng);
    let swell = 5.0 + rng.below(40) as f32 / 10.0; // seconds from one wave to the next
    let (mut surf, mut wind, mut wind_before) = (0.0_f32, 0.0_f32, 0.0_f32);
    let mut data = Vec::with_capacity(samples * 2);
    for i in 0..samples {
        let at = i as f32 / RATE as f32;
        let white = rng.below(65_536) as f32 / 32_768.0 - 1.0;
        // A wave comes slowly, breaks, and runs out.
        let phase = (at / swell).fract();
        let strength = if phase < 0.35 { phase / 0.35 } else { 1.0 - (phase - 0.35) / 0.65 };
        surf += (white - surf) * (0.05 + 0.30 * strength * strength);
        wind += (white - wind) * 0.02;
        wind_before += (wind - wind_before) * 0.006;
        let mut value = surf * (0.06 + 0.42 * strength * strength) + (wind - wind_before) * 0.9;
        for call in &calls {
            value += call.at(at);
        }
        // The ends fade, so that a player may loop it without a click.
        let fade = (at / 0.8).min((seconds as f32 - at) / 0.8).clamp(0.0, 1.0);
        let sample = (value * fade).clamp(-1.0, 1.0) * 30_000.0;
        data.extend_from_slice(&(sample as i16).to_le_bytes());
    }
    wave(&data)
}

/// A tone that rings out: a bell where it keeps its pitch, a gull where it falls.
struct Call {
    start: f32,
    length: f32,
    pitch: f32,
    fall: f32,
    loudness: f32,
}

impl Call {
    fn at(&self, time: f32) -> f32 {
        let part = (time - self.start) / self.length;
        if !(0.0..1.0).contains(&part) {
            return 0.0;
        }
        let since = time - self.start;
        let cycles = self.pitch * (since - self.fall * since * part / 2.0);
        let envelope = (part / 0.04).min(1.0) * (1.0 - part) * (1.0 - part);
        self.loudness * envelope * ((cycles * TAU).sin() + 0.35 * (cycles * 2.76 * TAU).sin())
    }
}

fn calls(seconds: u32, rng: &mut Rng) -> Vec<Call> {
    let bell = rng.below(2) == 0;
    let pitch = if bell { 320.0 + rng.below(240) as f32 } else { 1_300.0 + rng.below(700) as f32 };
    let mut calls = Vec::new();
    let mut start = 1.0 + rng.below(20) as f32 / 10.0;
    while start < seconds as f32 - 2.0 {
        let (length, fall, loudness) = if bell { (2.6, 0.0, 0.14) } else { (0.32, 0.45, 0.08) };
        calls.push(Call { start, length, pitch, fall, loudness });
        start += if bell { 3.0 } else { 0.45 } + rng.below(if bell { 30 } else { 22 }) as f32 / 10.0;
    }
    calls
}

fn wave(data: &[u8]) -> Vec<u8> {
    let length = data.len() as u32;
    let mut file = Vec::with_capacity(44 + data.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes()); // PCM
    file.extend_from_slice(&1_u16.to_le_bytes()); // channels
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(&2_u16.to_le_bytes());
    file.extend_from_slice(&16_u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(data);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_how_long_it_is_and_is_not_silent() {
        let file = recording(3, &mut Rng::new(7));
        let data = (3 * RATE * 2) as usize;
        assert_eq!(file.len(), 44 + data);
        assert_eq!(file[40..44], (data as u32).to_le_bytes());
        let loudest = file[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs()).max();
        assert!(loudest.is_some_and(|l| (2_000..32_000).contains(&l)), "{loudest:?}");
    }
}
