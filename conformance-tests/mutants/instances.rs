
macro_rules! __instances {
    ($($logits:ty, $gradient:ty;)*) => {
        /// All that the tests use of generic functions: compiled here, once, and not in every program of tests.
        pub fn __instances(problem: &Problem<'_>, plan: &loss_core::Plan) {
            $(
                let _ = statistics::<$logits>(&[], problem, plan);
                let _ = validate::<$logits>(&[], problem);
                let _ = logit_gradient::<$logits, $gradient>(&[], problem, plan, &[], &mut []);
                let _ = statistics_and_gradient::<$logits, $gradient>(&[], problem, plan, &[], &mut []);
            )*
        }
    };
}

__instances! {
    f32, f32;
    f64, f64;
    f16, f16;
    f16, f32;
    bf16, bf16;
    bf16, f32;
}
