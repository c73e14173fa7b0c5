"""`tropilla pull`, `list`, `run` and the rest: a running cluster from the command line, over its Ollama routes."""
