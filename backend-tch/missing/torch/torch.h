// Found only where LibTorch's own header is not: the compiler stops here, and says this.
#include "LibTorch is missing: run `cargo xtask libtorch` once, or set LIBTORCH to where it is"
