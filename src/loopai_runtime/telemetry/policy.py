"""What may leave, as the configuration has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.models import PrivacyMode

if TYPE_CHECKING:
    from loopai_runtime.config import Config

CONTENT = frozenset({"execution", "validation", "failure"})
"""The kinds of records that a looser policy says more in."""


class Policy(NamedTuple):
    """Whether inputs and outputs leave at all, as they are or redacted (not `raw`), and of which executions."""

    inputs: bool
    outputs: bool
    raw: bool
    every: bool

    def allows(self, other: Policy) -> bool:
        """Whether what was written down under another policy may leave under this one."""
        return all(mine or not theirs for mine, theirs in zip(self, other, strict=True))

    def words(self) -> list[str]:
        """What leaves, for people."""
        said = ["counts by the minute, latencies and labels of the output schema, and keyed hashes"]
        if self.inputs or self.outputs:
            what = " and ".join(["inputs"] * self.inputs + ["outputs"] * self.outputs)
            said.append(f"{'UNREDACTED' if self.raw else 'redacted'} {what} of {self._whose()}")
        else:
            said.append(f"no input and no output; when and how {self._whose()} ended")
        if self.outputs and not self.inputs:
            said.append("inputs as keyed hashes alone (privacy.hash_inputs)")
        return said

    def _whose(self) -> str:
        return "every execution" if self.every else "sampled executions"


def policy_of(config: Config) -> Policy:
    """The policy that is in force."""
    mode, privacy = config.telemetry.privacy_mode, config.privacy
    content = mode is not PrivacyMode.STRICT
    return Policy(
        inputs=content and not privacy.hash_inputs,
        outputs=content,
        raw=mode is PrivacyMode.PERMISSIVE and not privacy.pii_detection,
        every=mode is PrivacyMode.PERMISSIVE and not privacy.sample_only,
    )


def warning_of(config: Config) -> str | None:
    """What an owner should be told at each start; None where nothing leaves that could surprise."""
    policy = policy_of(config)
    if not config.telemetry_on or config.telemetry.privacy_mode is not PrivacyMode.PERMISSIVE:
        return None
    return f"telemetry.privacy_mode is permissive: {policy.words()[1]} leave for {config.cloud.api_url}"
