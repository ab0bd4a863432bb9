"""``implicitkit config-schema``."""

from __future__ import annotations

import json


def test_config_schema_is_json(run) -> None:
    assert json.loads(run("config-schema").out)["title"] == "TrainConfig"
