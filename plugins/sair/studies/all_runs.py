"""All runs of studies on one GPU, several at a time: those that are not there yet, seed by seed, as far as time goes.

PYTHONPATH=. python plugins/sair/studies/all_runs.py STUDY... --examples POOL --test TEST/test.npz --jobs 4
PYTHONPATH=. python plugins/sair/studies/all_runs.py STUDY... --examples TRAIN --test TEST --seconds 500 -- --bf16

Each is a process of ``resident.py``, which says what the examples and the test are; options after ``--`` are passed on
to it. What a run says stands in its folder. Thereafter ``implicitkit compare STUDY --report-only`` writes the report.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from implicitkit.comparison.plan import PlannedRun, make_plan
from implicitkit.config import validate
from implicitkit.config.comparison import CompareConfig, load_comparison

Job = tuple[Path, PlannedRun]


def missing(studies: Sequence[Path]) -> list[Job]:
    """The runs without scores, seed by seed, so that early on there is something of each method."""
    jobs: list[Job] = []
    for file in studies:
        plan = make_plan(validate(CompareConfig, load_comparison(file), str(file)))
        methods = [run for run in plan.ordered() if run.label in plan.config.methods]
        jobs += [(file, run) for run in methods if not (run.folder / "scores.json").is_file()]
    return sorted(jobs, key=lambda job: job[1].seed)


def main() -> int:
    """Train and score what is missing; the number of runs that failed."""
    given = sys.argv[1:]
    given, passed_on = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=4, help="processes that share the GPU")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no run begins")
    arguments = parser.parse_args(given)
    start = time.monotonic()

    def train(job: Job) -> bool:
        file, run = job
        if time.monotonic() - start > arguments.seconds:
            print(f"{file.stem}, {run.name}: left for another time", flush=True)
            return True
        command = [sys.executable, str(Path(__file__).with_name("resident.py")), str(file), str(arguments.examples)]
        command += ["--method", run.label, "--seed", str(run.seed), "--test", str(arguments.test), *passed_on]
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "output.txt").open("w", encoding="utf-8") as output:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        said = "" if code == 0 else f", exit code {code}, see {run.folder / 'output.txt'}"
        print(f"{file.stem}, {run.name}: {time.monotonic() - start:.0f} s{said}", flush=True)
        return code == 0

    with ThreadPoolExecutor(arguments.jobs) as pool:
        return list(pool.map(train, missing(arguments.studies))).count(False)


if __name__ == "__main__":
    sys.exit(main() > 0)
