//! Integer types of label maps.

/// An integer that names a class. Implemented for all of Rust's up to 64 bits, and for `bool`.
pub trait Label: Copy {
    /// The label as `i64`; those above the greatest `i64` are that.
    fn value(self) -> i64;
}

macro_rules! labels {
    ($($small:ty)*; $($wide:ty)*) => {
        $(impl Label for $small {
            fn value(self) -> i64 {
                i64::from(self)
            }
        })*
        $(impl Label for $wide {
            fn value(self) -> i64 {
                i64::try_from(self).unwrap_or(if self > 0 { i64::MAX } else { i64::MIN })
            }
        })*
    };
}

labels!(bool u8 u16 u32 i8 i16 i32 i64; u64 usize isize);
