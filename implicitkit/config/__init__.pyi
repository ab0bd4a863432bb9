"""What the other rooms and plugins import from this one."""

from .documents import (
    Document as Document,
    Places as Places,
    apply_settings as apply_settings,
    check_command as check_command,
    load_yaml as load_yaml,
    located as located,
    parse as parse,
)
from .sections import PartSpec as PartSpec, Strict as Strict
from .training import (
    DataConfig as DataConfig,
    ModelSpec as ModelSpec,
    OptimiserConfig as OptimiserConfig,
    TrainConfig as TrainConfig,
    json_schema as json_schema,
)
from .validation import naming as naming, validate as validate
