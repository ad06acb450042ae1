//! What threads are asked for. In a file of its own, as it keeps all threads busy.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{problem, sum};
use loss_core::{Activation, Statistic};
use loss_kernels::Labels;

#[test]
fn little_work_waits_for_no_thread() {
    let threads = rayon::current_num_threads();
    let (busy, is_busy) = mpsc::channel();
    let (done, was_released) = mpsc::channel();
    let release: Vec<_> = (0..threads)
        .map(|_| {
            let (busy, done) = (busy.clone(), done.clone());
            let (release, released) = mpsc::channel::<()>();
            rayon::spawn(move || {
                busy.send(()).unwrap();
                done.send(released.recv_timeout(Duration::from_secs(30)).is_ok()).unwrap();
            });
            release
        })
        .collect();
    (0..threads).for_each(|_| is_busy.recv().unwrap());

    let pixels = 1 << 15;
    let (labels, logits) = (vec![0u8; pixels], vec![0f32; 2 * pixels]);
    let problem = problem(Activation::Softmax, 2, Labels::U8(&labels), None, &[]);
    assert_eq!(sum(&logits, &problem, Statistic::VALID_SIZE), [pixels as f64]);

    release.iter().for_each(|release| release.send(()).unwrap_or_default());
    (0..threads).for_each(|_| assert!(was_released.recv().unwrap(), "it waited for a thread"));
}
