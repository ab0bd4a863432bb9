"""Use an installed implicitkit as a newcomer would, from a folder that has nothing to do with the tree.

python .ci/smoke.py    # with the Python of the environment that it was installed into
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]


def run(*arguments: str, cwd: str) -> str:
    """What a command prints."""
    ran = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
    return ran.stdout + ran.stderr


def main() -> None:
    """Import, list, upscale, begin a training, write a plugin: what needs files of the package."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(run("-c", "import implicitkit; print(implicitkit.__file__)", cwd=folder).strip()).resolve()
        if where.is_relative_to(TREE):
            raise SystemExit(f"{where} is the tree's own; install the wheel or the sdist")
        cli = ("-m", "implicitkit")
        assert "liif_small" in run(*cli, "list", cwd=folder)
        assert "quick_liif_lte" in run(*cli, "list", "configs", cwd=folder)
        picture = "import implicitkit as ik, torch; ik.write_image('small.png', torch.rand(3, 32, 40))"
        run("-c", picture, cwd=folder)
        for model in ("liif_small", "fast"):
            run(*cli, "upscale", "small.png", "--scale", "1.5", "--model", model, "-o", f"{model}.png", cwd=folder)
        run(
            *cli,
            "train",
            "liif_small",
            "--dry-run",
            "--set",
            f"data.folders=[{where.parent / 'examples' / 'photos'}]",
            "--set",
            "data.held_out=1",
            cwd=folder,
        )
        run(*cli, "plugins", "new", "wave", cwd=folder)
        sizes = run("-c", "import implicitkit as ik; print(ik.read_image('fast.png').shape)", cwd=folder)
        sys.stdout.write(f"{where.parent}: works; 32 × 40 became {sizes.strip()}\n")


if __name__ == "__main__":
    main()
