"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .previews import before_and_after as before_and_after, preview as preview, shown_size as shown_size
from .session import Limits as Limits, Session as Session
from .widgets import answering as answering, picture_file as picture_file, reporting as reporting
