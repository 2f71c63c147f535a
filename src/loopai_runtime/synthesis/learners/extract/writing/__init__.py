"""An extraction as a program: a small function a field, the formats and rules it uses, the tagger as a table."""

from loopai_runtime.synthesis.learners.extract.writing.program import write

__all__ = ["write"]
