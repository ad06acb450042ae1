use loss_core::{matching::CrossEntropy, penalty};

fn main() {
    let _ = penalty(CrossEntropy::new());
}
