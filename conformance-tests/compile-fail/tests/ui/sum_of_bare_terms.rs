use loss_core::{matching::CrossEntropy, penalty::L1};

fn main() {
    let _ = CrossEntropy::new() + L1::new();
}
