"""The test suite. Real servers, one namespace per test; see CONTRIBUTING.md."""
