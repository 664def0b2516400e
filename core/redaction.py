"""The one filter that keeps secrets out of everything that leaves the process: logs, events, rows, dead letters, output.

A secret is registered when its setting is read. Libraries quote their input, so all text is filtered where it
leaves the process.
"""

import json
import re
import threading
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "[REDACTED]"

_ANYWHERE_LENGTH: Final = 8
"""A secret of at least this length is masked inside longer words too."""

_WORD_LENGTH: Final = 4
"""A secret of at least this length is masked as a separate word. A shorter one cannot be distinguished from ordinary text.

A secret that is an ordinary word, such as ``kafka``, is masked wherever that word appears. Choose another.
"""

_URL_LOGIN: Final = r"(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"
"""``user:password`` of any URL, such as a proxy's, whether a setting holds it or not."""

_lock = threading.Lock()
_secrets: set[str] = set()
_pattern: re.Pattern[str] = re.compile(_URL_LOGIN)


def register_secret(secret: str) -> None:
    """Mask this value from now on. Safe to call repeatedly, and from any thread."""
    global _pattern
    with _lock:
        if len(secret) < _WORD_LENGTH or secret in _secrets:
            return
        _secrets.add(secret)
        forms = sorted({form for known in _secrets for form in _forms(known)}, key=len, reverse=True)
        _pattern = re.compile("|".join([*forms, _URL_LOGIN]))


def redact(text: str) -> str:
    """Replace each known secret in the text by a mask."""
    return _pattern.sub(MASK, text)


def redact_bytes(data: bytes) -> bytes:
    """Redact bytes in UTF-8; other bytes are kept."""
    text = data.decode(errors="surrogateescape")
    filtered = redact(text)
    return data if filtered == text else filtered.encode(errors="surrogateescape")


def redact_json(data: bytes) -> bytes:
    """Redact strings and names in JSON: a secret made of digits must not change a number."""
    filtered = redact_bytes(data)
    if filtered is data:
        return data
    try:
        return json.dumps(_redacted(json.loads(data)), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError:
        return filtered


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case list():
            return [_redacted(item) for item in value]
        case dict():
            return {redact(name): _redacted(item) for name, item in value.items()}
        case _:
            return value


def _forms(secret: str) -> set[str]:
    """Return patterns of a secret as it is, and in the spellings of URLs, JSON and ``repr``."""
    spellings = {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}
    spellings |= {json.dumps(spelling)[1:-1] for spelling in spellings}  # a log line may quote what a library has quoted
    if len(secret) >= _ANYWHERE_LENGTH:
        return {re.escape(spelling) for spelling in spellings}
    begins = r"(?:(?<![A-Za-z0-9_.-])|(?<=\\[bfnrt]))"  # also after an escaped line break in JSON and repr
    return {rf"{begins}{re.escape(spelling)}(?![A-Za-z0-9_-])" for spelling in spellings}
