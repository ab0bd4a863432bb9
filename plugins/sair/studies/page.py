"""``docs/comparison.md`` from the reports of the studies.

    python plugins/sair/studies/page.py runs/faces_inpainting [...] [--meaning runs/scenes_sir/clean.json ...]

Each folder is what ``implicitkit compare`` wrote. Its report, figures and numbers go to ``docs/comparison/NAME``;
the page shows their main tables beside what ``findings.yaml`` says was learned. A file of ``--meaning`` is what
``implicitkit evaluate --protocol segmentation`` wrote. ``docs/comparison/twins.json`` holds the scores of
``resident.py`` on ``configs/twins``, ``first.jpg`` is of ``first_grid.py``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from implicitkit.comparison.report import table
from implicitkit.evaluation.statistics import differences

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
KEPT = ("report.md", "*.png")
SCENES = DOCS / "comparison" / "scenes"
TWINS = DOCS / "comparison" / "twins.json"
REGIONS = {"": "whole picture", "_hole": "hole"}
DIGITS = 6  # of a stored score


def section(name: str, report: Mapping[str, Any], findings: str) -> str:
    """A study in short: the first score of each table, the gains over each reference, figures, costs, findings."""
    parts = [f"## {report['title']}", report["notes"], findings]
    for evaluation in report["evaluations"].values():
        shown = [metrics[0] for metrics in evaluation["tables"].values() if metrics]
        parts += [table("scores", evaluation, metric) for metric in shown]
        parts += [table("differences", evaluation, r, shown[-1]) for r in evaluation["differences"]]
        if evaluation["grid"]:
            parts.append(f"![pictures](comparison/{name}/{evaluation['grid']['file']})")
        parts.append(table("costs", report["methods"], evaluation))
    if report["curves"]:
        parts.append(f"![training curves](comparison/{name}/{report['curves']})")
    parts.append(f"{report['machine']}. [The whole report](comparison/{name}/report.md), with every table, the budget, "
                 f"the rule by which pictures were chosen, and how to run it again.")  # fmt: skip
    return "\n\n".join(part.strip() for part in parts if part.strip())


def by_picture(run: Mapping[str, list[float]]) -> dict[str, Any]:
    """The scores of a run as the statistics take them."""
    return {setting: {"psnr": dict(enumerate(values))} for setting, values in run.items()}


def cell(gap: Mapping[str, float]) -> str:
    """A difference and its interval, in bold where it is more than chance after Holm's correction."""
    text, bold = f"{gap['mean']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]", "**" * (gap["p_holm"] < 0.05)
    return bold + text + bold


def twins(study: Mapping[str, Any], findings: str) -> str:
    """The hole's PSNR of SAIR and its twins, and what they differ by, over seeds × pictures."""
    rows = {
        name: {
            seed: {b: {"psnr": dict(enumerate(values))} for b, values in bins.items()} for seed, bins in runs.items()
        }
        for name, runs in study["psnr"].items()
    }
    settings = list(next(iter(next(iter(rows.values())).values())))
    heads = "| ".join(f"{setting.replace('-', '–')} % " for setting in settings)
    lines = [f"| PSNR of the hole, dB | seeds | {heads}|", "| --- " * (len(settings) + 2) + "|"]
    for name, runs in rows.items():
        means = [[np.mean(list(run[s]["psnr"].values())) for run in runs.values()] for s in settings]
        lines.append(f"| {name} | {len(runs)} | " + " | ".join(f"{np.mean(m):.2f}" for m in means) + " |")
    parts = ["## SAIR beside its twins", study["notes"], findings, "\n".join(lines)]
    for reference in study["references"]:
        lines = [f"| minus {reference} | {heads}|", "| --- " * (len(settings) + 1) + "|"]
        for name, found in differences(rows, reference).items():
            lines.append(f"| {name} | " + " | ".join(cell(found[s]["psnr"]) for s in settings) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(part.strip() for part in [*parts, study["machine"]])


def meaning(reports: list[Mapping[str, Any]], findings: str) -> str:
    """The mIoU of the raw and of the completed features, as they come and with holes."""
    lines = ["| holes | scored | commonest class | raw features | completed |", "| --- | --- | --- | --- | --- |"]
    for report in reports:
        trivial, model = report["mean"].values()
        for setting, scores in model.items():
            holes = "none" if setting == "clean" else f"{setting.replace('-', '–')} %"
            for region, name in REGIONS.items():
                if f"miou{region}" in scores:
                    values = (trivial[setting][f"miou{region}"], *(scores[k + region] for k in ("miou_raw", "miou")))
                    lines.append(f"| {holes} | {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    table = "mIoU over the classes that are there or are answered:\n\n" + "\n".join(lines)
    return "\n\n".join(["## Meaning alone", findings.strip(), table, f"{reports[0]['machine']}."])


def rounded(value: Any) -> Any:
    """``value`` with six digits of each number that is not whole: thousands of scores are kept in the repository."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def main() -> None:
    """Copy the reports and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="of comparisons; those copied before stay on the page")
    parser.add_argument("--meaning", type=Path, nargs="+", default=[], help="scores of the protocol segmentation")
    chosen = parser.parse_args()
    if chosen.meaning:
        shutil.rmtree(SCENES, ignore_errors=True)
        SCENES.mkdir(parents=True)
    for file in chosen.meaning:
        report = rounded(json.loads(file.read_text(encoding="utf-8")))
        (SCENES / file.name).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for folder in chosen.folders:
        target = DOCS / "comparison" / folder.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in (file for pattern in KEPT for file in folder.glob(pattern)):
            shutil.copy(file, target / file.name)
        report = rounded(json.loads((folder / "report.json").read_text(encoding="utf-8")))
        text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
        (target / "report.json").write_text(text + "\n", encoding="utf-8")
    texts = yaml.safe_load((HERE / "findings.yaml").read_text(encoding="utf-8"))
    parts = ["# What does meaning add?", "*Generated by `python plugins/sair/studies/page.py`; do not edit by hand.*"]
    parts.append(texts["opening"])
    if TWINS.is_file():
        parts.append(twins(json.loads(TWINS.read_text(encoding="utf-8")), texts["twins"]))
    parts.append(texts["older"])
    studies = [name for name in texts["studies"] if (DOCS / "comparison" / name / "report.json").is_file()]
    for name in studies:
        report = json.loads((DOCS / "comparison" / name / "report.json").read_text(encoding="utf-8"))
        parts.append(section(name, report, texts["studies"][name]))
    scored = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(SCENES.glob("*.json"))]
    if scored:
        parts.append(meaning(scored, texts["meaning"]))
    parts.append(texts["closing"])
    (DOCS / "comparison.md").write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
