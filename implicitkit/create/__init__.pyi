"""What creates, loads, lists and registers; the modules below have one room for each."""

from .parts import (
    create_encoder as create_encoder,
    create_decoder as create_decoder,
    create_neck as create_neck,
    create_degradation as create_degradation,
    create_loss as create_loss,
    create_metric as create_metric,
    create_protocol as create_protocol,
    Spec as Spec,
)
from .models import (
    create_model as create_model,
    build_model as build_model,
    load_model as load_model,
    load_file as load_file,
    load_pretrained as load_pretrained,
    load_encoder as load_encoder,
    build_checkpoint as build_checkpoint,
    FILE_SUFFIXES as FILE_SUFFIXES,
)
from .names import (
    list_encoders as list_encoders,
    list_decoders as list_decoders,
    list_necks as list_necks,
    list_degradations as list_degradations,
    list_losses as list_losses,
    list_metrics as list_metrics,
    list_protocols as list_protocols,
    list_models as list_models,
    register_encoder as register_encoder,
    register_decoder as register_decoder,
    register_neck as register_neck,
    register_degradation as register_degradation,
    register_model as register_model,
    register_loss as register_loss,
    register_metric as register_metric,
    register_protocol as register_protocol,
    register_plugin as register_plugin,
    unregister_plugin as unregister_plugin,
)
