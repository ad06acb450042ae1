use loss_core::{matching, overlap::Dice};

fn main() {
    let _ = matching(Dice::new());
}
