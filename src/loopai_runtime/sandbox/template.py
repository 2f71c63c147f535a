"""The template: forks executors that start warm. Started as `python -I -S` with an empty environment.

It has imported everything an executor needs, and nothing of the process that started it: no environment, no
descriptor but its control socket. It never sees a program or an input; it forks on order, kills on order, and
reports what ended and how. When its control socket closes it kills its children and ends.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
import warnings

from loopai_runtime.sandbox import confine, facades, worker
from loopai_runtime.sandbox.protocol import ORDER, REPORT, From, Order, Report, Walls, frame


class Template:
    """Children by executor number, and the one socket through which orders come."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, int] = {}
        self.pid = os.getpid()
        self.base_kb = worker.base_kb()

    def serve(self) -> None:
        """Forks and reaps until the front closes the control socket."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        self.report(Report.HELLO, 0, self.pid, 0, 0, 0)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake:
                    os.read(wake, 4096)
                    self.reap()
                elif not self.order():
                    return

    def order(self) -> bool:
        """Obey one order; False at the end of the control socket."""
        message, descriptors, _, _ = socket.recv_fds(self.control, ORDER.size, 1)
        if len(message) < ORDER.size:
            return False
        kind, walls, executor, ceiling_mb, cpu_seconds, _, _ = ORDER.unpack(message)
        if kind == Order.FORK and descriptors:
            limits = confine.Limits(self.base_kb, ceiling_mb, cpu_seconds)
            pid = os.fork()
            if pid == 0:
                _executor(descriptors[0], walls, limits, self.pid)
            os.close(descriptors[0])
            self.children[pid] = executor
            self.report(Report.FORKED, executor, pid, 0, 0, 0)
        elif kind == Order.KILL:
            for pid, number in self.children.items():
                if number == executor:
                    os.kill(pid, signal.SIGKILL)
        return True

    def reap(self) -> None:
        while self.children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            executor = self.children.pop(pid, None)
            if executor is not None:
                user, system = int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6)
                self.report(Report.EXITED, executor, status, usage.ru_maxrss, user, system)

    def report(self, kind: Report, executor: int, *numbers: int) -> None:
        self.control.sendall(REPORT.pack(kind, executor, *numbers, *(0,) * (4 - len(numbers))))

    def end(self) -> None:
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    return wake, waker


def _executor(descriptor: int, walls: int, limits: confine.Limits, parent: int) -> None:
    """The child's life, from fork to exit; it never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection = socket.socket(fileno=confine.keep_only(descriptor))
        try:
            cage, lenient = bool(walls & Walls.CAGE), bool(walls & Walls.LENIENT)
            missing = confine.put_up(limits, parent=parent, cage=cage, lenient=lenient)
        except confine.CageError as error:
            connection.sendall(frame(From.BROKEN, str(error).encode()))
            os._exit(71)
        connection.sendall(frame(From.READY, missing.encode()))
        served = worker.Worker(connection, under_policy=bool(walls & Walls.POLICY), base_kb=limits.base_kb)
        served.serve()
        code = 0
    finally:
        os._exit(code)


def main(descriptor: int) -> None:
    """Run the template on an inherited control socket."""
    os.environ["TZ"] = "UTC0"  # a program's answer must not depend on where it runs
    time.tzset()
    warnings.simplefilter("ignore")
    facades.warm_up()
    worker.silence()
    worker.no_more_imports()
    sys.argv[:] = [""]
    gc.collect()
    gc.freeze()
    template = Template(socket.socket(fileno=descriptor))
    try:
        template.serve()
    except (ConnectionError, BrokenPipeError):
        pass  # the front is gone
    finally:
        template.end()
