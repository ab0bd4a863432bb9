"""Run the notebooks of the gallery.

python docs/make_gallery.py            # run all and keep what they print and draw
python docs/make_gallery.py --check    # run all and keep nothing: what CI does; the first cell that fails is an error
python docs/make_gallery.py 4_infinite_zoom
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
TIMEOUT_S = 300  # of a cell; the notebooks take half a minute in all on two free cores
JPEG_ABOVE = 30_000  # base64 characters: pictures larger than that are kept as JPEG
MAX_BYTES = 400_000


def run(file: Path) -> Any:
    """The notebook after it ran from top to bottom in a fresh process."""
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(file.parent)}}
    )
    client.execute()
    return notebook


def tidy(notebook: Any) -> None:
    """Keep what readers see, small and the same for the same results."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
            data = output.get("data", {})
            if len(data.get("image/png", "")) > JPEG_ABOVE:
                data["image/jpeg"] = as_jpeg(data.pop("image/png"))
            if any(kind.startswith("image/") for kind in data):
                data.pop("text/plain", None)  # the object's address, another one every time


def as_jpeg(png: str) -> str:
    """The same picture as JPEG, in base64."""
    file = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(file, "JPEG", quality=88)
    return base64.b64encode(file.getvalue()).decode("ascii")


def main() -> int:
    """Run what is asked for; the number of notebooks that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of notebooks (default: all)")
    parser.add_argument("--check", action="store_true", help="keep nothing")
    arguments = parser.parse_args()
    failed = 0
    for file in sorted(FOLDER.glob("*.ipynb")):
        if arguments.names and file.stem not in arguments.names:
            continue
        begun = time.perf_counter()
        try:
            notebook = run(file)
        except CellExecutionError as error:
            sys.stderr.write(f"{file.name}: {error}\n")
            failed += 1
            continue
        sys.stdout.write(f"{file.name}: {time.perf_counter() - begun:.0f} s\n")
        if not arguments.check:
            tidy(notebook)
            text = nbformat.writes(notebook)
            if len(text) > MAX_BYTES:
                raise SystemExit(f"{file.name} would have {len(text):,} bytes, more than {MAX_BYTES:,}: draw less")
            file.write_text(text + "\n", encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
