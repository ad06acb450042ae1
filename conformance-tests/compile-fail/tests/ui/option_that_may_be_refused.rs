use loss_core::{matching, matching::Focal};

fn main() {
    let _ = matching(Focal::new().gamma(-1.0));
}
