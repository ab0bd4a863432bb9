"""A training step as one CUDA graph: its kernels are recorded once and then start together.

A step of a small network is a thousand kernels of a few microseconds; starting them one by one takes longer than they
run. The recorded step is the forward and backward pass, the clipped update and the moving average of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from implicitkit.training.optimisation.averaging import Average
from implicitkit.training.optimisation.optimiser import set_rate

WARM_UPS = 3


class GraphStep:
    """Steps of training on a GPU, recorded from the first batch.

    Args:
        loss_of: batch -> the loss, a scalar with a graph; the same kernels for each batch of the same shapes.
        model: what is trained.
        optimiser: of its parameters, one that PyTorch can record (``capturable``) and whose state begins at zero, such
            as AdamW.
        average: the moving average of the weights.
        clip: the largest norm of the gradient; None: any.
        batch: the first batch: tensors on the GPU, and whatever else ``loss_of`` reads.
    """

    def __init__(
        self,
        loss_of: Callable[[dict[str, Any]], Tensor],
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        average: Average,
        clip: float | None,
        batch: Mapping[str, Any],
    ) -> None:
        self._loss_of, self._optimiser, self._average, self._clip = loss_of, optimiser, average, clip
        self._trained = [p for p in model.parameters() if p.requires_grad]
        device = self._trained[0].device
        self._share = torch.zeros((), device=device)
        for group in optimiser.param_groups:
            group["capturable"] = True
            group["lr"] = torch.zeros((), device=device)  # the warm-up moves no weight
        self._rates = [group["lr"] for group in optimiser.param_groups]
        self._batch = {key: value.clone() if isinstance(value, Tensor) else value for key, value in batch.items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose their kernels before the recording
            for _ in range(WARM_UPS):
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        for state in optimiser.state.values():  # as before the warm-up
            for value in state.values():
                value.zero_()
        self._graph = torch.cuda.CUDAGraph()
        optimiser.zero_grad(set_to_none=True)  # the gradients' memory belongs to the graph
        with torch.cuda.graph(self._graph, capture_error_mode="relaxed"):
            self._loss = self._step()

    def _step(self) -> Tensor:
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._loss_of(self._batch)
        loss.backward()
        if self._clip:
            torch.nn.utils.clip_grad_norm_(self._trained, self._clip)
        self._optimiser.step()
        self._average.move(self._share)
        return loss.detach()

    def __call__(self, batch: Mapping[str, Any], rate: float) -> Tensor:
        """Take a step on ``batch`` at the learning rate ``rate``; returns the loss, which the next step overwrites."""
        for key, value in batch.items():
            if isinstance(value, Tensor):
                self._batch[key].copy_(value)
        set_rate(self._optimiser, rate)
        for group, held in zip(self._optimiser.param_groups, self._rates, strict=True):  # where the graph reads it
            group["lr"] = held.fill_(group["lr"])
        self._share.fill_(1 - self._average.next_decay())
        self._graph.replay()
        return self._loss


def first_step(make: Callable[[], GraphStep], undo: Callable[[], None]) -> GraphStep | None:
    """The recorded step, or None, with a line that says why, where it cannot be recorded; ``undo`` is called then."""
    if not torch.cuda.is_available():
        return None
    try:
        return make()
    except RuntimeError as error:
        print(f"no graph: {error}", flush=True)
        torch.cuda.synchronize()
        undo()
        return None
