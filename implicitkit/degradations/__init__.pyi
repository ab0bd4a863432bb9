"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .base import Record as Record, Step as Step, seeded as seeded, uniform as uniform
from .settings import KindChoice as KindChoice
