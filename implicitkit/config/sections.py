"""The sections that configurations are made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from implicitkit.config.documents import Places
from implicitkit.errors import UserError
from implicitkit.files import ADDRESS, home

NUMBER, TRUTH = re.compile(r"\b(int|float)\b"), re.compile(r"\b(bool|True|False|Any)\b")
VARIABLE = re.compile(r"\$(\w|\{)")


class Strict(BaseModel):
    """A section of a configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True)
    _places: Places = PrivateAttr(default_factory=Places)

    @property
    def places(self) -> Places:
        """Where the entries stand in the file that they were read from: path -> ``line 7``."""
        return self._places

    @places.setter
    def places(self, places: Places) -> None:
        self._places = places

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` and ``on`` as true, which Python counts as 1."""
        allowed = str(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and NUMBER.search(allowed) and not TRUTH.search(allowed):
            raise ValueError("should be a number, not yes or no, true or false")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _home(cls, value: Any) -> Any:
        """``~`` is the user's home folder, as in a shell; variables are not read."""
        if isinstance(value, list):
            return [cls._home(item) for item in value]
        if isinstance(value, Path) and VARIABLE.search(str(value)):
            raise ValueError("variables such as $HOME are not read in a path; write it out, or ~ for the home folder")
        if isinstance(value, Path) and ADDRESS.match(str(value)):
            raise ValueError("an address is no path; name a folder or file of this machine")
        try:
            return home(value) if isinstance(value, Path) else value
        except UserError as error:
            raise ValueError(str(error)) from None


class PartSpec(BaseModel):
    """An encoder, decoder or degradation: its name and its arguments."""

    model_config = ConfigDict(extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def as_dict(self) -> dict[str, Any]:
        """``{"name": ..., **arguments}``."""
        return self.model_dump()


class LossSpec(PartSpec):
    """One term of the loss: its name, its weight in the sum, and its arguments."""

    weight: float = Field(1.0, description="weight in the sum")
