"""The models on QuickRouter's pages: their references, and the classes of their inputs.

A reference goes to ``version=`` or ``model=``. The classes, from ``api.model_inputs``, are imported
when one is used: a DAG file that names only a reference does not load pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.references import (
    FLUX_FILL_DEV,
    FLUX_FILL_PRO,
    FLUX_KONTEXT_MAX,
    FLUX_KONTEXT_PRO,
    MULTI_IMAGE_KONTEXT_MAX,
    SD_ANIMATION,
    SD_IMG2IMG,
    SD_INPAINTING,
    SDXL,
    STABLE_DIFFUSION,
)

if TYPE_CHECKING:
    from airflow_provider_quickrouter.api.model_inputs import (
        INPUTS,
        FluxFillDevInput,
        FluxFillProInput,
        FluxKontextInput,
        ModelInput,
        MultiImageKontextInput,
        SDAnimationInput,
        SDImg2ImgInput,
        SDInpaintingInput,
        SDXLInput,
        StableDiffusionInput,
    )

__all__ = [
    "FLUX_FILL_DEV",
    "FLUX_FILL_PRO",
    "FLUX_KONTEXT_MAX",
    "FLUX_KONTEXT_PRO",
    "INPUTS",
    "MULTI_IMAGE_KONTEXT_MAX",
    "SDXL",
    "SD_ANIMATION",
    "SD_IMG2IMG",
    "SD_INPAINTING",
    "STABLE_DIFFUSION",
    "FluxFillDevInput",
    "FluxFillProInput",
    "FluxKontextInput",
    "ModelInput",
    "MultiImageKontextInput",
    "SDAnimationInput",
    "SDImg2ImgInput",
    "SDInpaintingInput",
    "SDXLInput",
    "StableDiffusionInput",
]


def __getattr__(name: str) -> Any:
    """Import an input's class upon its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_quickrouter.api import model_inputs

    return getattr(model_inputs, name)
