"""The whole loop, played with real processes: mail drifts, a better version is written, tried and promoted, and a
bad one is rolled back.

    python story.py [--full] [--keep DIR]

The short form is one edge on its own. The full one is a platform and three edges: the platform is killed in the
middle and comes back, and one edge is offline all the time and catches up.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mail
import writer
import yaml
from players import TASK, Customers, Edge, Line, Platform, loopai, until

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus, new_id, utc_now
from loopai_runtime.testing import ScriptedOracle

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SETTINGS: dict[str, Any] = {
    "runtime": {"upkeep_interval_sec": 2},
    "sampling": {"rate": 0.2},
    "execution": {"worker_count": 1},
    "rollout": {"auto": True, "min_dwell_sec": 2},
}
"""Of an edge: as it comes, but for what makes seconds of hours."""


class Told:
    """What happened, printed as it happens and kept for whoever wants to look at it afterwards."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._began = time.monotonic()

    def __call__(self, who: str, what: str, **facts: Any) -> None:
        at = time.monotonic() - self._began
        self.events.append({"at_s": round(at, 1), "who": who, "what": what, **facts})
        print(f"{at:6.1f} s  {who:<9} {what}", flush=True)


def by_hand(root: Path) -> int:
    """Somebody writes v3 in place of the version that serves; its number."""
    layout = Layout(root)
    store = ArtifactStore(layout)
    before = store.read(TASK).artifact
    changes = {"id": new_id(), "created_at": utc_now(), "learner": "by hand"}
    with layout.lock(TASK, 60.0):
        code = (HERE / "v3.py").read_text("utf-8")
        return store.add(before.model_copy(update=changes), code, VersionStatus.VALIDATED).version


@contextmanager
def oracle() -> Iterator[ScriptedOracle]:
    """Who knows the right answer, and is asked about a sample."""
    with ScriptedOracle(lambda asked: (200, {"output": mail.right(asked["input"])})) as found:
        yield found


# --- one edge on its own


def short(root: Path, tell: Told) -> None:
    """Raises Stuck where anything does not happen."""
    with oracle() as knows, ExitStack() as stack:
        settings = SETTINGS | {"oracle": {"kind": "http", "url": knows.url}}
        edge = Edge("shop", root / "shop", **settings)
        loopai(edge.root, "generate", HERE / "spec.yaml")
        stack.callback(edge.start().stop)
        customers = stack.enter_context(Customers(edge, seed=1))
        until("v1 answers", lambda: customers.answers[1] > 20)
        tell("shop", "v1 serves, written from the examples")
        drifts(customers, tell)
        improves(edge, tell)
        takes_over(edge, 2, tell)
        version = by_hand(edge.root)
        loopai(edge.root, "rollout", "start", f"{TASK}@{version}")
        is_thrown_out(edge, customers, version, tell)
        stays(edge, customers, 2, tell)


def drifts(customers: Customers, tell: Told) -> None:
    customers.drifted = 0.6
    tell("customers", "begin to write about lockers, wallets and passkeys")


def improves(edge: Edge, tell: Told) -> None:
    """The edge finds that too many answers are wrong, and writes the next version by itself."""
    began = until("an improvement", lambda: edge.has("improvement.started"))
    tell(edge.name, f"{began['failed']} of {began['checked']} checked answers were wrong: improving")
    ended = until("a better version", lambda: edge.has("improvement.finished", state="made"))
    tell(edge.name, f"v{ended['version']} is written, and does not serve yet")


def takes_over(edge: Edge, version: int, tell: Told) -> None:
    """A rollout goes from shadow over its stages to the end."""
    follow(edge, version, "rollout.promoted", tell)
    until(f"v{version} serves", lambda: edge.serves == version)
    tell(edge.name, f"v{version} serves")


def is_thrown_out(edge: Edge, customers: Customers, version: int, tell: Told) -> None:
    """Mail comes that shows what is wrong with a version, and its rollout is rolled back."""
    until(f"a rollout of v{version}", lambda: edge.has("rollout.started", version=version))
    customers.bells = 0.5
    tell("customers", "begin to ring bells")
    follow(edge, version, "rollout.rolled_back", tell)


def follow(edge: Edge, version: int, last: str, tell: Told) -> None:
    """Tell every step of a rollout until the last one."""
    told = 0

    def is_over() -> bool:
        nonlocal told
        lines = [
            line for line in edge.audit() if line["kind"].startswith("rollout.") and line["version"] == version
        ]
        for line in lines[told:]:
            tell(edge.name, f"{line['kind']} v{version} at {line['stage']} %: {line['reason']}")
        told = len(lines)
        return any(line["kind"] == last for line in lines)

    until(f"{last} of v{version}", is_over)
    event = f'event="{last.removeprefix("rollout.")}"'
    counted = "loopai_rollout_transitions_total"
    until(f"{event} in /metrics", lambda: any(event in name for name in edge.metrics(counted)))
    tell(edge.name, f"rollout status says that v{version} is {edge.rollout()['state']}")


def stays(edge: Edge, customers: Customers, version: int, tell: Told) -> None:
    seen = customers.answers[version]
    until(f"v{version} goes on", lambda: customers.answers[version] > seen + 20)
    tell(edge.name, f"v{version} goes on serving")


# --- a platform and three edges


def full(root: Path, tell: Told) -> None:
    """Raises Stuck where anything does not happen."""
    with oracle() as knows, writer.llm() as llm, ExitStack() as stack:
        asked = {"model": writer.MODEL, "api_base": llm.api_base}
        platform = Platform("platform", root / "platform", execution={"worker_count": 1}, llm=asked).start()
        stack.callback(platform.stop)
        line = stack.enter_context(Line(platform))
        author = root / "author"
        loopai(author, "generate", HERE / "spec.yaml")
        platform.ask("PUT", f"/api/v1/tasks/{TASK}", {"spec": whole_spec()})
        publish(platform, author, 1, tell)
        addresses = {"shop-1": platform.url, "shop-2": platform.url, "shop-3": line.url}
        edges = [joins(platform, root / name, url, knows.url) for name, url in addresses.items()]
        for edge in edges:
            stack.callback(edge.start().stop)
        for edge in edges:
            until(f"{edge.name} serves v1", lambda edge=edge: edge.serves == 1)
            tell(edge.name, "has pulled v1 and serves it")
        crowds = [stack.enter_context(Customers(edge, seed)) for seed, edge in enumerate(edges)]
        *there, away = edges
        line.cut()
        tell(away.name, "is offline from here on")
        for customers in crowds:
            customers.drifted = 0.6
        tell("customers", "begin to write about lockers, wallets and passkeys")
        until("the platform's v2", lambda: 2 in versions(platform))
        tell("platform", "has seen both shops fail, and has published v2")
        bill(platform, 2, tell)
        until("shop-1 lets v2 answer", lambda: there[0].has("rollout.advanced", version=2))
        platform.kill()
        tell("platform", "is killed")
        for edge in there:
            takes_over(edge, 2, tell)
        platform.start()
        tell("platform", "is back")
        until("both promotions are known there", lambda: ended(platform, "promoted", "watching") >= 2)
        tell("platform", "knows how both rollouts have ended")
        tell("author", "has written a version by hand")
        publish(platform, author, by_hand(author), tell)
        for edge, customers in zip(there, crowds, strict=False):
            is_thrown_out(edge, customers, 3, tell)
        platform.ask("POST", f"/api/v1/artifacts/{TASK}/v3/deprecate", {"reason": "rolled back everywhere"})
        tell("author", "gives v3 up")
        line.mend()
        tell(away.name, "is online again")
        takes_over(away, 2, tell)
        for edge, customers in zip(edges, crowds, strict=True):
            stays(edge, customers, 2, tell)
        tell("everybody", "the story is over")


def whole_spec() -> dict[str, Any]:
    """The specification with its examples in it, as the platform keeps it."""
    spec: dict[str, Any] = yaml.safe_load((HERE / "spec.yaml").read_text("utf-8"))
    del spec["examples_from"]
    return spec | {"examples": list(mail.examples(240))}


def versions(platform: Platform) -> set[int]:
    found = platform.ask("GET", f"/api/v1/artifacts/{TASK}/versions")["versions"]
    return {each["version"] for each in found}


def bill(platform: Platform, version: int, tell: Told) -> None:
    """Who wrote programs for a version, which of them it is, and what the language model has cost."""
    made = platform.ask("GET", f"/api/v1/artifacts/{TASK}/v{version}/metadata")["metadata"]
    tried = [each["name"] for each in made["candidates"]]
    spent = json.loads(loopai(platform.root, "analyze", TASK, "--cost", "-o", "json"))
    calls = sum(line["calls"] for line in spent["spent"])
    tell("platform", f"v{version} won as “{made['learner']}” of: {'; '.join(tried)}", candidates=tried)
    tell(
        "platform",
        f"{writer.MODEL} was asked {calls} times for ${spent['spent_usd']:.4f}",
        calls=calls,
        usd=spent["spent_usd"],
        generation_cost=made["generation_cost"],
    )


def ended(platform: Platform, *states: str) -> int:
    """How many deployments have told of a rollout that is so."""
    found = platform.ask("GET", f"/api/v1/tasks/{TASK}/rollouts")["rollouts"]
    return sum(each["state"] in states for each in found)


def publish(platform: Platform, author: Path, version: int, tell: Told) -> None:
    there = {"LOOPAI_CLOUD__API_URL": platform.url, "LOOPAI_API_KEY": platform.key("publish")}
    loopai(author, "push", f"{TASK}@{version}", **there)
    tell("author", f"has pushed v{max(versions(platform))} to the platform")


def joins(platform: Platform, root: Path, url: str, oracle_url: str) -> Edge:
    """An edge that belongs to the platform, which it reaches at `url`."""
    platform.ask("PUT", f"/api/v1/deployments/{root.name}", {"tasks": [TASK]})
    cloud = {
        "api_url": url,
        "api_key": platform.key("read", "telemetry", deployment=root.name),
        "poll_interval_sec": 5,
    }
    runtime = {"mode": "hybrid", "deployment_id": root.name, **SETTINGS["runtime"]}
    telemetry = {"upload_interval_sec": 3}
    settings = SETTINGS | {"runtime": runtime, "cloud": cloud, "telemetry": telemetry}
    return Edge(root.name, root, **settings, oracle={"kind": "http", "url": oracle_url})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="a platform and three edges")
    parser.add_argument(
        "--keep", type=Path, help="a new directory, kept afterwards; what was told is in story.json"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loop-") as passing:
        root = options.keep or Path(passing)
        root.mkdir(parents=True, exist_ok=True)
        tell = Told()
        try:
            (full if options.full else short)(root, tell)
        finally:
            (root / "story.json").write_text(json.dumps(tell.events, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
