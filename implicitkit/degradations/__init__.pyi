"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .base import Step as Step, seeded as seeded
from .settings import KindChoice as KindChoice
