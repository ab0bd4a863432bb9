"""``implicitkit``, as one of several processes; each leaves its own weights in ``$OUT/rank-N.safetensors``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from implicitkit.cli.main import main
from implicitkit.training.runs import Run


def checkpoint(self: Run, step: int, model: Any) -> None:
    """As always, and the weights of this process."""
    save_file(
        {name: value.clone() for name, value in model.state_dict().items()},
        Path(os.environ["OUT"]) / f"rank-{self.accelerator.process_index}.safetensors",
    )
    written(self, step, model)


if __name__ == "__main__":
    written, Run.checkpoint = Run.checkpoint, checkpoint
    main()
