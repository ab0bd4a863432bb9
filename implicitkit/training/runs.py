"""A run directory: its configuration, log, checkpoints and weights, written atomically."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from implicitkit.config import TrainConfig
from implicitkit.errors import UserError
from implicitkit.files import LOCK, held, is_held, write_text
from implicitkit.images.io import write_image
from implicitkit.model import ImplicitModel
from implicitkit.training.loggers import RUNS, Loggers
from implicitkit.training.resume import RESUMABLE_KEYS, changed_entries, holds_work, write_config
from implicitkit.training.validation import Validation

Report = Callable[[dict[str, Any]], None]


class Stateful(Protocol):
    """Stored in checkpoints besides the model and its optimiser; its state is tensors and plain values."""

    def state_dict(self) -> dict[str, Any]:
        """The state to write."""

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Restore a written state."""


class Run:
    """A run directory: its configuration, log, checkpoints and weights; a context that ends with the run.

    From :meth:`open` on, the run holds the folder's lock. A run that fails before its first step leaves nothing.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, resume: bool) -> None:
        self.config, self.accelerator, self.folder, self.resume = config, accelerator, config.output, resume
        self.best, self.best_by = -math.inf, ""  # a metric of the validation
        self.whole = False  # whether each crop is a whole picture
        self.between: tuple[int, ImplicitModel] | None = None  # between two steps: those done, and the model
        self._start = 0
        self._loggers: Loggers | None = None
        self._stateful: dict[str, Stateful] = {}
        self._lock = ExitStack()
        self._taken = f"another process trains in {self.folder}; wait for it to end, or choose another output"
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"output is {self.folder}, which is a file; name a folder")
        if accelerator.is_main_process and (self.folder / LOCK).exists() and is_held(self.folder / LOCK):
            raise UserError(self._taken)
        self._check_folder()
        if resume:
            self._check_same()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loggers is not None:
            self._loggers.close()
        if error is not None and not isinstance(error, UserError):
            self._rescue()
        opened = self.accelerator.is_main_process and (self.folder / LOCK).exists()
        if error is not None and opened and not self._worth_keeping():
            self._clear()
        self._lock.close()
        if error is None:
            self.accelerator.end_training()

    def open(self) -> None:
        """Create the directory and lock it; call it when the configuration has been checked.

        Raises:
            UserError: another process is faster, or the folder cannot be written.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"cannot make the folder {self.folder}: {error.strerror or error}") from None
            self._lock.enter_context(held(self.folder / LOCK, self._taken))
            self._check_folder()  # another process may have come and gone
            if not self.resume:
                self._clear(but=LOCK)
            write_config(self.config)
            (self.folder / "checkpoints").mkdir(exist_ok=True)
            for leftover in (self.folder / "checkpoints").glob(".*.part"):
                shutil.rmtree(leftover)
            for leftover in self.folder.glob(".*.part.*"):
                leftover.unlink()
        self.accelerator.wait_for_everyone()

    def _check_folder(self) -> None:
        """Raise if the folder is not what ``resume`` expects.

        A run that ended before its first checkpoint may be resumed, or begun again.
        """
        begun = (self.folder / "config.yaml").is_file()
        # a run killed before its first file was written left temporary names only
        others = [p for p in self.folder.glob("*") if not p.name.endswith(".part.yaml") and p.name != LOCK]
        if not self.resume and (holds_work(self.folder) if begun else others):
            if not begun:
                raise UserError(f"{self.folder} holds files that are no run's; choose another output")
            raise UserError(
                f"{self.folder} already holds a run; continue it with --resume (resume=True) or choose another output"
            )
        if self.resume and not begun:
            raise UserError(f"there is no run to resume in {self.folder}; start it without --resume (resume=False)")

    def _worth_keeping(self) -> bool:
        """Whether the folder holds more than the beginning of a run."""
        if holds_work(self.folder):
            return True
        log = self.folder / "log.jsonl"
        return log.is_file() and any('"event": "start"' not in line for line in log.read_text("utf-8").splitlines())

    def _clear(self, but: str = "") -> None:
        """Remove the files of a run without checkpoints; the folder as well, if nothing else is in it."""
        if not (self.folder / "config.yaml").is_file() and not but:
            return
        for pattern in (
            "config.yaml",
            "log.jsonl",
            "events.out.tfevents*",
            RUNS,
            "images/step-*.png",
            ".*.part.*",
            LOCK,
        ):
            for file in self.folder.glob(pattern):
                if file.name != but:
                    file.unlink()
        for folder in (self.folder / "images", self.folder / "checkpoints", self.folder):
            with suppress(OSError):  # it is not there, or not empty
                folder.rmdir()

    def keep(self, name: str, thing: Stateful) -> None:
        """Store ``thing`` in every checkpoint, as ``NAME.pt``, and restore it with one."""
        self._stateful[name] = thing

    def restore(self) -> int:
        """Load the newest checkpoint, if there is one, and return the number of steps done."""
        checkpoints = self._checkpoints()
        if not checkpoints:
            self._trim_log(0)
            return 0
        self._start, folder = checkpoints[-1]
        try:
            self.accelerator.load_state(str(folder))
            stored = json.loads((folder / "run.json").read_text())
            self.best, self.best_by = stored["best"], stored.get("best_by", self.best_by)
            for name, thing in self._stateful.items():  # accelerate would execute pickled code
                thing.load_state_dict(torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True))
        except Exception as error:  # readers raise many kinds for damaged files
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the checkpoint {folder} cannot be read ({reason}); delete it to go on from the one before"
            ) from error
        self._trim_log(self._start)
        return self._start

    def checkpoint(self, step: int, model: ImplicitModel) -> None:
        """Write ``checkpoints/step-N`` atomically, then delete the oldest.

        Raises:
            UserError: weights are not finite, or the folder cannot be written.
        """
        if not all(bool(p.isfinite().all()) for p in model.parameters()):
            raise UserError(
                f"the weights are no longer finite at step {step}, and were not written; "
                "lower optimiser.lr or set optimiser.clip, then --resume from the checkpoint before"
            )
        target = self.folder / "checkpoints" / f"step-{step}"
        temporary = target.with_name(f".{target.name}.part")  # one name for all processes
        try:
            self.accelerator.save_state(str(temporary))
            if self.accelerator.is_main_process:
                for name, thing in self._stateful.items():
                    torch.save(thing.state_dict(), temporary / f"{name}.pt")
        except (OSError, RuntimeError, SafetensorError) as error:  # writers raise many kinds for a full disk
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(
                f"cannot write {target} (is the disk full?): {error}; "
                "what was written before is whole, continue with --resume"
            ) from error
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write_text(temporary / "run.json", json.dumps({"step": step, "best": self.best, "best_by": self.best_by}))
            temporary.rename(target)
            for _, old in self._checkpoints()[: -self.config.keep_checkpoints]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def _rescue(self) -> None:
        """Keep the steps that are done when one fails, or on Ctrl-C. Several processes could not write together."""
        if self.between is None or self.accelerator.num_processes > 1:
            return
        done, model = self.between
        if not (self.folder / "checkpoints" / f"step-{done}").exists():
            with suppress(UserError):  # weights that are not finite, or a full disk: the first error counts
                self.checkpoint(done, model)

    def validated(self, step: int, model: ImplicitModel, validation: Validation, say: Report) -> None:
        """Log a validation, write its picture, and the weights if they are the best so far."""
        picture = validation.picture
        details = {f"{metric}_{task}": v for metric, tasks in validation.scores.items() for task, v in tasks.items()}
        say({"event": "validation", "step": step, **validation.means, **details})
        (self.folder / "images").mkdir(exist_ok=True)
        write_image(self.folder / "images" / f"step-{step}.png", picture)
        self._log().picture("validation", picture, step)
        score = validation.means[validation.best] * (-1 if validation.best in validation.lower_is_better else 1)
        if self.best_by != validation.best:
            self.best, self.best_by = -math.inf, validation.best
        if score > self.best:
            self.best = score
            named = {"psnr_y" if metric == "psnr" else metric: scores for metric, scores in validation.scores.items()}
            self.save(model, "best.safetensors", step, {f"validation_{metric}": s for metric, s in named.items()})

    def save(self, model: ImplicitModel, name: str, step: int, summary: dict[str, Any] | None = None) -> None:
        """Write the model as a native file with a summary of its training."""
        model.training_summary = {
            "steps": step,
            "batch": self.config.batch,
            "seed": self.config.seed,
            "trained_on": self.config.trained_on,
            "degradation": json.loads(self.config.model_dump_json())["degradation"],
            "data": {"patch": self.config.data.patch, "whole": self.whole},
            **(summary or {}),
        }
        model.save(self.folder / name, license=self.config.license)

    def say(self, entry: dict[str, Any], report: Report | None) -> None:
        """Write a line of ``log.jsonl``, tell the loggers, and call the report."""
        if not self.accelerator.is_main_process:
            return
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({**entry, "time": time.time()}) + "\n")
        if entry["event"] != "start":
            numbers = {k: v for k, v in entry.items() if k not in ("event", "step", "seconds_left", "reason")}
            self._log().scalars({f"{entry['event']}/{k}": v for k, v in numbers.items()}, entry["step"])
        if report is not None:
            report(entry)

    def _log(self) -> Loggers:
        if self._loggers is None:
            settings = json.loads(self.config.model_dump_json())
            self._loggers = Loggers(self.config.loggers, self.folder, settings, self._start)
        return self._loggers

    def _checkpoints(self) -> list[tuple[int, Path]]:
        folders = (self.folder / "checkpoints").glob("step-*")
        return sorted((int(match[1]), p) for p in folders if (match := re.fullmatch(r"step-(\d+)", p.name)))

    def _trim_log(self, step: int) -> None:
        """Remove the log lines of steps after the checkpoint, which run again."""
        log = self.folder / "log.jsonl"
        if self.accelerator.is_main_process and log.exists():
            lines = []
            for line in log.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        lines.append(line + "\n")
                except (json.JSONDecodeError, KeyError):
                    continue  # an incomplete line of a killed run
            write_text(log, "".join(lines))

    def _check_same(self) -> None:
        changed = changed_entries(self.folder / "config.yaml", self.config, RESUMABLE_KEYS)
        if changed:
            how = "with its own config.yaml" if holds_work(self.folder) else "so, or start it anew without --resume"
            raise UserError(
                f"the run in {self.folder} was started with another {' and '.join(list(changed)[:5])}; resume it {how}"
            )
