"""The verbs: generate, execute, evaluate. Each composes stages; the CLI, servers and Python users call these."""
