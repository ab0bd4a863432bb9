"""The mean of the weights of several native files of one model, as a native file (Izmailov et al., UAI 2018).

    python benchmarks/average_weights.py OUT.safetensors A.safetensors B.safetensors [...]

Runs that go on from each other end near each other, and their mean is better than either. What is known of the training is
that of the last file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from implicitkit.create import load_model


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    loaded = [load_model(file) for file in arguments.files]
    if any(model.spec != loaded[0].spec for model in loaded):
        raise SystemExit("error: the files are of different models")
    states = [model.state_dict() for model in loaded]
    mean = {name: torch.stack([state[name].double() for state in states]).mean(0).float() for name in states[0]}
    loaded[-1].load_state_dict(mean)
    loaded[-1].save(arguments.output)


if __name__ == "__main__":
    main()
