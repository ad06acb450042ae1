use loss_core::expr::{Expr, Regions};
use loss_core::{RegionSizes, Temperature};

fn wrong(sizes: &RegionSizes) -> Expr<Regions> {
    let caps = Expr::classes(&[1.0, 0.05]);
    let foreground = sizes.predicted(Temperature::ONE).sum_classes();
    (foreground + caps).broadcast()
}

fn main() {
    let _ = wrong;
}
