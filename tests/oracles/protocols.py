"""Protocols for tests: the built-in ones at small settings, and two that a plugin might bring."""

from __future__ import annotations

import torch

import implicitkit as ik
from implicitkit.evaluation import (
    Example,
    Scores,
)

NOISY_AND_SMALL = {
    "sigma 25": {"name": "noise", "sigma": 25},
    "blurred, x3": ["blur", {"name": "super_resolution", "scale": 3}],
}
SMALL = {
    "benchmark": {"scales": [2, 3.5]},
    "div2k": {"scales": [2]},
    "plain": {},
    "inpainting": {"size": 48, "bins": [[0, 20], [40, 60]]},
    "restoration": {"settings": NOISY_AND_SMALL, "size": 48},
}


class Brightness(ik.Protocol):
    """A plugin's: how far the mean of what is rendered at ``size`` is from the picture's."""

    trivial_answers = {"grey": lambda example: torch.tensor(0.5)}  # noqa: RUF012

    def __init__(self, size: int = 8, labels: list[str] | None = None) -> None:
        self.size, self.labels = size, labels

    def count(self, data):
        return len(list(self.examples(data)))

    def examples(self, data):
        if not data.is_dir():
            raise ik.DataError(f"there is no folder {data}")
        for file in sorted(data.glob("*.png")):
            picture = ik.read_image(file)
            yield Example("mean", file.stem, picture, None, picture)

    def answer(self, model, data, encode):
        return lambda example: model.encode(example.image, **encode).render((self.size, self.size)).mean()

    def metrics(self, metrics):
        return []

    def new_scores(self, data, metrics):
        return Scores(units={"offset": ""})

    def score(self, prediction, example, metrics):
        return {"offset": abs(float(example.truth.mean()) - float(prediction))}


class WholeEvaluate(Brightness):
    """As plugins were written before protocols yielded examples: a name, and all of evaluate."""

    trivial = "grey"
    trivial_answers = {}  # noqa: RUF012

    def evaluate(self, models, data, *, metrics=None, encode=None, progress=None):
        self.admit(models)
        scores = Scores(units={"offset": ""})
        for k, example in enumerate(self.examples(data), start=1):
            scores.add("grey", "mean", "offset", example.name, abs(float(example.truth.mean()) - 0.5))
            for name, model in models.items():
                found = self.answer(model, data, encode or {})(example)
                scores.add(name, "mean", "offset", example.name, abs(float(example.truth.mean() - found)))
            if progress:
                progress(k, example.name)
        return scores
