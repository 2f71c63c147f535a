"""Personal data in JSON: found, and replaced before anything leaves.

Offline, by the standard library's patterns and validators alone, in time linear in the text.
"""

from loopai_runtime.redaction.find import Finding, find, find_in_number, flags
from loopai_runtime.redaction.redactor import Redactor, Rule

__all__ = ["Finding", "Redactor", "Rule", "find", "find_in_number", "flags"]
