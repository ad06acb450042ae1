use loss_core::penalty::L1;

fn main() {
    let _ = 0.5 * L1::new();
}
