//! A new gradient's memory. By itself, as what a whole process holds is measured.

#![cfg(target_os = "linux")]

use loss_kernels::Element;

/// Whether the system brings pages when asked to, as Linux does from 5.14 on.
fn brings_pages() -> Option<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    Some((numbers.next()?, numbers.next()?) >= (5, 14))
}

/// Bytes of this process that are in memory.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
}

/// Bytes that come into memory with so many new zeros.
fn growth<E: Element>(length: usize) -> (usize, Vec<E>) {
    let before = resident().unwrap();
    let zeros = E::zeros(length);
    (resident().unwrap().saturating_sub(before), zeros)
}

#[test]
fn large_arrays_come_with_their_pages_and_small_ones_without() {
    const LARGE: usize = 64 << 20;
    const SMALL: usize = 6 << 20;
    // A first call starts the threads.
    drop(f32::zeros(LARGE / 4));
    let (small, zeros) = growth::<f32>(SMALL / 4);
    assert!(small < SMALL / 4, "{small} bytes of {SMALL}");
    assert!(zeros.len() == SMALL / 4 && zeros.iter().all(|z| *z == 0.0));
    let (large, zeros) = growth::<f64>(LARGE / 8);
    assert_eq!((zeros.len(), zeros[0], zeros[LARGE / 8 - 1]), (LARGE / 8, 0.0, 0.0));
    if brings_pages() == Some(true) {
        assert!(large > LARGE / 10 * 9, "{large} bytes of {LARGE}");
    }
}
