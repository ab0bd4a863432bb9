"""``docs/comparison.md`` from the reports of the studies.

    python plugins/sair/studies/page.py runs/faces_inpainting [...] [--meaning runs/scenes_sir/clean.json ...]

Each folder is what ``implicitkit compare`` wrote. Its report, figures and numbers go to ``docs/comparison/NAME``;
the page shows their main tables beside what ``findings.yaml`` says was learned. A file of ``--meaning`` is what
``implicitkit evaluate --protocol segmentation`` wrote, ``first.jpg`` is of ``first_grid.py``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from implicitkit.comparison.report import table

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
KEPT = ("report.md", "*.png")
SCENES = DOCS / "comparison" / "scenes"
REGIONS = {"": "whole picture", "_hole": "hole"}
DIGITS = 6  # of a stored score


def section(name: str, report: Mapping[str, Any], findings: str) -> str:
    """A study in short: the first score of each table and LPIPS, the gains over each reference, figures, costs."""
    parts = [f"## {report['title']}", report["notes"], findings]
    for evaluation in report["evaluations"].values():
        tables = [metrics for metrics in evaluation["tables"].values() if metrics]
        shown = [m for metrics in tables for k, m in enumerate(metrics) if k == 0 or m.startswith("lpips")]
        parts += [table("scores", evaluation, metric) for metric in shown]
        parts += [table("differences", evaluation, r, tables[-1][0]) for r in evaluation["differences"]]
        if evaluation["grid"]:
            parts.append(f"![pictures](comparison/{name}/{evaluation['grid']['file']})")
        parts.append(table("costs", report["methods"], evaluation))
    if report["curves"]:
        parts.append(f"![training curves](comparison/{name}/{report['curves']})")
    parts.append(f"{report['machine']}. [The whole report](comparison/{name}/report.md), with every table, the budget, "
                 f"the rule by which pictures were chosen, and how to run it again.")  # fmt: skip
    return "\n\n".join(part.strip() for part in parts if part.strip())


def beside_the_paper(paper: Mapping[str, str], report: Mapping[str, Any]) -> str:
    """The paper's scores of whole pictures, and those of the same two methods here."""
    (evaluation,) = report["evaluations"].values()
    settings = list(evaluation["summary"]["SAIR"])
    lines = [
        "| " + " | ".join(["PSNR of the whole picture, dB", *(f"{s.replace('-', '–')} %" for s in settings)]) + " |"
    ]
    lines += ["| --- " * (len(settings) + 1) + "|", *(f"| {name} | {row} |" for name, row in paper["rows"].items())]
    for method in ("biharmonic", "LIIF", "SAIR"):
        means = [evaluation["summary"][method][s]["psnr"]["mean"] for s in settings]
        lines.append(f"| here, faces of 88 pixels: {method} | " + " | ".join(f"{m:.2f}" for m in means) + " |")
    return "\n\n".join(["## The paper's table, and ours", "\n".join(lines), paper["text"].strip()])


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
    found = {}
    for name in texts["studies"]:
        if (file := DOCS / "comparison" / name / "report.json").is_file():
            found[name] = json.loads(file.read_text(encoding="utf-8"))
    studies = [section(name, report, texts["studies"][name]) for name, report in found.items()]
    parts += [studies[0], beside_the_paper(texts["paper"], found["faces_inpainting"]), *studies[1:]]
    scored = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(SCENES.glob("*.json"))]
    if scored:
        parts.append(meaning(scored, texts["meaning"]))
    parts.append(texts["closing"])
    (DOCS / "comparison.md").write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
