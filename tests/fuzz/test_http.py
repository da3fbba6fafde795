"""Bodies and headers of the HTTP API, and what people write as a schedule or as the address of a share."""

from __future__ import annotations

from contextlib import suppress

import azure.functions as func
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.api import _asked, _body, preferred
from functions.models import RunPreflight, StartRun, wrong_fields
from functions.problems import Problem
from shared.errors import SettingsError
from shared.ncrontab import Ncrontab
from shared.smb.endpoint import SmbEndpoint, unc_path
from tests.examples import examples
from tests.fuzz.mutations import each_absurdity, mutated, mutated_json

ASKED = {"only": ["share", "databases"], "logs": False, "allow_shrink": True}


def ask(body: bytes, **headers: str) -> None:
    request = func.HttpRequest("POST", "/api/recovery-points", headers=headers, body=body)
    for model in (StartRun, RunPreflight):
        with suppress(Problem):
            _asked(request, model)


def test_a_body_with_anything_in_any_place() -> None:
    for body in each_absurdity(ASKED):
        ask(body)
        with suppress(Problem):
            wrong_fields(StartRun, body)


@examples(150)
@given(mutated_json(ASKED) | mutated(b'{"only": ["share"], "logs": true}'))
@example(b"\xff\xfe")
@example(b'{"\\ud800": 1}')
def test_a_body(body: bytes) -> None:
    with suppress(Problem):
        wrong_fields(StartRun, body)


@pytest.mark.parametrize("announced", ["-1", "1e9", "9" * 5000, "\u00b2", "0x10", " 5", "18446744073709551616"])
def test_an_announced_length(announced: str) -> None:
    ask(b"{}", **{"Content-Length": announced})
    request = func.HttpRequest("PUT", "/api/secrets", headers={"Content-Length": announced}, body=b"{}")
    with suppress(Problem):
        _body(request, 100)


@examples(150)
@given(st.text(st.sampled_from("text/html,*;q=0.15nae- \u00b2"), max_size=60) | st.text())
@example("text/html;q=nan,*/*;q=inf")
@example("text/html;q=1_0," * 1000)
def test_an_accept_header(accept: str) -> None:
    assert preferred(accept, ("text/markdown", "text/html")) in ("text/markdown", "text/html", None)


@examples(200)
@given(st.text(st.sampled_from("0123456789*/-, amonjun\u00b2\u0663"), max_size=40) | st.text())
@example("\u00b2 0 0 1 1 *")
@example(f"{'9' * 5000} 0 0 1 1 *")
@example(f"*/{'9' * 5000} 0 0 1 1 *")
def test_a_schedule(text: str) -> None:
    with suppress(ValueError):
        Ncrontab.parse(text).longest_gap()


@examples(200)
@given(st.text(max_size=60) | st.text(st.sampled_from("smb:/\\[]%@?#2e0\ud800"), max_size=40).map("smb://".__add__))
@example("smb://[::1/share")
@example("smb://server:" + "9" * 5000 + "/share")
@example("smb://server/%ff%00%2e%2e")
@example("smb://\u2100/share")
def test_the_address_of_a_share(url: str) -> None:
    with suppress(SettingsError):
        endpoint = SmbEndpoint.parse(url, "user", "password", setting="LIFEBOAT_SHARE_URL")
        assert endpoint.share
        assert ".." not in endpoint.path.split("/")
    unc_path(url)
