"""What clients of the hub report, and the limits within which it is believed."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from loopai_runtime.models import Slug
from loopai_runtime.signalr.hub import HubException

T = TypeVar("T")

_MOST = 2**53  # what every client's numbers can carry exactly
Count = Annotated[int, Field(ge=0, le=_MOST, strict=True)]
Version = Annotated[int, Field(ge=1, le=999_999_999, strict=True)]
Milliseconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Report(BaseModel):
    """Members that are not known here are left out: later clients may tell more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Beat(Report):
    """That a deployment lives, how it is, and which version of each of its tasks serves."""

    status: Annotated[str, Field(min_length=1, max_length=64)] = "ok"
    tasks: Annotated[dict[Slug, Version], Field(max_length=1000)] = {}


class TaskMetrics(Report):
    """What a version did since its deployment's last report."""

    task_id: Slug
    version: Version
    count: Count
    errors: Count = 0
    p50_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


TaskName: TypeAdapter[str] = TypeAdapter(Slug)


def read(kind: TypeAdapter[T], what: str, value: Any) -> T:
    """Raises HubException that says what is wrong with it, and quotes nothing of it."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = "".join(f".{part}"[:80] for part in fault["loc"])
        raise HubException(f"{what}{place}: {fault['msg']}") from None
    except RecursionError:
        raise HubException(f"{what}: it is nested too deeply") from None
