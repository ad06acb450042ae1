//! A file that holds a run between two epochs.

use serde::{Deserialize, Serialize};

use super::state::{Numbers, Packed};

/// How such a file begins.
const MAGIC: &[u8; 19] = b"segloss checkpoint\n";

/// Number of lengths at the front: of the words, and of the three groups of tensors.
const PARTS: usize = 4;

/// A run between two epochs, and what it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// Every option that decides its numbers, with its value.
    pub(crate) asked: Vec<(String, String)>,
    /// Epochs asked for.
    pub(crate) epochs: usize,
    /// The run.
    pub(crate) state: Packed,
}

/// What of it is text.
#[derive(Serialize, Deserialize)]
struct Words {
    asked: Vec<(String, String)>,
    epochs: usize,
    numbers: Numbers,
}

impl Checkpoint {
    /// Epochs that are complete.
    pub(crate) fn done(&self) -> usize {
        self.state.numbers.history.len()
    }

    /// The file: its beginning, the CRC-32 of all that follows, lengths, JSON and Burn's records.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Packed { numbers, network, optimizer, best } = &self.state;
        let words = Words { asked: self.asked.clone(), epochs: self.epochs, numbers: numbers.clone() };
        let words = serde_json::to_vec(&words)?;
        let parts: [&[u8]; PARTS] = [&words, network, optimizer, best];
        let mut body: Vec<u8> = parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes()).collect();
        parts.iter().for_each(|part| body.extend(*part));
        Ok([&MAGIC[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat())
    }

    /// Reads a file; or says what is wrong with it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("is no checkpoint of segloss")?;
        let (sum, body) = rest.split_first_chunk().ok_or("is cut short")?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err("is cut short or damaged: its checksum does not fit".into());
        }
        let mut rest = body.get(8 * PARTS..).ok_or("is cut short")?;
        let mut parts = [&[][..]; PARTS];
        for (part, length) in parts.iter_mut().zip(body.chunks_exact(8)) {
            let length = length.try_into().map_or(u64::MAX, u64::from_le_bytes);
            let at = usize::try_from(length).map_err(|_| "is cut short")?;
            (*part, rest) = rest.split_at_checked(at).ok_or("is cut short")?;
        }
        let [words, network, optimizer, best] = parts;
        let Words { asked, epochs, numbers } =
            serde_json::from_slice(words).map_err(|error| format!("was written by another version of segloss ({error})"))?;
        let state = Packed { numbers, network: network.into(), optimizer: optimizer.into(), best: best.into() };
        Ok(Self { asked, epochs, state })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::train::run::EpochRecord;
    use crate::train::validation::ClassReport;

    pub(crate) fn checkpoint(done: usize, epochs: usize) -> Checkpoint {
        let class = ClassReport { target: 0.1 + 0.2, predicted: 1.0 / 3.0, probability: 5e-324, dice: 0.5 };
        let record = |epoch| EpochRecord {
            epoch,
            learning_rate: 1e-3,
            total: 0.1 * epoch as f64,
            terms: Vec::new(),
            pressure: vec![1.0 / 3.0],
            classes: vec![class],
            seconds: 0.25,
            unseen: vec![1],
        };
        let numbers =
            Numbers { history: (1..=done).map(record).collect(), position: u128::MAX - 1, order: vec![3, 1], best: None };
        let state = Packed { numbers, network: vec![1, 2, 3], optimizer: Vec::new(), best: vec![4; 100] };
        Checkpoint { asked: vec![("loss".into(), "ce".into()), ("seed".into(), "3".into())], epochs, state }
    }

    #[test]
    fn every_bit_comes_back() {
        let mut kept = checkpoint(3, 4);
        assert_eq!(Checkpoint::from_bytes(&kept.to_bytes().unwrap()).unwrap(), kept);
        assert_eq!(kept.done(), 3);
        kept.state.numbers.history[2].total = f64::NEG_INFINITY;
        kept.state.numbers.history[2].classes[0].dice = f64::NAN;
        let again = Checkpoint::from_bytes(&kept.to_bytes().unwrap()).unwrap().state.numbers.history;
        assert!(again[2].classes[0].dice.is_nan() && again[2].total == f64::NEG_INFINITY);
    }

    #[test]
    fn any_damage_is_seen() {
        let bytes = checkpoint(1, 4).to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert!(Checkpoint::from_bytes(&bytes).is_err(), "{at}");
        }
        assert_eq!(Checkpoint::from_bytes(b"PK").unwrap_err(), "is no checkpoint of segloss");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut body = [u64::MAX, 0, 0, 0].map(u64::to_le_bytes).concat();
        body.extend(b"{}");
        let bytes = [&MAGIC[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat();
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap_err(), "is cut short");
    }
}
