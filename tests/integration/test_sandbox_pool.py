"""The pool under programs that hang, crash, lie, bloat, and under hands that kill: real processes throughout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bars import SOAK, within

from loopai_runtime.errors import Busy, NotFound, PolicyRefused
from loopai_runtime.sandbox.pool import Pool, SyncPool, run_program, to_payload
from loopai_runtime.sandbox.records import Outcome, Program

ECHO = "def run(input_data):\n    return input_data\n"
HANG = "def run(input_data):\n    while input_data == 'hang':\n        pass\n    return input_data\n"
# Unrestricted, for the cage alone: the executor reads address 0.
CRASH = "import ctypes\ndef run(input_data):\n    return ctypes.string_at(0) if input_data == 'crash' else input_data\n"


def executors(pool: Any) -> list[int]:
    """The processes of a pool's executors, as the kernel lists them."""
    template = pool._births._process.pid
    return [int(pid) for pid in Path(f"/proc/{template}/task/{template}/children").read_text().split()]


@pytest.fixture
def pool() -> Iterator[SyncPool]:
    with SyncPool(2) as pool:
        pool.load(Program("echo", ECHO))
        yield pool


def test_answers_come_in_the_order_of_their_inputs(pool: SyncPool) -> None:
    assert [outcome.output for outcome in pool.map("echo", range(5000))] == list(range(5000))


@pytest.mark.parametrize("value", [None, True, 0, -1.5, 10**30, "", "é\u2028🎉\x00", [], {"a": [1, {"b": None}]}])
def test_any_json_value_goes_in_and_comes_out(pool: SyncPool, value: Any) -> None:
    assert pool.call("echo", value).output == value


def test_an_unknown_program_is_not_found(pool: SyncPool) -> None:
    with pytest.raises(NotFound):
        pool.call("nobody", 1)


def test_a_program_that_was_replaced_serves_the_new_code(pool: SyncPool) -> None:
    pool.load(Program("echo", "def run(input_data):\n    return 'new'\n"))
    assert pool.call("echo", 1).output == "new"


def test_a_program_that_was_unloaded_is_gone(pool: SyncPool) -> None:
    pool.unload("echo")
    with pytest.raises(NotFound):
        pool.call("echo", 1)


def test_only_the_request_that_hangs_fails_and_it_does_so_in_time() -> None:
    with SyncPool(2) as pool:
        pool.load(Program("p", HANG, timeout_ms=300))
        with within(10):
            outcomes = list(pool.map("p", [*range(20), "hang", *range(200)]))
    assert [o.stopped_by for o in outcomes if o.status != "success"] == ["timeout"]
    assert [o.output for o in outcomes if o.status == "success"] == [*range(20), *range(200)]


def test_a_crash_is_tried_once_more_and_then_named() -> None:
    with SyncPool(1, wall="cage") as pool:
        pool.load(Program("p", CRASH))
        outcomes = list(pool.map("p", [1, "crash", 2]))
        assert [o.output for o in outcomes] == [1, None, 2]
        assert outcomes[1].error is not None
        assert (outcomes[1].error.type, pool.restarts) == ("Crash", 2)
        assert "twice on one input" in outcomes[1].error.message


def test_a_forbidden_system_call_is_the_cages_doing() -> None:
    outcome = run_program("import os\ndef run(x):\n    return os.getpid()\n", 1, wall="cage")
    assert (outcome.status, outcome.stopped_by) == ("error", "cage")


@pytest.mark.parametrize("wall", ["full", "cage"])
def test_memory_is_bounded_under_either_wall(wall: Any) -> None:
    outcome = run_program("def run(x):\n    return len('x' * 10**10)\n", 1, wall=wall, memory_mb=64)
    assert outcome.stopped_by == "memory"


def test_unrestricted_code_cannot_raise_its_own_memory_limit() -> None:
    source = (
        "import resource\n"
        "def run(x):\n"
        "    soft, hard = resource.getrlimit(resource.RLIMIT_AS)\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))\n"
        "    return len(bytearray(100 * 2**20))\n"
    )
    assert run_program(source, 1, wall="cage", memory_mb=64).stopped_by == "memory"


def test_too_much_output_is_an_error() -> None:
    with SyncPool() as pool:
        pool.load(Program("p", "def run(n):\n    return 'x' * n\n", max_output_bytes=1000))
        assert pool.call("p", 900).status == "success"
        assert pool.call("p", 1100).status == "error"
        assert pool.call("p", 10).output == "x" * 10


def test_a_program_keeps_nothing_between_calls() -> None:
    source = "seen = []\ndef run(x):\n    seen.append(x)\n    return len(seen)\n"
    with SyncPool() as pool:
        try:
            pool.load(Program("p", source))
        except PolicyRefused:
            return
        assert {pool.call("p", i).output for i in range(3)} <= {None}


def test_the_time_and_memory_of_a_call_are_its_own() -> None:
    with SyncPool() as pool:
        pool.load(Program("p", "def run(n):\n    t = 0\n    for i in range(n):\n        t += i\n    return t\n"))
        # The shortest of many: any one of them may have waited for a processor.
        short = min((pool.call("p", 10) for _ in range(50)), key=lambda each: each.wall_ms)
        long = pool.call("p", 500_000)
        assert long.wall_ms > 10 * short.wall_ms
        assert long.cpu_ms > 1
        assert 0 < long.peak_kb < 256 * 1024


# --- asyncio


def run_async(work: Callable[[Pool], Any], **settings: Any) -> Any:
    async def main() -> Any:
        async with Pool(2, **settings) as pool:
            await pool.load(Program("p", HANG, timeout_ms=300))
            return await work(pool)

    return asyncio.run(main())


def test_the_asynchronous_face_answers_all_that_run_at_once() -> None:
    async def work(pool: Pool) -> list[Outcome]:
        return await asyncio.gather(*(pool.call("p", i) for i in range(2000)))

    assert [o.output for o in run_async(work)] == list(range(2000))


def test_a_call_that_was_given_up_harms_no_other() -> None:
    async def work(pool: Pool) -> list[Any]:
        tasks = [asyncio.create_task(pool.call("p", i)) for i in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run_async(work)
    assert all(isinstance(a, asyncio.CancelledError) for a in answers[::2])
    assert [a.output for a in answers[1::2]] == list(range(1, 100, 2))


def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    answers: list[Outcome] = []
    accepted = 0

    async def work(pool: Pool) -> int:
        nonlocal accepted
        await pool.call("p", 0)
        with contextlib.suppress(Busy):  # nothing is awaited, so that no call ends between two
            while accepted < 1000:
                pool.submit("p", to_payload("hang"), answers.append)
                accepted += 1
        assert accepted < 1000
        return pool.waiting

    assert run_async(work, queue_limit=4) == 4
    assert len(answers) == accepted
    assert {outcome.status for outcome in answers} <= {"timeout", "error"}


def test_a_refused_source_says_where_and_the_pool_goes_on() -> None:
    async def work(pool: Pool) -> Any:
        with pytest.raises(PolicyRefused) as refused:
            await pool.load(Program("bad", "import os\ndef run(x):\n    return os.getcwd()\n"))
        assert refused.value.faults[0].line == 1
        return (await pool.call("p", 7)).output

    assert run_async(work) == 7


def test_stopping_answers_what_is_under_way() -> None:
    async def main() -> Outcome:
        async with Pool(1) as pool:
            await pool.load(Program("p", HANG))
            call = asyncio.create_task(pool.call("p", "hang"))
            await asyncio.sleep(0.05)
        return await call

    outcome = asyncio.run(main())
    assert (outcome.status, outcome.error and outcome.error.type) == ("error", "Stopped")


# --- under hands that kill


@pytest.mark.slow
def test_killed_executors_lose_no_request_and_answer_none_twice() -> None:
    kills = max(10, round(200 * SOAK))
    draw = random.Random(3)

    async def main() -> tuple[int, dict[int, list[Outcome]]]:
        answered: dict[int, list[Outcome]] = {}
        async with Pool(2) as pool:
            await pool.load(Program("p", HANG))
            await pool.call("p", 0)
            sent, done = 0, 0
            while done < kills:
                for _ in range(40):
                    answers = answered.setdefault(sent, [])
                    pool.submit("p", to_payload(sent), answers.append)
                    sent += 1
                await asyncio.sleep(0.01)
                if sent % 400 == 0 and (victims := executors(pool)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(draw.choice(victims), signal.SIGKILL)
                        done += 1
            while not all(answered.values()):
                await asyncio.sleep(0.01)
        return sent, answered

    sent, answered = asyncio.run(main())
    assert sorted(answered) == list(range(sent))
    wrong = {n: a for n, a in answered.items() if [o.output for o in a] != [n]}
    assert not wrong


def test_a_killed_template_is_started_again() -> None:
    with SyncPool() as pool:
        pool.load(Program("p", ECHO))
        assert pool.call("p", 1).output == 1
        for n in range(10):
            os.kill(pool._births._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
            assert [pool.call("p", n).output, pool.call("p", n + 1).output] == [n, n + 1]


def test_executors_die_with_the_process_that_started_them() -> None:
    pid_reader, pid_writer = os.pipe()
    child = os.fork()
    if child == 0:
        with SyncPool(2) as pool:
            pool.load(Program("p", ECHO))
            pool.call("p", 1)
            os.write(pid_writer, " ".join(map(str, executors(pool))).encode())
            time.sleep(60)
        os._exit(0)
    pids = [int(pid) for pid in os.read(pid_reader, 1000).split()]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(pids) >= 3
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(map(_is_alive, pids)):
        time.sleep(0.01)
    assert not any(map(_is_alive, pids))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
