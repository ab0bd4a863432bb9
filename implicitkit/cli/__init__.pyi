"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .batch import run_each as run_each
from .inputs import (
    check_target as check_target,
    find_pictures as find_pictures,
    parse_size as parse_size,
    place_in as place_in,
    refuse_clashes as refuse_clashes,
)
from .pictures.options import Outputs as Outputs, with_outputs as with_outputs
from .pictures.sharing import this_share as this_share
from .progress import bar as bar
