"""``implicitkit evaluate``."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from implicitkit.cli.progress import bar


def evaluate(
    model: Annotated[str, typer.Option(help="A pretrained model's name, or a weight file.")] = "liif_small",
    data: Annotated[
        Path, typer.Option(help="A test set: HR with LR_bicubic/X2, X2/HR with X2/LR, or plain pictures.")
    ] = Path(),
    scales: Annotated[
        str, typer.Option(help="Magnifications, e.g. '2 3 4' or 2,3.5,8; further ones may follow.")
    ] = "2 3 4",
    more: Annotated[
        list[float] | None, typer.Argument(metavar="[SCALE]...", help="Further scales.", show_default=False)
    ] = None,
    protocol: Annotated[str, typer.Option(help="benchmark, div2k or plain.")] = "benchmark",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write per-picture scores here as JSON.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 (as papers do), bfloat16 or auto.")] = "float32",
    tile: Annotated[int | None, typer.Option(help="Encode in tiles of so many pixels.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the JSON file.")] = False,
) -> None:
    """Score a model on a test set beside bicubic, by a published protocol; print a table."""
    import torch

    from implicitkit.atomic import write_json
    from implicitkit.devices import choose_device, choose_precision, describe_machine
    from implicitkit.errors import UserError
    from implicitkit.evaluation import PROTOCOLS, TestSet, bicubic, markdown_table
    from implicitkit.evaluation import evaluate as run
    from implicitkit.version import __version__
    from implicitkit.weights import load_model

    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}; it is one of {', '.join(PROTOCOLS)}")
    try:
        magnifications = [*(float(s) for s in scales.replace(",", " ").split()), *(more or [])]
    except ValueError:
        raise UserError(f"--scales takes numbers such as '2 3 4'; received {scales!r}") from None
    if not magnifications or any(not 1 <= s <= 1000 for s in magnifications):
        raise UserError(f"--scales are numbers from 1 to 1000; received {scales!r}")
    if output is not None and output.exists() and not force:
        raise UserError(f"{output} exists; pass --force to overwrite it")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent} to write {output.name} into")
    if data == Path():
        raise UserError("pass --data DIR, the folder of a test set")
    where = choose_device(device)
    number_format = choose_precision(precision, where)
    loaded = load_model(model).to(where)
    test_set = TestSet(data)

    def by_model(low: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return loaded.encode(low, tile=tile, precision=number_format).render(size)

    name = Path(model).stem
    start = time.monotonic()
    with bar("evaluating", sum(test_set.count(s) for s in magnifications)) as progress:
        results = run({"bicubic": bicubic, name: by_model}, test_set, magnifications, protocol, progress.update)
    typer.echo(markdown_table(results, magnifications))
    typer.echo(f"\n{test_set.name}, protocol {protocol}, {describe_machine(where)}, {number_format}")
    if output is not None:
        write_json(
            output,
            {
                "model": model,
                "data": test_set.name,
                "protocol": protocol,
                "precision": number_format,
                "machine": describe_machine(where),
                "implicitkit": __version__,
                "seconds": round(time.monotonic() - start, 1),
                "mean_psnr": {r.method: _finite({f"{s:g}": r.mean(s) for s in magnifications}) for r in results},
                "per_picture": [_finite(dataclasses.asdict(r)) for r in results],
            },
        )


def _finite(value: Any) -> Any:
    """JSON has no infinity: the PSNR of equal pictures becomes null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value
