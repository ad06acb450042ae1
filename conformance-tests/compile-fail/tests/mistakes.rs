//! Mistakes that users make, each refused by the compiler in words worth reading.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
