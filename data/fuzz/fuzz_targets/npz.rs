//! Any bytes as `a.npz`, plain or compressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(place) = tempfile::tempdir() else { return };
    let path = place.path().join("a.npz");
    if std::fs::write(&path, bytes).is_ok() {
        let _ = segloss_data::formats::header(&path);
        let _ = segloss_data::formats::read(&path, &segloss_data::Limits { bytes: 1 << 24 });
    }
});
