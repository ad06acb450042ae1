//! Which instructions are taken.

use std::process::Command;

use loss_kernels::{INSTRUCTIONS_VARIABLE, Instructions};

/// Read once in a process, the variable takes a process for each of its values: this test again.
#[test]
fn prints_what_is_in_use() {
    match Instructions::in_use() {
        Ok(set) => println!("in use: {}.", set.name()),
        Err(error) => println!("refused: {error}"),
    }
}

fn printed(variable: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "prints_what_is_in_use", "--nocapture"]).env_remove(INSTRUCTIONS_VARIABLE);
    if let Some(value) = variable {
        command.env(INSTRUCTIONS_VARIABLE, value);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn the_variable_chooses_and_else_the_fastest_is_taken() {
    let available = Instructions::available();
    for set in &available {
        let printed = printed(Some(set.name()));
        assert!(printed.contains(&format!("in use: {}.", set.name())), "{set:?}: {printed}");
    }
    let fastest = available.last().unwrap().name();
    assert!(printed(None).contains(&format!("in use: {fastest}.")));
    let refused = printed(Some("mmx"));
    assert!(refused.contains("refused: ") && refused.contains(INSTRUCTIONS_VARIABLE) && refused.contains("mmx"), "{refused}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn what_the_machine_has_is_available() {
    let available = Instructions::available();
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    assert_eq!(available.contains(&Instructions::Avx2), has_avx2);
    assert_eq!(available.contains(&Instructions::Avx512), has_avx2 && is_x86_feature_detected!("avx512f"));
    assert!(!available.contains(&Instructions::Neon));
}
