"""How the code of a task is executed; one module per way."""
