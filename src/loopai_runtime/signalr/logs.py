"""Secrets in query strings stay out of logs: browsers can send a socket's or event stream's token only there."""

from __future__ import annotations

import logging
import re

_SECRET = re.compile(r"([?&](?:access_token|id)=)[^&\s\"']+", re.IGNORECASE)
_OF_EVERY_REFUSAL = "ASGI callable returned without completing handshake."
"""What uvicorn says, as an error, of a socket that was refused with a status; the refusal has a line already."""
_LOGGERS = ("uvicorn.access", "uvicorn.error")


def scrubbed(text: str) -> str:
    """A URL or a log line without the values of `access_token` and `id`, the connection's token."""
    return _SECRET.sub(r"\1***", text)


def report(log: logging.Logger, what: str, exc: BaseException) -> None:
    """An application's failure: its kind and place. What it says may quote data: at debug level only."""
    trace = exc.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    log.error("%s raised %s%s", what, type(exc).__name__, place)
    log.debug("%s raised", what, exc_info=exc)


class _Scrub(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg == _OF_EVERY_REFUSAL:
            return False
        if isinstance(record.args, tuple):
            record.args = tuple(scrubbed(each) if isinstance(each, str) else each for each in record.args)
        if isinstance(record.msg, str):
            record.msg = scrubbed(record.msg)
        return True


_scrub = _Scrub()


def scrub_server_logs() -> None:
    """Filter what uvicorn logs from now on; the same filter is never added twice."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_scrub)
