"""The server of the page: a few addresses, none of which names a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from implicitkit.errors import UserError, describe, one_line
from implicitkit.images.upscale import choose_tile
from implicitkit.version import __version__
from implicitkit.viewer.darkroom import Darkroom
from implicitkit.viewer.guard import Guard, is_loopback
from implicitkit.viewer.python_line import python_line
from implicitkit.viewer.question import (
    BOUNDS,
    MAX_SAVED_PIXELS,
    MAX_SIDE,
    MAX_VIEW_PIXELS,
    MIN_CELL,
    PLAIN_LAYERS,
    Damage,
    Question,
    number,
)
from implicitkit.viewer.transfer import FORMATS, as_file, encode
from implicitkit.viewer.turns import SAVE, WORK, Asker, Busy, MovedOn, Turns

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {"/": ("index.html", "text/html"), "/view.css": ("view.css", "text/css")}
PAGE_FILES["/view.js"] = ("view.js", "text/javascript")
MAX_CLIENT = 64  # characters of a page's name
MAX_WORDS = 2000  # characters of a request's words
Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Server:
    """The answers to a page's requests.

    Attributes:
        room: what renders.
        turns: the thread in which it does.
        format: of views, see :data:`implicitkit.viewer.transfer.FORMATS`.
    """

    room: Darkroom
    turns: Turns
    format: str = "raw"

    def routes(self) -> list[Route]:
        """The addresses behind the token."""
        answers = {"/scene": self.scene, "/picture": self.picture, "/view": self.view}
        answers |= {"/save": self.save, "/python": self.python}
        pages = [Route(path, _file(*file), methods=["GET"]) for path, file in PAGE_FILES.items()]
        return pages + [Route(path, _in_words(answer), methods=["GET"]) for path, answer in answers.items()]

    async def scene(self, request: Request) -> Response:
        """What there is to see, and what may be asked."""
        models = [{"name": named.name, "meaning": self.room.has_meaning(k)} for k, named in enumerate(self.room.models)]
        defaults = {f.name: f.default for f in fields(Damage)}
        scene = {
            "version": __version__,
            "pictures": [path.name for path in self.room.pictures],
            "models": models,
            "layers": PLAIN_LAYERS,
            "damage": {name: {**bound._asdict(), "default": defaults[name]} for name, bound in BOUNDS.items()},
            "limits": {"side": MAX_SIDE, "view": MAX_VIEW_PIXELS, "saved": MAX_SAVED_PIXELS, "cell": MIN_CELL},
            "format": self.format,
        }
        return JSONResponse(scene)

    async def picture(self, request: Request) -> Response:
        """A picture's name, size and kind."""
        index = int(number(request.query_params, "picture", 0, len(self.room.pictures) - 1))

        def work(asker: Asker) -> dict[str, Any]:
            original = self.room.original(index)
            height, width = original.picture.size
            size_and_name = {"name": self.room.pictures[index].name, "height": height, "width": width}
            return size_and_name | {"alpha": original.picture.alpha is not None, "facts": original.facts()}

        return JSONResponse(await self._done("", None, work, rank=0))

    async def view(self, request: Request) -> Response:
        """A window; 204 if the page has moved on meanwhile."""
        words = request.query_params
        question = self._question(request)
        client, turn = words.get("client", "")[:MAX_CLIENT], int(number(words, "turn", 0, 2**53, default=0))

        def work(asker: Asker) -> bytes:
            return encode(self.room.render(question, asker), self.format)

        rank = WORK if question.layer.kind in ("model", "meaning") else 0
        return Response(await self._done(client, turn, work, rank), media_type=FORMATS[self.format])

    async def save(self, request: Request) -> Response:
        """A window as a PNG file of any size, as deep and as transparent as the picture, with its profile."""
        question = self._question(request, MAX_SAVED_PIXELS)

        def work(asker: Asker) -> bytes:
            return as_file(self.room.save(question, asker))

        return Response(await self._done("", None, work, rank=SAVE), media_type="image/png")

    async def python(self, request: Request) -> Response:
        """The line that makes the same picture."""
        question = self._question(request, MAX_SAVED_PIXELS)

        def work(asker: Asker) -> str:
            path, named = self.room.pictures[question.picture], self.room.models[question.layer.model]
            size = self.room.size(question.picture)
            degraded = self.room.seen(question.picture, question.damage).image
            return python_line(
                question,
                str(path),
                named.name,
                size=size,
                plain=self.room.original(question.picture).is_plain,
                takes_mask=named.model.takes_mask,
                tile=choose_tile(named.model, (degraded.shape[1], degraded.shape[2])),
                device=str(named.device),
            )

        return PlainTextResponse(await self._done("", None, work, rank=0))

    def _question(self, request: Request, most: int = MAX_VIEW_PIXELS) -> Question:
        room = self.room
        return Question.parse(request.query_params, pictures=len(room.pictures), models=len(room.models), most=most)

    async def _done(self, client: str, turn: int | None, work: Callable[[Asker], Any], rank: int) -> Any:
        return await asyncio.wrap_future(self.turns.ask(client, turn, work, rank))


def application(server: Server, token: str, host: str) -> Guard:
    """The whole server, behind its guard."""
    return Guard(Starlette(routes=server.routes()), token, host)


def view_format(host: str) -> str:
    """How views travel: as they are within a machine, as PNG over a network.

    >>> view_format("127.0.0.1"), view_format("0.0.0.0")
    ('raw', 'png')
    """
    return "raw" if is_loopback(host) else "png"


def _file(name: str, kind: str) -> Answer:
    async def answer(request: Request) -> Response:
        return FileResponse(PAGE / name, media_type=kind)

    return answer


def _in_words(answer: Answer) -> Answer:
    """Mistakes as one line: 400, or 204 for a view that nobody looks at any more, or 503."""

    async def answered(request: Request) -> Response:
        try:
            if len(request.url.query) > MAX_WORDS:
                raise UserError(f"a request has at most {MAX_WORDS} characters; received {len(request.url.query)}")
            return await answer(request)
        except MovedOn:
            return Response(status_code=204)
        except Busy:
            return PlainTextResponse("too many requests are waiting; ask again\n", status_code=503)
        except (UserError, ValueError, MemoryError) as error:
            return PlainTextResponse(f"{one_line(str(error) or describe(error))}\n", status_code=400)
        except Exception as error:  # of a model or a plugin: the page shows it, the server lives on
            return PlainTextResponse(f"{one_line(describe(error))}\n", status_code=500)

    return answered
