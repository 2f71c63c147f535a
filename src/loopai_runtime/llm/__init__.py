"""Language models: a question, its answer, what that cost. `provider` alone imports litellm, when one is asked."""

from __future__ import annotations

from loopai_runtime.llm.cache import AnswerCache
from loopai_runtime.llm.endpoint import Endpoint, Prices, Purpose, Purse, Reply, Spent
from loopai_runtime.llm.model import Model

__all__ = ["AnswerCache", "Endpoint", "Model", "Prices", "Purpose", "Purse", "Reply", "Spent"]
