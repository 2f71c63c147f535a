"""The command line: each command parses, makes one library call, and renders what comes back.

Command files import only Typer at the top; what a command needs it imports when it runs, so that `--help` and
shell scripts stay fast.
"""
