use loss_core::{overlap::Dice, penalty};

fn main() {
    let _ = penalty(Dice::new());
}
