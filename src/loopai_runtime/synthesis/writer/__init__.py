"""A language model writes programs; they are tried as any other way of learning is, and win only where better.

plan -> prompts -> answers -> source (lint) -> runs (sandbox) -> drafts (repair) -> ensemble -> contest.

What a model answers is hostile until the language policy has let it in, and runs in the sandbox alone. Nothing
here has a tool that a text inside an example could reach.
"""
