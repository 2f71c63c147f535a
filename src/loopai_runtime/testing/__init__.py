"""Fakes for tests, public and tested themselves: real servers on loopback that play a script.

    with ScriptedLLM(["spam", Failure(429, retry_after="1"), "ham"]) as llm:
        Endpoint(model="openai/scripted", api_base=llm.api_base)

A script is a list, one item a request (the last one repeats), or a function of the request's JSON. An item is a
text (the answer), or one of `Says`, `Failure`, `Raw`.
"""

from loopai_runtime.testing.clock import ScriptedClock
from loopai_runtime.testing.faults import Fault, FaultProxy
from loopai_runtime.testing.llm import MODEL, Asked, Failure, Item, Raw, Says, Script, ScriptedLLM
from loopai_runtime.testing.oracle import ScriptedOracle
from loopai_runtime.testing.receiver import Received, ScriptedReceiver

__all__ = [
    "MODEL",
    "Asked",
    "Failure",
    "Fault",
    "FaultProxy",
    "Item",
    "Raw",
    "Received",
    "Says",
    "Script",
    "ScriptedClock",
    "ScriptedLLM",
    "ScriptedOracle",
    "ScriptedReceiver",
]
