//! Our side of the comparison: a process that does what it is asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use backend_ndarray::Element;
use half::{bf16, f16};
use loss_core::{Activation, Loss, LossError};
use rayon::ThreadPool;

use crate::cases::SEED;
use crate::memory::needed_by;
use crate::protocol::{Dtype, LabelType, Op, Reply, Request};
use crate::slot::{LabelArray, Slot, labels_of};

/// A [`Slot`] of any type.
pub(crate) trait AnySlot: Send {
    /// Seconds of one call, on average.
    fn seconds(&mut self, loss: &Loss, op: Op, repeat: usize) -> Result<f64, LossError>;
    /// Bytes allocated and given at one time by one call.
    fn memory(&mut self, loss: &Loss, op: Op) -> Result<(u64, Option<u64>), LossError>;
    /// Writes logits and labels to a folder.
    fn write(&self, folder: &Path) -> Result<(), String>;
    /// Writes the gradient to a file, and gives the value.
    fn save(&mut self, loss: &Loss, path: &Path) -> Result<f64, String>;
    /// Runs a call under a function that marks it.
    fn marked(&mut self, loss: &Loss, op: Op, mark: Mark) -> Result<(), LossError>;
}

/// A function that does nothing but what it is handed.
pub(crate) type Mark = fn(&mut dyn FnMut() -> Result<f64, LossError>) -> Result<f64, LossError>;

/// Numbers as bytes.
trait Bytes: Element {
    fn bytes(self) -> [u8; 8];
    const LENGTH: usize;
}

macro_rules! bytes {
    ($($type:ty),*) => {$(
        impl Bytes for $type {
            const LENGTH: usize = size_of::<$type>();
            fn bytes(self) -> [u8; 8] {
                let mut all = [0; 8];
                all[..Self::LENGTH].copy_from_slice(&self.to_ne_bytes());
                all
            }
        }
    )*};
}

bytes!(f32, f64, f16, bf16);

fn write<T: Copy>(
    path: &Path,
    values: impl Iterator<Item = T>,
    bytes: impl Fn(T) -> [u8; 8],
    length: usize,
) -> Result<(), String> {
    let mut all = Vec::with_capacity(length * values.size_hint().0);
    values.for_each(|value| all.extend_from_slice(&bytes(value)[..length]));
    fs::write(path, all).map_err(|error| format!("{}: {error}", path.display()))
}

impl<E: Element> Slot<E> {
    /// Hands over a call that does an op.
    fn with<R>(
        &mut self,
        loss: &Loss,
        op: Op,
        f: impl FnOnce(&mut dyn FnMut() -> Result<f64, LossError>) -> Result<R, LossError>,
    ) -> Result<R, LossError> {
        match op {
            Op::Value => f(&mut || self.value(loss)),
            Op::Both => f(&mut || self.both(loss)),
            Op::Into => f(&mut || self.both_into_spare(loss)),
            Op::Gradient => self.with_gradient_pass(loss, f)?,
            Op::Copy => f(&mut || {
                self.copy();
                Ok(0.0)
            }),
        }
    }
}

impl<E: Bytes> AnySlot for Slot<E> {
    fn seconds(&mut self, loss: &Loss, op: Op, repeat: usize) -> Result<f64, LossError> {
        if op != Op::Both {
            self.spare();
        }
        self.with(loss, op, |call| {
            if repeat > 1 {
                call()?;
            }
            let start = Instant::now();
            for _ in 0..repeat {
                call()?;
            }
            Ok(start.elapsed().as_secs_f64() / repeat as f64)
        })
    }

    fn memory(&mut self, loss: &Loss, op: Op) -> Result<(u64, Option<u64>), LossError> {
        if op == Op::Into {
            self.spare();
        }
        self.with(loss, op, |call| {
            // What is made once and kept (threads, the compiled loss) is made here.
            call()?;
            let (allocated, resident, value) = needed_by(call);
            value.map(|_| (allocated, resident))
        })
    }

    fn write(&self, folder: &Path) -> Result<(), String> {
        write(&folder.join("logits"), self.logits().iter().copied(), E::bytes, E::LENGTH)?;
        let path = folder.join("labels");
        let wide = i64::to_ne_bytes;
        match self.labels() {
            LabelArray::U8(labels) => write(&path, labels.iter().copied(), |l| wide(l.into()), 8),
            LabelArray::I32(labels) => write(&path, labels.iter().copied(), |l| wide(l.into()), 8),
            LabelArray::I64(labels) => write(&path, labels.iter().copied(), wide, 8),
        }
    }

    fn save(&mut self, loss: &Loss, path: &Path) -> Result<f64, String> {
        let value = self.both_into_spare(loss).map_err(|error| error.to_string())?;
        write(path, self.spare().iter().copied(), E::bytes, E::LENGTH)?;
        Ok(value)
    }

    fn marked(&mut self, loss: &Loss, op: Op, mark: Mark) -> Result<(), LossError> {
        self.with(loss, op, |call| {
            call()?;
            mark(call).map(|_| ())
        })
    }
}

/// Logits and labels of a shape and types.
pub(crate) fn slot(shape: &[usize], dtype: Dtype, labels: LabelType) -> Result<Box<dyn AnySlot>, LossError> {
    let labels = match labels {
        LabelType::U8 => LabelArray::U8(labels_of(shape, SEED, |l| l as u8)?),
        LabelType::I32 => LabelArray::I32(labels_of(shape, SEED, |l| l as i32)?),
        LabelType::I64 => LabelArray::I64(labels_of(shape, SEED, |l| l)?),
    };
    Ok(match dtype {
        Dtype::F32 => Box::new(Slot::new(shape, SEED, |z| z as f32, labels)?),
        Dtype::F64 => Box::new(Slot::new(shape, SEED, |z| z, labels)?),
        Dtype::F16 => Box::new(Slot::new(shape, SEED, f16::from_f64, labels)?),
        Dtype::Bf16 => Box::new(Slot::new(shape, SEED, bf16::from_f64, labels)?),
    })
}

/// A pool of so many threads.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool, String> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| format!("threads: {error}"))
}

/// What was loaded, the losses that were read, and threads.
#[derive(Default)]
struct Driver {
    slots: HashMap<String, (Activation, Box<dyn AnySlot>)>,
    losses: HashMap<(String, bool), Loss>,
    pools: HashMap<usize, ThreadPool>,
    threads: usize,
}

/// Replies to requests, until there are no more.
pub(crate) fn serve(requests: impl BufRead, mut replies: impl Write) -> Result<(), String> {
    let mut driver = Driver::default();
    for line in requests.lines() {
        let line = line.map_err(|error| error.to_string())?;
        let request = serde_json::from_str(&line).map_err(|error| format!("a request that cannot be read: {error}"))?;
        let reply = driver.answer(request).unwrap_or_else(|error| Reply { error: Some(error), ..Reply::default() });
        let text = serde_json::to_string(&reply).map_err(|error| error.to_string())?;
        writeln!(replies, "{text}").and_then(|()| replies.flush()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Driver {
    fn answer(&mut self, request: Request) -> Result<Reply, String> {
        let words = |error: LossError| error.to_string();
        Ok(match request {
            Request::Hello { threads } => {
                self.threads = threads;
                Reply::default()
            }
            Request::Load { slot: name, shape, sigmoid, dtype, labels, folder } => {
                let slot = slot(&shape, dtype, labels).map_err(words)?;
                if let Some(folder) = folder {
                    slot.write(&folder)?;
                }
                let activation = if sigmoid { Activation::Sigmoid } else { Activation::Softmax };
                self.slots.insert(name, (activation, slot));
                Reply::default()
            }
            Request::Forget => {
                self.slots.clear();
                Reply::default()
            }
            Request::Run { slot, work, op, repeat, threads } => {
                let (pool, slot, loss) = self.find(&slot, &work, threads)?;
                let seconds = pool.install(|| slot.seconds(loss, op, repeat)).map_err(words)?;
                Reply { seconds: Some(seconds), ..Reply::default() }
            }
            Request::Memory { slot, work, op } => {
                let (pool, slot, loss) = self.find(&slot, &work, self.threads)?;
                let (allocated, resident) = pool.install(|| slot.memory(loss, op)).map_err(words)?;
                Reply { allocated: Some(allocated), resident, ..Reply::default() }
            }
            Request::Save { slot, work, path } => {
                let (pool, slot, loss) = self.find(&slot, &work, self.threads)?;
                Reply { value: Some(pool.install(|| slot.save(loss, &path))?), ..Reply::default() }
            }
            Request::Compare { .. } => return Err("only Python compares".to_owned()),
        })
    }

    /// The threads, the slot and the loss of a request.
    fn find(&mut self, slot: &str, work: &str, threads: usize) -> Result<(&ThreadPool, &mut Box<dyn AnySlot>, &Loss), String> {
        let (activation, slot) = self.slots.get_mut(slot).ok_or_else(|| format!("nothing is loaded as {slot}"))?;
        let loss = match self.losses.entry((work.to_owned(), *activation == Activation::Sigmoid)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let loss: Loss = work.parse().map_err(|error: LossError| error.to_string())?;
                new.insert(loss.with_activation(*activation))
            }
        };
        let pool = match self.pools.entry(threads) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(pool(threads)?),
        };
        Ok((pool, slot, loss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(requests: &[Request]) -> Vec<Reply> {
        let text: String = requests.iter().map(|r| serde_json::to_string(r).unwrap() + "\n").collect();
        let mut replies = Vec::new();
        serve(text.as_bytes(), &mut replies).unwrap();
        String::from_utf8(replies).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn load(folder: Option<&Path>, dtype: Dtype) -> Request {
        Request::Load {
            slot: "a".into(),
            shape: vec![2, 3, 8, 8],
            sigmoid: false,
            dtype,
            labels: LabelType::I64,
            folder: folder.map(Path::to_path_buf),
        }
    }

    #[test]
    fn a_conversation() {
        let folder = tempfile::tempdir().unwrap();
        let gradient = folder.path().join("gradient");
        let run = |op| Request::Run { slot: "a".into(), work: "ce + dice".into(), op, repeat: 2, threads: 1 };
        let replies = ask(&[
            Request::Hello { threads: 2 },
            load(Some(folder.path()), Dtype::F32),
            run(Op::Value),
            run(Op::Both),
            run(Op::Into),
            run(Op::Gradient),
            run(Op::Copy),
            Request::Save { slot: "a".into(), work: "ce".into(), path: gradient.clone() },
            Request::Forget,
            run(Op::Value),
        ]);
        assert!(replies[2..7].iter().all(|r| r.error.is_none() && r.seconds.unwrap() > 0.0), "{replies:?}");
        assert!(replies[7].value.unwrap() > 0.0);
        assert!(replies[9].error.as_ref().unwrap().contains("nothing is loaded as a"));
        let length = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!([length("logits"), length("labels"), length("gradient")], [4 * 384, 8 * 128, 4 * 384]);
    }

    #[test]
    fn every_type_runs_and_a_bad_loss_is_named() {
        for dtype in [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::Bf16] {
            let run = |work: &str| Request::Run { slot: "a".into(), work: work.into(), op: Op::Into, repeat: 1, threads: 1 };
            let replies = ask(&[load(None, dtype), run("ce"), run("no_such_term")]);
            assert!(replies[1].seconds.is_some());
            assert!(replies[2].error.as_ref().unwrap().contains("no_such_term"));
        }
    }
}
