use loss_core::{matching::CrossEntropy, overlap};

fn main() {
    let _ = overlap(CrossEntropy::new());
}
