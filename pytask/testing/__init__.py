"""What tests of tasks and of back-ends stand on."""
