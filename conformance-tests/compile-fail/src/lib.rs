//! Nothing here: see `tests/ui`, one mistake a file with the compiler's words beside it.
