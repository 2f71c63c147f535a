"""Programming by example for texts: one or more strings in, one string out.

`transform` searches the cheapest program that explains the examples, and says how likely it is right on every
input.
"""

from loopai_runtime.synthesis.dsl.learn import Transformation, transform

__all__ = ["Transformation", "transform"]
