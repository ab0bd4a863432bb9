"""Only who has the token and calls the machine by its name is let in."""

from __future__ import annotations

import secrets

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from implicitkit.viewer.guard import Guard, is_loopback, new_token

TOKEN = "t0ken-of_the-test"


def client(host: str = "127.0.0.1", name: str = "127.0.0.1:8765") -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"in at {request.url.path}")

    inner = Starlette(routes=[Route("/", answer), Route("/view", answer)])
    return TestClient(Guard(inner, TOKEN, host), base_url=f"http://{name}")


def test_the_address_with_its_token_is_answered() -> None:
    assert client().get(f"/{TOKEN}/view?x=1").text == "in at /view"
    assert client().get(f"/{TOKEN}/").status_code == 200
    assert client().get(f"/{TOKEN}/no/such").status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/view", "/wrong/view", f"/{TOKEN[:-1]}/view", f"/{TOKEN}x/view", f"//{TOKEN}/view", "/ü/view"]
)
def test_without_the_token_there_is_nothing(path: str) -> None:
    refused = client().get(path)
    assert refused.status_code == 403 and TOKEN not in refused.text and "token" in refused.text


def test_the_token_is_compared_in_constant_time_and_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(secrets, "compare_digest", watched)
    client().get("/wrong/view")
    assert compared == [(b"wrong", TOKEN.encode())]
    assert len(new_token()) >= 40 and new_token() != new_token()


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "192.168.0.7", "[::2]"]
)
def test_another_name_of_this_machine_is_refused(name: str) -> None:
    """DNS rebinding: a page elsewhere makes its own name mean this machine."""
    refused = client(name=name).get(f"/{TOKEN}/view")
    assert refused.status_code == 403 and "name" in refused.text


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:8765"])
def test_this_machine_is_called_by_any_of_its_own_names(name: str) -> None:
    assert client(name=name).get(f"/{TOKEN}/view").status_code == 200


def test_a_server_for_all_takes_addresses_but_no_foreign_names() -> None:
    assert client("0.0.0.0", "192.168.0.7:8765").get(f"/{TOKEN}/view").status_code == 200
    assert client("0.0.0.0", "evil.example").get(f"/{TOKEN}/view").status_code == 403
    assert client("box.lan", "box.lan:8765").get(f"/{TOKEN}/view").status_code == 200


def test_answers_forbid_what_the_page_does_not_need() -> None:
    for answer in (client().get(f"/{TOKEN}/view"), client().get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["cache-control"] == "no-store"


def test_loopback_is_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.1", "example.org")))
