"""Texts without secrets, for whatever leaves this process as telemetry.

It goes by what secrets look like, and by the values of the settings that are secrets. What it takes out is an ellipsis
in the text: better a sentence with a hole than a password in a log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

HOLE = "…"
_SECRET_SETTING = re.compile(r"LIFEBOAT_\w*(?:PASSWORD|KEY|ADOPT_SAS)\Z")
_SHORTEST_SECRET = 4
"""Anything shorter is found in every other word."""
_END = r"\s'\"<>"
_URL = re.compile(
    rf"(?P<scheme>\b[a-z][a-z0-9+.-]{{0,30}}://)(?P<login>[^/?#{_END}]*@)?(?P<place>[^?#{_END}]*)(?P<query>[?#][^{_END}]*)?",
    re.IGNORECASE,
)
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
    re.compile(
        r"\b(?:Account|SharedAccess)(?:Key|Signature)\s*=[^;,\s'\"]*|\b(?:password|pwd|secret|token)\s*="
        r"\s*(?:\{(?:[^}]|\}\})*\}|'[^']*'|\"[^\"]*\"|[^;,\s]*)",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?:Bearer|SharedKey)\s+[\w.~+/:=-]+", re.IGNORECASE),
    re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"),
    re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])"),
)
"""Private keys; parts of connection strings; authorization headers; tokens; account keys."""
_WORD = re.compile(rf"[^{_END}]+")
_SIGNATURE = re.compile(r"(?:\b|%3f|%26)sig(?:=|%3d)", re.IGNORECASE)
"""What a SAS has, in whatever order its parts are."""


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """``text`` without secrets, and with no URL that has a query or names who logs in. The time that it takes grows
    with the text's length and no faster: tracebacks pass through here."""
    for secret in _secrets(os.environ if environment is None else environment):
        text = text.replace(secret, HOLE)
    text = _URL.sub(_bare, text)
    text = _WORD.sub(lambda word: HOLE if _SIGNATURE.search(word[0]) else word[0], text)
    for pattern in _PATTERNS:
        text = pattern.sub(HOLE, text)
    return text


def _bare(url: re.Match[str]) -> str:
    return url["scheme"] + url["place"] + (HOLE if url["query"] else "")


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Values of settings that are secrets; the longest first, so that none leaves a piece of another."""
    values = {value for name, value in environment.items() if _SECRET_SETTING.match(name)}
    yield from sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
