"""What an edge takes from its platform: the tasks that it is assigned, and newer versions of those it has.

Looking costs a request for each task, which its ETag answers with nothing when nothing is new. What was seen last
is kept in a cache; without it a version is looked at again, and found to be here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import AuthError, GateMissed, LoopaiError, NotFound, Unreachable
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.flows.announce import announce
from loopai_runtime.flows.obey import obey
from loopai_runtime.flows.platform import PlatformClient
from loopai_runtime.flows.pull import pull
from loopai_runtime.models import RuntimeMode

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

log = logging.getLogger(__name__)

_SERVABLE = frozenset({"validated", "active"})


@dataclass(slots=True)
class Seen:
    """A task's newest version at the platform that needs nothing more, and the ETag of the list it stood in."""

    version: int = 0
    etag: str | None = None


class Follower:
    """Takes what is new; in hybrid mode by pulling it, in edge mode by saying that it is there.

    `only` keeps to one task. Not for several threads at a time.
    """

    def __init__(self, layout: Layout, config: Config, only: str | None = None) -> None:
        self.followed: tuple[str, ...] = ()
        """The tasks that the last look was about."""
        self._layout = layout
        self._config = config
        self._client = PlatformClient(config)
        self._only = only
        self._deployment_id = layout.deployment_id(config)
        self._store = ArtifactStore(layout)
        self._pulls = config.runtime.mode is RuntimeMode.HYBRID
        self._file = layout.cache("platform") / "seen.json"
        self._seen = _read(self._file)
        self._said: dict[str, str] = {}

    def look(self) -> int:
        """Take what is new and return how many versions came in. Before that, abort what is to be aborted.

        Raises Unreachable, AuthError; what stands against one task is logged, and tried again the next time.
        """
        self._obey()
        self.followed = tuple(self._tasks())
        taken = 0
        for task_id in self.followed:
            try:
                taken += self._look_at(task_id)
                self._said.pop(task_id, None)
            except (Unreachable, AuthError):
                raise
            except LoopaiError as error:
                self._say(task_id, str(error))
        return taken

    def _obey(self) -> None:
        try:
            for task_id in obey(self._layout, self._config, self._client):
                log.warning("the rollout of %s was aborted: the platform asked for it", task_id)
            self._said.pop("rollouts", None)
        except (Unreachable, AuthError):
            raise
        except LoopaiError as error:
            self._say("rollouts", str(error))

    def _tasks(self) -> list[str]:
        """Those assigned to this deployment; in hybrid mode also what is both here and there."""
        assigned = self._assigned()
        both = set(self._client.tasks()) & set(self._layout.tasks())
        found = sorted(set(assigned) | both)
        return found if self._only is None else [each for each in found if each == self._only]

    def _assigned(self) -> list[str]:
        try:
            return list(self._client.deployment(self._deployment_id)["tasks"])
        except NotFound:  # the platform has not heard of this deployment, or the key is not for it
            return []

    def _look_at(self, task_id: str) -> int:
        seen = self._seen.setdefault(task_id, Seen())
        if self._pulls and not self._store.state(task_id).versions:
            seen = Seen()  # whatever was here is gone
        found = self._client.versions(task_id, seen.etag)
        if found is None:
            return 0
        versions, etag = found
        newest = max((each["version"] for each in versions if each["status"] in _SERVABLE), default=0)
        taken = 0
        if newest > seen.version:
            taken = self._take(task_id, newest)
        self._remember(task_id, Seen(max(newest, seen.version), etag))
        return taken

    def _take(self, task_id: str, version: int) -> int:
        if not self._pulls:
            self._say(task_id, f"the platform has v{version}; loopai pull {task_id}@{version} fetches it")
            return 0
        pulled = pull(f"{task_id}@{version}", self._layout, self._config)
        if pulled.why_kept is not None:
            raise Unreachable(pulled.why_kept)
        if not pulled.already:
            log.info("pulled %s v%d", task_id, pulled.version)
        self._let_in(task_id, pulled.version)
        return 0 if pulled.already else 1

    def _let_in(self, task_id: str, version: int) -> None:
        """Serve it where nothing serves yet, else try it beside what does, else say that it waits."""
        active = self._store.active_version(task_id)
        if active == version:
            return
        if active is None:
            with self._layout.lock(task_id, 5.0):
                self._store.activate(task_id, version, reason="the first version that came from the platform")
            log.info("%s v%d serves: nothing did before", task_id, version)
        elif self._config.rollout.auto:
            self._try_out(task_id, version)
        else:
            log.info(
                "%s v%d is here and does not serve: loopai activate or loopai rollout start %s@%d lets it",
                task_id,
                version,
                task_id,
                version,
            )

    def _try_out(self, task_id: str, version: int) -> None:
        """Start a rollout, if the version keeps right what the one that serves gets right of this edge's own gold
        examples, which the platform has never seen."""
        from loopai_runtime.flows import roll_out  # here, as most edges try nothing
        from loopai_runtime.flows.regression import require_gold

        reference = f"{task_id}@{version}"
        try:
            require_gold(self._layout, self._config, reference)
        except GateMissed as error:
            log.warning("%s", error)
            facts = {"version": version, "reason": error.message}
            announce(self._layout, self._config, "improvement.refused", task_id, **facts)
            return
        roll_out.start(self._layout, self._config, reference, by="platform")
        log.info("a rollout of %s v%d has started", task_id, version)

    def _remember(self, task_id: str, seen: Seen) -> None:
        if self._seen[task_id] == seen:
            return
        self._seen[task_id] = seen
        if not self._pulls:
            return  # said, not done: in another mode there is still something to do
        make_dir(self._file.parent)
        kept = {name: {"version": each.version, "etag": each.etag} for name, each in sorted(self._seen.items())}
        replace_file(self._file, jsonl.encode(kept))

    def _say(self, task_id: str, what: str) -> None:
        """Once, until it is something else."""
        if self._said.get(task_id) != what:
            self._said[task_id] = what
            log.warning("%s: %s", task_id, what)


def _read(path: Any) -> dict[str, Seen]:
    """What was seen last; a cache that is missing or damaged says nothing."""
    try:
        found = jsonl.loads(path.read_bytes())
        return {task_id: Seen(int(each["version"]), each["etag"]) for task_id, each in found.items()}
    except (OSError, LoopaiError, ValueError, TypeError, KeyError, AttributeError):
        return {}
