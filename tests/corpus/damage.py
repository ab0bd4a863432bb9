"""Seeded damage: bytes, PNG headers, values of a configuration, weights, words of the command line."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import torch
import yaml

from corpus.files import CONFIG, SIGNATURE, chunk, native, pickled, tensors

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)
VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "1e9", "nan", -1, 0, 0.5, 1e300, float("nan"), float("inf"), -(10**30), 10**30),
    *([], {}, [[]], [1], {"name": 1}, {"name": "x"}, {"a": {"b": []}}, "\x1b[2J", "../..", "/dev/null", "é" * 300),
)
YAML = (
    "2020-01-01",
    "!!set {a, b}",
    "!!binary aGk=",
    "!!python/object:os.system x",
    "&a [*a]",
    "*nowhere",
    "{",
    "- x: [",
    "0x1F",
)
WORDS = (
    *("upscale", "degrade", "train", "evaluate", "list", "info", "convert", "plugins", "config-schema", "nonsense"),
    *("rgb.png", "nowhere.png", "pictures", ".", "/dev/null", "tiny.safetensors", "config.yaml", "", " ", "-", "--"),
    *("--help", "--debug", "--force", "--no-force", "-o", "--output", "out.png", "out", "a/b/c.png", "run.json"),
    *("--scale", "2", "-2", "0", "nan", "inf", "1e400", "--scales", "--size", "8x9", "0x0", "9" * 30, "8x"),
    *("--model", "--data", "--width", "--height", "--tile", "auto", "--device", "cpu", "cuda:99", "--precision"),
    *(
        "float32",
        "--spec",
        "{name: noise}",
        "{name: [}",
        "--seed",
        "--record",
        "--set",
        "steps=1",
        "a.b=",
        "=",
        "--json",
    ),
    *("encoders", "timm:*", "[", "\x1b]0;owned\x07", "\n", "🜁", "x" * 5000, "\udcff", "--version", "--metrics", "psnr"),
)
STARTS = (
    ["upscale", "rgb.png"],
    ["degrade", "rgb.png"],
    ["train", "config.yaml"],
    ["evaluate"],
    ["info"],
    ["convert"],
    [],
)


def damaged(data: bytes, random: random.Random) -> bytes:
    """``data`` with one to three faults: cut, flipped, lost, doubled, overwritten or blank bytes."""
    for _ in range(random.randint(1, 3)):
        at = random.randrange(max(1, len(data)))
        length = random.choice((1, 2, 4, 16, 64))
        match random.randrange(7):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
            case 2:
                data = data[:at] + data[at + length :]
            case 3:
                data = data[: at + length] + data[at:]
            case 4:
                data = data[:at] + bytes(length) + data[at + length :]
            case 5:
                number = struct.pack(random.choice(("<I", ">I")), random.choice(NUMBERS) % 2**32)
                data = data[:at] + number + data[at + 4 :]
            case 6:
                data = data[:at] + b"\xff" * length + data[at + length :]
    return data


def strange_png(data: bytes, random: random.Random) -> bytes:
    """A PNG whose chunks are well formed and say something else: sizes, depths, colours, order, repetition."""
    chunks, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    match random.randrange(4):
        case 0:
            head = list(struct.unpack(">IIBBBBB", chunks[0][1]))
            index = random.randrange(7)
            head[index] = random.choice(NUMBERS) % (2**32 if index < 2 else 256)
            chunks[0][1] = struct.pack(">IIBBBBB", *head)
        case 1:
            chosen = random.choice(chunks)
            chosen[1] = damaged(chosen[1], random)
        case 2:
            chunks.insert(random.randrange(len(chunks)), list(random.choice(chunks)))
        case 3:
            name = random.choice(
                (b"iCCP", b"eXIf", b"gAMA", b"cHRM", b"cICP", b"acTL", b"tRNS", b"PLTE", b"zTXt", b"sRGB")
            )
            chunks.insert(1, [name, random.randbytes(random.choice((0, 1, 4, 8, 32, 33, 300)))])
    return SIGNATURE + b"".join(chunk(*each) for each in chunks)


def picture(data: bytes, random: random.Random) -> bytes:
    """A picture's content, damaged."""
    if data.startswith(SIGNATURE) and random.random() < 0.6:
        return strange_png(data, random)
    return damaged(data, random)


def config(random: random.Random) -> bytes:
    """A training configuration with a wrong value, a wrong key, or as a text that is damaged."""
    mapping = copy.deepcopy(CONFIG)
    paths = list(_paths(mapping))
    *parents, last = random.choice([path for path in paths if path != ("steps",)])  # many steps are no fault
    at: Any = mapping
    for key in parents:
        at = at[key]
    kind = random.randrange(5)
    if kind == 0:
        at[random.choice(("nonsense", "", 1, None, "a.b", "name"))] = at.pop(last)
    else:
        at[last] = "MARK" if kind == 1 else random.choice(VALUES)
    text = yaml.safe_dump(mapping, allow_unicode=True).replace("MARK", random.choice(YAML))
    return damaged(text.encode(), random) if kind == 2 else text.encode()


def _paths(value: Any, path: tuple[str, ...] = ()) -> Any:
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict):
            yield from _paths(inner, (*path, key))


CHANGES: tuple[Callable[[torch.Tensor], Any], ...] = (
    *(
        lambda t: t * float("nan"),
        lambda t: t.index_fill(0, torch.tensor([0]), float("inf")),
        lambda t: t.to(torch.complex64),
    ),
    *(
        lambda t: t.double(),
        lambda t: t.half(),
        lambda t: t.int(),
        lambda t: t.bool(),
        lambda t: t[:0],
        lambda t: t[None],
    ),
    *(lambda t: t.flatten(), lambda t: t.reshape(-1)[:1].reshape(()), lambda t: t.to(torch.bfloat16)),
)
OBJECTS: tuple[Callable[[torch.Tensor], Any], ...] = (
    *(lambda t: t.to_sparse(), lambda t: t.to("meta"), lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
    *(lambda t: 1, lambda t: None, lambda t: "x", lambda t: [t], lambda t: {"x": t}, torch.nn.Parameter),
)


def weight_file(whole: dict[str, bytes], random: random.Random) -> tuple[str, bytes]:
    """A weight file's name and content: its bytes, its metadata or its tensors are wrong."""
    name = random.choice(list(whole))
    match random.randrange(4):
        case 0:
            return name, damaged(whole[name], random)
        case 1:
            key = random.choice(("spec", "training", "frozen", "license", "format_version", "format"))
            text = random.choice(("", "[" * 5000, "{", "1", "null", '"x"', "NaN", json.dumps(random.choice(VALUES))))
            return "x.safetensors", native(tensors(), **{key: text})
        case 2:
            return "x.safetensors", native(tensors(random.choice(CHANGES)))
    state: Any = tensors(random.choice((*CHANGES, *OBJECTS)))
    wrap = random.choice(
        (
            lambda s: s,
            lambda s: {"model": s},
            lambda s: {"state_dict": s},
            lambda s: {"model": {"name": 1, "args": s, "sd": s}},
        )
    )
    if random.random() < 0.2:
        state = {random.choice((1, None, ("a",), "")): value for value in state.values()}
    return "x.pth", pickled(wrap(state))


def words(random: random.Random) -> list[str]:
    """A command line of words that are there, in an order that nobody meant."""
    return [*random.choice(STARTS), *random.choices(WORDS, k=random.randint(1, 6))]
