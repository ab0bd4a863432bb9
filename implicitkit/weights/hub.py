"""A model as a repository of the Hugging Face hub: ``config.json``, ``model.safetensors`` and a model card.

The methods are those of huggingface_hub's ``PyTorchModelHubMixin``, with the same arguments. The weight file is the
native one, so ``ik.load_model("hf-hub:Organisation/name")`` needs nothing else of a repository.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from implicitkit.errors import UserError, WeightsError, first_line
from implicitkit.files import write_json, write_text

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
LIBRARY = "implicitkit"
PIPELINE = "image-to-image"
VALIDATION = "validation_"  # begins the entries of a training summary that hold scores
MESSAGE = "Push model using huggingface_hub."
TERMS = {  # the hub's identifiers of licences, by the names that SPDX and authors use
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "bsd-2-clause": "bsd-2-clause",
    "bsd-3-clause": "bsd-3-clause",
    "cc0-1.0": "cc0-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
}


class HubMixin:
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of a model."""

    training_summary: dict[str, Any]
    license: str

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: Mapping[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write a folder as the hub has it; ``ik.load_model("local-dir:FOLDER")`` reads it.

        Args:
            save_directory: the folder; a card that is there already is kept.
            repo_id: the repository (default: the folder's name), if it is pushed too.
            push_to_hub: push it to the hub as well.
            model_card_kwargs: of :func:`model_card`.
            push_to_hub_kwargs: of :meth:`push_to_hub`.

        Returns:
            The address of the commit, if it is pushed.

        Raises:
            ValueError: a part of the model was not built by name.
            UserError: the folder cannot be written, or the hub refuses.

        >>> import implicitkit as ik, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ik.load_model("liif_small").save_pretrained(folder)
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['README.md', 'config.json', 'model.safetensors']
        """
        folder, told = Path(save_directory), dict(model_card_kwargs or {})
        model: Any = self
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror or error}") from None
        model.save(folder / WEIGHTS)
        write_json(folder / CONFIG, {"library_name": LIBRARY, "spec": model.spec})
        if not (folder / CARD).exists():
            write_text(folder / CARD, model_card(model, **{"repo_id": repo_id or folder.name, **told}))
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or folder.name, model_card_kwargs=told, **push_to_hub_kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None, **how: Any
    ) -> Any:
        """The model of a hub repository or a folder, in eval mode.

        Args:
            pretrained_model_name_or_path: ``Organisation/name``, or a folder that holds ``model.safetensors``.
            revision: a branch, tag or commit.
            how: ``device`` and ``dtype``, as ``ik.load_model`` takes them.

        Raises:
            WeightsError: it does not exist, or cannot be read.

        >>> import implicitkit as ik, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = ik.load_model("liif_small").save_pretrained(folder)
        ...     ik.ImplicitModel.from_pretrained(folder).scales
        (1.2, 4.0)
        """
        from implicitkit import load_model

        source = str(pretrained_model_name_or_path)
        if Path(source).is_dir():
            return load_model(f"local-dir:{source}", **how)
        return load_model(f"hf-hub:{source.removeprefix('hf-hub:')}{f'@{revision}' if revision else ''}", **how)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = MESSAGE,
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
        model_card_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload the model to the hub in one commit; the repository is made if it is not there.

        Args:
            repo_id: ``Organisation/name``.
            commit_message: of the commit.
            private: whether a new repository is private (default: the organisation's choice).
            token: the hub's access token (default: what ``hf auth login`` left, or ``HF_TOKEN``).
            branch: the branch (default: ``main``).
            create_pr: open a pull request instead of committing to the branch.
            allow_patterns: push only files that match one.
            ignore_patterns: do not push files that match one.
            delete_patterns: delete files of the repository that match one, in the same commit.
            model_card_kwargs: of :func:`model_card`.

        Returns:
            The address of the commit.

        Raises:
            ValueError: a part of the model was not built by name.
            UserError: the hub cannot be reached, or refuses.
        """
        from huggingface_hub import HfApi

        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save_pretrained(folder, repo_id=repo_id, model_card_kwargs=model_card_kwargs)
            try:
                api = HfApi(token=token)
                repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
                done = api.upload_folder(
                    repo_id=repository,
                    folder_path=folder,
                    commit_message=commit_message,
                    revision=branch,
                    create_pr=create_pr,
                    allow_patterns=allow_patterns,
                    ignore_patterns=ignore_patterns,
                    delete_patterns=delete_patterns,
                )
            except Exception as error:  # the hub's client raises many kinds
                raise WeightsError(f"cannot push to {repo_id!r} on the hub: {first_line(error)}") from None
        return str(getattr(done, "commit_url", done))


def push_to_hub(model: HubMixin | str | Path, repo_id: str, **how: Any) -> str:
    """Upload a model to the hub, with a card made from its training summary.

    Args:
        model: the model, or what ``ik.load_model`` takes: a file, a folder, a name.
        repo_id: ``Organisation/name``.
        how: the arguments of :meth:`HubMixin.push_to_hub`, such as ``private=True``.

    Returns:
        The address of the commit.

    Raises:
        UserError: the hub cannot be reached, or refuses; or the model cannot be loaded.

    >>> import implicitkit as ik
    >>> ik.push_to_hub("runs/nothing.safetensors", "me/mine")
    Traceback (most recent call last):
    ...
    implicitkit.errors.WeightsError: there is no file runs/nothing.safetensors
    """
    from implicitkit import load_model

    loaded = model if isinstance(model, HubMixin) else load_model(model)
    return loaded.push_to_hub(repo_id, **how)


def model_card(
    model: Any,
    *,
    repo_id: str = "model",
    datasets: list[str] | str | None = None,
    tags: list[str] | None = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    description: str = "",
    **metadata: Any,
) -> str:
    """The text of a model card: metadata for the hub, and for people how it was trained, what it needs and reaches.

    Args:
        model: the model; its ``training_summary`` and ``license`` are told, the scores of a summary included.
        repo_id: ``Organisation/name``.
        datasets: ids of data sets on the hub that it was trained on.
        tags: further tags.
        scores: by data set and metric, such as ``{"Set5": {"psnr_y x2": 37.99}}`` (default: the summary's own).
        description: a paragraph to begin with.
        metadata: further entries of the metadata, such as ``base_model``.

    >>> import implicitkit as ik
    >>> print(model_card(ik.load_model("liif_small"), repo_id="me/mine").partition("license")[0])
    ---
    library_name: implicitkit
    <BLANKLINE>
    """
    from huggingface_hub import EvalResult, ModelCardData

    known = scores_of(model.training_summary) if scores is None else scores
    results = [
        EvalResult(PIPELINE, data.lower().replace(" ", "_"), data, metric.split()[0], float(value), metric_name=metric)
        for data, row in known.items()
        for metric, value in row.items()
    ]
    about = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=PIPELINE,
        tags=[*_tags(model), *(tags or [])],
        datasets=datasets,
        model_name=repo_id.rpartition("/")[2],
        eval_results=results or None,
        **_licence(model.license),
        **metadata,
    )
    return f"---\n{about.to_yaml()}\n---\n\n{_text(model, repo_id, known, description)}"


def scores_of(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The scores of a training summary, by data set and metric: its entry ``scores``, and those of its validation.

    >>> scores_of({"validation_psnr_y": {"x2": 30.25}, "steps": 7})
    {'validation': {'psnr_y x2': 30.25}}
    """
    tables: dict[str, dict[str, Any]] = {}
    stated = summary.get("scores")
    for data, row in (stated if isinstance(stated, Mapping) else {}).items():
        tables[str(data)] = dict(row)
    for key, row in summary.items():
        if _is_validation(key, row):
            named = {f"{key.removeprefix(VALIDATION)} {task}": value for task, value in row.items()}
            tables.setdefault("validation", {}).update(named)
    finite = {data: {k: float(v) for k, v in row.items() if math.isfinite(v)} for data, row in tables.items()}
    return {data: row for data, row in finite.items() if row}


def _is_validation(key: str, row: Any) -> bool:
    return key.startswith(VALIDATION) and isinstance(row, Mapping)


def _tags(model: Any) -> list[str]:
    steps = [str(step.get("name")) for step in model.training_summary.get("degradation") or []]
    tasks = {"super_resolution": "super-resolution", "inpainting": "inpainting", "noise": "denoising"}
    parts = [model.spec["encoder"], model.spec["decoder"]]
    names = [part if isinstance(part, str) else str(part["name"]) for part in parts]
    return [
        "implicit-neural-representation",
        *names,
        *(tasks[step] for step in steps if step in tasks),
    ]


def _licence(terms: str) -> dict[str, Any]:
    """The hub's entries on a licence; other terms than it knows are named as they are."""
    if not terms:
        return {}
    known = TERMS.get(terms.lower())
    return {"license": known} if known else {"license": "other", "license_name": terms[:100]}


def _text(model: Any, repo_id: str, scores: Mapping[str, Mapping[str, float]], description: str) -> str:
    summary = {key: value for key, value in model.training_summary.items() if key != "scores"}
    summary = {key: value for key, value in summary.items() if not _is_validation(key, value)}
    paragraphs = [f"# {repo_id.rpartition('/')[2]}"]
    if description:
        paragraphs.append(description)
    paragraphs.append(f"`{model!r}`\n\n```python\nimport implicitkit as ik\n")
    paragraphs[-1] += f'\nmodel = ik.load_model("hf-hub:{repo_id}")\n'
    paragraphs[-1] += 'field = model.encode(ik.read_image("picture.png"))\nlarge = field.render((1200, 1600))\n```'
    needs = "\n".join(f"| {key.replace('_', ' ')} | {value} |" for key, value in model.needs.items())
    paragraphs.append(f"## What it needs\n\n| | |\n|---|---|\n{needs}")
    if summary:
        rows = "\n".join(f"| {key.replace('_', ' ')} | {_plain(value)} |" for key, value in summary.items())
        paragraphs.append(f"## Training\n\n| | |\n|---|---|\n{rows}")
    if scores:
        rows = "\n".join(
            f"| {data} | {metric} | {value:.4g} |" for data, row in scores.items() for metric, value in row.items()
        )
        paragraphs.append(f"## Scores\n\n| data | metric | value |\n|---|---|---|\n{rows}")
    paragraphs.append(f"## Licence\n\n{model.license or 'not stated'}")
    return "\n\n".join(paragraphs) + "\n"


def _plain(value: Any) -> str:
    """A value in a cell of a table."""
    text = value if isinstance(value, str) else f"`{json.dumps(value)}`"
    return text.replace("|", "\\|")
