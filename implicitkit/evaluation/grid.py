"""The grid of pictures, which a rule chose."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from implicitkit.config.comparison import CompareConfig
from implicitkit.errors import check_known
from implicitkit.evaluation.scores import score_text
from implicitkit.evaluation.statistics import gains_of, ranked
from implicitkit.evaluation.timing import read_pictures
from implicitkit.images.sheets import save_figure, sheet


def draw_grid(
    config: CompareConfig, evaluation: Mapping[str, Any], files: Mapping[str, Path], lower: Collection[str], file: Path
) -> dict[str, Any] | None:
    """Choose pictures by what a method gains, and draw what all made of them.

    Args:
        config: says which pictures.
        evaluation: what the report says of it.
        files: row -> where its pictures are kept.
        lower: the metrics of which less is better.
        file: the PNG to write.

    Returns:
        What was chosen, for the report; None where no pictures are kept.
    """
    grid, units, trivial = config.pictures, evaluation["units"], evaluation["trivial_rows"]
    labels = [label for label in files if label not in trivial]
    reference = next((label for label in config.reference if label in labels), None)
    others = [label for label in labels if label != reference] or labels
    highlight = grid.highlight if grid.highlight in labels else others[-1]
    before = trivial[0] if reference in (None, highlight) else reference
    settings = list(evaluation["summary"][highlight])
    setting = check_known(grid.setting or settings[-1], settings, "pictures.setting: there is no")
    usual = "psnr_hole" if "psnr_hole" in units else next(iter(units))
    metric = check_known(grid.metric or usual, units, "pictures.metric: there is no")
    scores = {row: [run[setting][metric] for run in evaluation["scores"][row].values()] for row in files}
    gains = gains_of(scores[highlight], scores[before])
    means = {row: evaluation["summary"][row][setting][metric]["mean"] for row in trivial}
    best = (min if metric.removesuffix("_hole") in lower else max)(means, key=lambda row: means[row])
    rows, titles, chosen = [], [], []
    for what, picture in ranked(gains, grid.rows):
        kept = {row: read_pictures(files[row], setting, picture) for row in (best, *labels)}
        if all(f"row {row}" in pictures for row, pictures in kept.items()):
            named = {row: f"{row} {score_text(scores[row][0].get(picture), units[metric])}" for row in kept}
            cells = [(named[row], pictures[f"row {row}"]) for row, pictures in kept.items()]
            rows.append([("input", kept[best]["input"]), *cells, ("truth", kept[best]["truth"])])
            titles.append(f"{picture}: {what}, {gains[picture]:+.2f} {units[metric]}".rstrip() + ", mean over seeds")
            chosen.append(what)
    if not rows:
        return None
    save_figure(sheet(rows, titles), file)
    names = {"file": file.name, "highlight": highlight, "reference": before, "setting": setting, "metric": metric}
    return {**names, "rows": chosen, "titles": titles}
