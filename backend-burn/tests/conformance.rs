//! The suite on `backend-burn`, along both of its paths.

conformance_tests::conformance_suite!(conformance_tests::adapters::BurnFused, conformance_tests::adapters::BurnOperations);
