"""The escape corpus: attempts to get out of the sandbox, by family."""

from __future__ import annotations

from tests.security.corpus import bombs, introspection, objects, roads

CORPUS = (*objects.SNIPPETS, *introspection.SNIPPETS, *roads.SNIPPETS, *bombs.SNIPPETS)
