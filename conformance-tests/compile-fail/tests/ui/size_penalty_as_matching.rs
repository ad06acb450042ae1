use loss_core::{matching, penalty::L1};

fn main() {
    let _ = matching(L1::new());
}
