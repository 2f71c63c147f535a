"""What sections are made of: values that are checked as they are read."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)


def usable_path(path: Path) -> Path:
    """The path, absolute, `~` expanded. Raises ValueError."""
    if not str(path).isprintable():
        raise ValueError("has a character that no path should have")
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def plain_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be a URL such as https://loopai.example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; the key belongs in api_key")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine itself: localhost, 127.0.0.0/8 or ::1."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def plain_key(key: SecretStr) -> SecretStr:
    # Files mounted as secrets often end in a newline; anything else odd could break out of an HTTP header.
    text = key.get_secret_value().strip()
    if not text:
        raise ValueError("is empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("has characters that no key has (a space, a line break, a letter outside ASCII)")
    return SecretStr(text)


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


FilePath = Annotated[Path, AfterValidator(usable_path)]
Url = Annotated[str, AfterValidator(plain_url)]
Key = Annotated[SecretStr, AfterValidator(plain_key)]
PublicKey = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Section(BaseModel):
    """Frozen, strict about names; text is read as a number or a truth value where one is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: Any, info: Any) -> Any:
        # Pydantic reads `true` as 1, which in `retention_days: true` nobody meant.
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("must not be true or false")
        return value
