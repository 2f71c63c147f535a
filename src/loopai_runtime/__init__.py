"""loopai-runtime: small verified programs in place of repeated LLM calls."""

__version__ = "0.1.0"
