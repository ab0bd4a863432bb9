"""The public names: what is imported here is promised. A new one needs one line here."""

from .comparison.results import Comparison as Comparison, compare as compare
from .create import (
    create_decoder as create_decoder,
    create_degradation as create_degradation,
    create_encoder as create_encoder,
    create_loss as create_loss,
    create_metric as create_metric,
    create_model as create_model,
    create_neck as create_neck,
    create_protocol as create_protocol,
    create_dataset as create_dataset,
    create_schedule as create_schedule,
    create_callback as create_callback,
    list_decoders as list_decoders,
    list_degradations as list_degradations,
    list_encoders as list_encoders,
    list_losses as list_losses,
    list_metrics as list_metrics,
    list_models as list_models,
    list_necks as list_necks,
    list_protocols as list_protocols,
    list_datasets as list_datasets,
    list_optimisers as list_optimisers,
    list_schedules as list_schedules,
    list_callbacks as list_callbacks,
    list_weights as list_weights,
    load_model as load_model,
    register_decoder as register_decoder,
    register_degradation as register_degradation,
    register_encoder as register_encoder,
    register_loss as register_loss,
    register_metric as register_metric,
    register_model as register_model,
    register_neck as register_neck,
    register_plugin as register_plugin,
    register_protocol as register_protocol,
    register_dataset as register_dataset,
    register_optimiser as register_optimiser,
    register_schedule as register_schedule,
    register_callback as register_callback,
    register_weights as register_weights,
    unregister_plugin as unregister_plugin,
)
from .decoders.base import Decoder as Decoder, Question as Question
from .decoders.local_ensemble import LocalEnsembleDecoder as LocalEnsembleDecoder
from .datasets.base import Dataset as Dataset
from .degradations.base import Degradation as Degradation, Degraded as Degraded
from .encoders.base import Encoder as Encoder, Features as Features
from .errors import (
    ArgumentError as ArgumentError,
    ConfigError as ConfigError,
    DataError as DataError,
    DuplicateNameError as DuplicateNameError,
    ImageError as ImageError,
    MissingPackageError as MissingPackageError,
    PluginError as PluginError,
    PluginWarning as PluginWarning,
    UnknownNameError as UnknownNameError,
    UserError as UserError,
    WeightsError as WeightsError,
)
from .evaluation.models import evaluate as evaluate
from .evaluation.protocol import Protocol as Protocol
from .field.field import Field as Field, Prediction as Prediction
from .hookspecs import hookimpl as hookimpl
from .images.io import read_image as read_image, read_metadata as read_metadata, write_image as write_image
from .images.metadata import ImageMetadata as ImageMetadata, ImageWarning as ImageWarning
from .metrics.base import Metric as Metric
from .model import ImplicitModel as ImplicitModel
from .necks.base import Neck as Neck
from .training.callbacks import Callback as Callback, TrainingState as TrainingState
from .training.optimisation.schedule import Schedule as Schedule
from .training.train import TrainingResult as TrainingResult, train as train
from .upscaling import upscale as upscale
from .weights.hub import push_to_hub as push_to_hub
from .version import __version__ as __version__
