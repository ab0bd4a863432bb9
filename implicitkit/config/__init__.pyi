"""What the other rooms and plugins import from this one."""

from .documents import (
    Document as Document,
    Places as Places,
    apply_settings as apply_settings,
    check_command as check_command,
    load_yaml as load_yaml,
    located as located,
    set_entry as set_entry,
    parse as parse,
)
from .inheritance import (
    as_training as as_training,
    load_training as load_training,
    merged as merged,
    with_base as with_base,
)
from .sections import PartSpec as PartSpec, Strict as Strict
from .training import (
    DataConfig as DataConfig,
    ModelSpec as ModelSpec,
    OptimiserConfig as OptimiserConfig,
    PART_SETTINGS as PART_SETTINGS,
    TrainConfig as TrainConfig,
    json_schema as json_schema,
)
from .validation import naming as naming, validate as validate
