"""Language models: one question, one answer, and its price. `provider` alone imports litellm, when first asked."""

from __future__ import annotations

from loopai_runtime.llm.cache import AnswerCache
from loopai_runtime.llm.endpoint import Endpoint, Prices, Purpose, Purse, Reply, Spent
from loopai_runtime.llm.model import Model

__all__ = ["AnswerCache", "Endpoint", "Model", "Prices", "Purpose", "Purse", "Reply", "Spent"]
