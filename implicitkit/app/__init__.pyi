"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .previews import before_and_after as before_and_after, preview as preview
from .session import Limits as Limits, Session as Session
from .widgets import SOURCES as SOURCES, PictureFile as PictureFile, answering as answering, reporting as reporting
