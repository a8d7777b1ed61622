"""When a token is renewed, what is read of one, and what an endpoint's answers become."""

import asyncio
import base64
import json
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.jaas import Credentials
from ingestd.config.security import NO_SECRET, Security
from ingestd.producer.common import SystemClock
from ingestd.producer.network import tokens
from ingestd.producer.network.tokens import (
    Token,
    TokenError,
    Tokens,
    ask_endpoint,
    fetcher,
    read_token_file,
    refresh_at_ms,
)
from ingestd.secret import Secret

NOW = 1_700_000_000_000
LOGIN = Credentials("", NO_SECRET, "me", Secret("hunter2"), "kafka")
ENDPOINT = Security(sasl_oauthbearer_token_endpoint_url="https://login.example/token")


def jwt(**claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({}, claims)]
    return ".".join([*parts, "signature"])


@given(life_s=st.integers(1, 1 << 20), seed=st.integers(0, 1000))
def test_a_token_is_renewed_within_its_life(life_s: int, seed: int) -> None:
    token = Token(Secret("t"), NOW, NOW + life_s * 1000)
    at_ms = refresh_at_ms(token, Security(), Random(seed))
    assert NOW < at_ms < token.expires_ms
    if life_s > 3600:
        assert 0.79 * life_s * 1000 <= at_ms - NOW <= 0.86 * life_s * 1000


@pytest.mark.parametrize(
    ("life_s", "changes", "after_s"),
    [
        (1000, {}, 700),  # 800 would be within the last 300 s
        (1000, {"sasl_login_refresh_buffer_seconds": 0}, 800),
        (500, {"sasl_login_refresh_buffer_seconds": 0, "sasl_login_refresh_window_factor": 0.5}, 250),
        (500, {"sasl_login_refresh_buffer_seconds": 0, "sasl_login_refresh_min_period_seconds": 450}, 450),
        (100, {}, 80),  # neither the minimum nor the buffer fits: both are ignored
    ],
)
def test_the_window_is_kafkas(life_s: int, changes: dict[str, Any], after_s: int) -> None:
    settings = Security(sasl_login_refresh_window_jitter=0.0, **changes)
    token = Token(Secret("t"), NOW, NOW + life_s * 1000)
    assert refresh_at_ms(token, settings, Random(0)) == NOW + after_s * 1000


@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.2])
def test_the_jitter_is_a_share_of_the_life(jitter: float) -> None:
    settings = Security(sasl_login_refresh_window_factor=0.5, sasl_login_refresh_window_jitter=jitter)
    token = Token(Secret("t"), NOW, NOW + 100_000_000)
    found = [(refresh_at_ms(token, settings, Random(seed)) - NOW) / 100_000_000 for seed in range(300)]
    assert min(found) == pytest.approx(0.5, abs=0.002)
    assert max(found) == pytest.approx(0.5 + jitter, abs=0.002)


def test_a_token_file_is_read_with_its_own_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    text = jwt(exp=1_700_000_600)
    path.write_text(f"{text}\n")
    found = fetcher(Security(sasl_oauthbearer_token_endpoint_url=f"file://{path}"), LOGIN)(NOW)
    assert (found.text.reveal(), found.expires_ms) == (text, NOW + 600_000)
    path.write_text("opaque")
    assert read_token_file(path, NOW).expires_ms == 0


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff", b"a\nb"])
def test_a_file_without_one_token_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(TokenError, match=r"does not hold one token\. Write one token, and nothing"):
        read_token_file(path, NOW)
    with pytest.raises(TokenError, match=r"No such file or directory\. Correct the path or its owner"):
        read_token_file(tmp_path / "none", NOW)


def answering(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes) -> list[tuple[str, dict[str, str]]]:
    asked: list[tuple[str, dict[str, str]]] = []

    def post(_: Security, form: str, headers: dict[str, str]) -> tuple[int, bytes]:
        asked.append((form, headers))
        return status, body

    monkeypatch.setattr(tokens, "_post", post)
    return asked


def test_the_client_credentials_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 200, b'{"access_token":"opaque","token_type":"bearer","expires_in":3600}')
    found = ask_endpoint(ENDPOINT, LOGIN, NOW)
    assert (found.text.reveal(), found.issued_ms, found.expires_ms) == ("opaque", NOW, NOW + 3_600_000)
    [(form, headers)] = asked
    assert form == "grant_type=client_credentials&scope=kafka"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"me:hunter2").decode()


def test_the_tokens_own_end_counts_more_than_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"access_token": jwt(exp=1_700_000_060), "expires_in": 3600}).encode()
    answering(monkeypatch, 200, body)
    assert ask_endpoint(ENDPOINT, LOGIN, NOW).expires_ms == NOW + 60_000


@pytest.mark.parametrize(
    ("status", "body", "part"),
    [
        (401, b'{"error":"invalid_client","error_description":"who?"}', "HTTP status 401, invalid_client: who?"),
        (
            401,
            b"",
            "HTTP status 401. Check sasl.oauthbearer.client.credentials.client.id and client.secret",
        ),
        (400, b'{"error":"invalid_client","error_description":"not hunter2"}', "HTTP status 400"),
        (
            400,
            b'{"error_description":"%sbad hunter2"}' % (b"x" * 192),
            "HTTP status 400",
        ),  # cut, half of it would be left
        (400, b'{"error":"Basic bWU6aHVudGVyMg=="}', "HTTP status 400"),
        (500, b"<html>", "HTTP status 500"),
        (302, b"", "HTTP status 302"),
        (200, b"{}", "no access_token"),
        (200, b"[]", "no access_token"),
        (200, b'{"access_token":5}', "no access_token"),
        (200, b'{"access_token":"a\\u0001b"}', "no access_token"),
        (200, b"[" * 100_000, "no access_token"),
        (200, b"\xff", "no access_token"),
    ],
)
def test_what_is_no_token_is_told_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, part: str
) -> None:
    answering(monkeypatch, status, body)
    with pytest.raises(TokenError) as caught:
        ask_endpoint(ENDPOINT, LOGIN, NOW)
    assert part in str(caught.value)
    assert "https://login.example/token" in str(caught.value)
    assert "hunt" not in str(caught.value)
    assert "bWU6" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://idp..example/token", "https://.example/token", "http://127.0.0.1:1/t\u00f6ken"], ids=ascii
)
def test_an_endpoint_that_cannot_be_asked_is_an_error_like_any_other(url: str) -> None:
    with pytest.raises(TokenError, match="token endpoint"):
        ask_endpoint(Security(sasl_oauthbearer_token_endpoint_url=url), LOGIN, NOW)


def test_a_token_that_has_ended_when_it_comes_is_not_asked_for_without_a_pause() -> None:
    loop = asyncio.new_event_loop()
    delays: list[float] = []

    async def get() -> None:
        kept = Tokens(Security(), lambda _: Token(Secret("stale"), NOW - 20, NOW - 10), loop, SystemClock(), Random(0))
        assert await kept.get() == "stale"
        assert kept._timer is not None
        delays.append(kept._timer.when() - loop.time())
        kept.close()

    loop.run_until_complete(get())
    loop.close()
    assert delays[0] > 9


@pytest.mark.parametrize(
    ("expires_ms", "blamed"),
    [(NOW, "the token ended at 2023-11-14T22:13:20Z"), (1 << 50, ""), (0, "")],
    ids=["ended", "good", "of unknown end"],
)
def test_a_refused_token_that_had_ended_is_to_blame(expires_ms: int, blamed: str) -> None:
    async def refuse() -> list[str]:
        loop = asyncio.get_running_loop()
        kept = Tokens(Security(), lambda _: Token(Secret("t"), NOW - 20, expires_ms), loop, SystemClock(), Random(0))
        sent = [await kept.get(), await kept.get()]
        found = [kept.forget(text) for text in sent]
        kept.close()
        return found

    assert asyncio.run(refuse()) == [blamed, blamed], "each login is told, however many sent it"


def test_a_token_that_was_not_sent_is_not_to_blame_and_is_kept() -> None:
    async def refuse() -> tuple[str, str]:
        loop, texts = asyncio.get_running_loop(), iter(["old", "new"])
        kept = Tokens(
            Security(), lambda _: Token(Secret(next(texts)), NOW - 20, 1 << 50), loop, SystemClock(), Random(0)
        )
        old = await kept.get()
        kept.forget(old)
        new = await kept.get()
        assert kept.forget(old) == ""
        found = new, await kept.get()
        kept.close()
        return found

    assert asyncio.run(refuse()) == ("new", "new")


def test_a_token_that_comes_behind_the_end_is_not_renewed() -> None:
    """The loop may be a program's, which goes on for days."""
    answering = threading.Event()

    def fetch(now_ms: int) -> Token:
        answering.wait(5)
        return Token(Secret("late"), now_ms, now_ms + 3_600_000)

    async def end_before_the_answer() -> object:
        kept = Tokens(Security(), fetch, asyncio.get_running_loop(), SystemClock(), Random(0))
        asked = kept._ask()
        kept.close()
        answering.set()
        assert (await asked).text == Secret("late")
        return kept._timer

    assert asyncio.run(end_before_the_answer()) is None


@given(st.text(max_size=40))
def test_any_text_is_a_token_with_or_without_an_end(text: str) -> None:
    found = tokens._token(text, NOW, 0)
    assert found.expires_ms >= 0
