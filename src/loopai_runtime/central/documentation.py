"""The platform's `/docs`: its operations, each with an example."""

from __future__ import annotations

import html
import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from loopai_runtime.http.page import code, page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopai_runtime.central.routing import Operation


def documentation(operations: Iterable[Operation]) -> str:
    parts = [
        "<h1>The central platform</h1>",
        "<p>Every request has <code>Authorization: Bearer KEY</code>. The same for machines: "
        '<a href="/openapi.json">openapi.json</a>.</p>',
    ]
    for path, ours in groupby(sorted(operations, key=lambda each: each.path), key=lambda each: each.path):
        parts.append(f"<h2><code>{html.escape(path)}</code></h2>")
        parts += [_section(each) for each in ours]
    return page("loopai central platform", parts)


def _section(operation: Operation) -> str:
    scope = f"scope {operation.scope.value}" if operation.scope else "any key"
    asked = ", ".join(f"?{name}=" for name in operation.query)
    said = f"<h3>{operation.method} {asked}</h3><p>{html.escape(operation.summary)} ({scope}).</p>"
    request, response = operation.examples.get("request"), operation.examples.get("response")
    shown = ([] if request is None else [_shown(request)]) + [
        f"{operation.status} " + (operation.media if response is None else _shown(response))
    ]
    return said + "".join(map(code, shown))


def _shown(example: Any) -> str:
    return json.dumps(example, indent=1, ensure_ascii=False)
