//! The suite on `backend-ndarray`.

conformance_tests::conformance_suite!(conformance_tests::adapters::Ndarray, conformance_tests::adapters::NdarrayTiled);
