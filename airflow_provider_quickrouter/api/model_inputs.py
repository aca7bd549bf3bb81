"""The inputs of the models on QuickRouter's pages: fields, ranges, and what breaks a rule.

Only what the author sets is sent, since the server has its own defaults; those named here,
like the ranges, are the ones of QuickRouter's page of each model.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airflow_provider_quickrouter.api.attachments import is_location, location_of
from airflow_provider_quickrouter.api.errors import InvalidInputError
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


def _text(value: Any) -> Any:
    location = location_of(value)
    return value if location is None else location


def _one_file(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > 1:
        raise ValueError(f"{len(value)} files: choose one")
    return _text(value)


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty, but this model requires it")
    return value


def _file(value: str) -> str:
    if not (value.startswith(("https://", "http://", "data:")) or is_location(value)):
        raise ValueError(
            "a file is given as an https URL, a data: URI (256 kB at most) or its path in a "
            "storage (s3://conn_id@bucket/key, file:///tmp/cat.png)"
        )
    return value


IS_FILE = AfterValidator(_file)  # marks the fields that take a file

File = Annotated[str, BeforeValidator(_one_file), IS_FILE]
RequiredText = Annotated[str, AfterValidator(_not_blank)]
Pixels = Annotated[int, Field(gt=0)]
Pixels64 = Annotated[int, Field(gt=0, multiple_of=64)]
Steps = Annotated[int, Field(ge=1, le=500)]
UpTo4 = Annotated[int, Field(ge=1, le=4)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class ModelInput(BaseModel):
    """Base of the inputs. A field that is not set is not sent; ``seed`` makes a run repeatable."""

    # Native rendering makes a number of the prompt "1984".
    model_config = ConfigDict(extra="allow", protected_namespaces=(), coerce_numbers_to_str=True)

    seed: int = 0


class StableDiffusionInput(ModelInput):
    """Text to image. Server's defaults: 768 x 768, 50 steps, guidance 7.5."""

    prompt: str = ""
    negative_prompt: str = ""
    width: Pixels64 = 768
    height: Pixels64 = 768
    guidance_scale: float = Field(7.5, ge=1, le=20)
    num_inference_steps: Steps = 50
    scheduler: str = ""
    num_outputs: UpTo4 = 1


class SDXLInput(ModelInput):
    """Text to image, larger. Server's defaults: 1024 x 1024, 50 steps, guidance 7.5."""

    prompt: str = ""
    negative_prompt: str = ""
    width: Pixels = 1024
    height: Pixels = 1024
    refine: str = "no_refiner"
    scheduler: str = "K_EULER"
    lora_scale: float = 0.6
    num_outputs: UpTo4 = 1
    guidance_scale: float = Field(7.5, ge=1, le=50)
    apply_watermark: bool = True
    high_noise_frac: Fraction = 0.8
    prompt_strength: Fraction = 0.8
    num_inference_steps: Steps = 50


class SDImg2ImgInput(ModelInput):
    """Image to image; ``image`` is required. Server's default: 25 steps."""

    image: File
    prompt: str = ""
    scheduler: str = ""
    num_outputs: int = Field(1, ge=1, le=8)
    guidance_scale: float = Field(7.5, ge=1, le=20)
    prompt_strength: float = 0.8
    num_inference_steps: Steps = 25


class SDInpaintingInput(ModelInput):
    """Fill the masked part of an image; ``image`` and ``mask`` are required."""

    image: File
    mask: File
    prompt: str = ""
    width: Pixels64 = 512
    height: Pixels64 = 512
    scheduler: str = "DPMSolverMultistep"
    num_outputs: UpTo4 = 1
    guidance_scale: float = Field(7.5, ge=1, le=20)
    num_inference_steps: Steps = 50


class SDAnimationInput(ModelInput):
    """Animation from one prompt to another. Server's defaults: 512 x 512, 10 frames, gif."""

    prompt_start: str = ""
    prompt_end: str = ""
    width: Pixels = 512
    height: Pixels = 512
    gif_ping_pong: bool = False
    output_format: str = "gif"
    guidance_scale: float = 7.5
    prompt_strength: float = 0.8
    film_interpolation: bool = True
    intermediate_output: bool = False
    num_inference_steps: int = Field(50, ge=1)
    num_animation_frames: int = Field(10, ge=1)
    gif_frames_per_second: int = Field(20, ge=1)
    num_interpolation_steps: int = Field(5, ge=1)


class FluxKontextInput(ModelInput):
    """Edit an image by words (flux-kontext-max, flux-kontext-pro); ``prompt`` is required."""

    prompt: RequiredText
    input_image: File = ""
    aspect_ratio: str = "match_input_image"
    output_format: Literal["jpg", "png"] = "png"
    safety_tolerance: int = Field(2, ge=0, le=6)
    prompt_upsampling: bool = False


class MultiImageKontextInput(ModelInput):
    """Combine two images by words; ``prompt`` and both images are required."""

    prompt: RequiredText
    input_image_1: File
    input_image_2: File
    aspect_ratio: str = "match_input_image"
    output_format: Literal["jpg", "png"] = "png"
    safety_tolerance: int = Field(2, ge=0, le=2)
    prompt_upsampling: bool = False


class FluxFillProInput(ModelInput):
    """Fill or widen an image; ``image`` and ``prompt`` are required."""

    image: File
    prompt: RequiredText
    mask: File = ""
    steps: int = Field(50, ge=15, le=50)
    guidance: float = Field(60, ge=1.5, le=100)
    outpaint: str = "None"
    output_format: str = "jpg"
    safety_tolerance: int = Field(2, ge=1, le=6)
    prompt_upsampling: bool = False


class FluxFillDevInput(ModelInput):
    """Fill an image with open weights; ``image`` and ``prompt`` are required; 28 to 50 steps."""

    image: File
    prompt: RequiredText
    mask: File = ""
    guidance: float = Field(30, ge=0, le=100)
    lora_scale: float = Field(1, ge=-1, le=3)
    megapixels: str = "1"
    num_outputs: UpTo4 = 1
    output_format: str = "webp"
    output_quality: int = Field(80, ge=0, le=100)
    num_inference_steps: int = Field(28, ge=1)


# The input of each known reference.
INPUTS: Mapping[str, type[ModelInput]] = {
    STABLE_DIFFUSION: StableDiffusionInput,
    SDXL: SDXLInput,
    SD_IMG2IMG: SDImg2ImgInput,
    SD_INPAINTING: SDInpaintingInput,
    SD_ANIMATION: SDAnimationInput,
    FLUX_KONTEXT_MAX: FluxKontextInput,
    FLUX_KONTEXT_PRO: FluxKontextInput,
    MULTI_IMAGE_KONTEXT_MAX: MultiImageKontextInput,
    FLUX_FILL_PRO: FluxFillProInput,
    FLUX_FILL_DEV: FluxFillDevInput,
}

_BY_PART = {part: kind for name, kind in INPUTS.items() for part in (name, *name.split(":"))}


def file_fields(reference: str) -> dict[str, bool]:
    """Return, for each field on a known model's page, whether it takes a file."""
    kind = _BY_PART.get(reference)
    fields = kind.model_fields if kind else {}
    return {name: IS_FILE in field.metadata for name, field in fields.items()}


def obey(reference: str, values: dict[str, Any], ignore: Collection[str]) -> dict[str, Any]:
    """Return the values as a known model wants them; those of an unknown model as they are.

    :param ignore: fields not to check.
    :raises InvalidInputError: names field, value and rule.
    """
    kind = _BY_PART.get(reference)
    return _obey(kind, values, ignore) if kind else values


def _obey(kind: type[ModelInput], values: dict[str, Any], ignore: Collection[str]) -> dict[str, Any]:
    for name in set(values) - set(kind.model_fields) - set(ignore):
        if near := difflib.get_close_matches(name, kind.model_fields, n=1, cutoff=0.8):
            raise InvalidInputError(f"input.{name}: is unknown; did you mean {near[0]!r}?")
    try:
        return kind.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        faults = [fault for fault in error.errors() if fault["loc"][0] not in ignore]
    if faults:
        raise InvalidInputError("; ".join(_sentence(fault) for fault in faults))
    return values


def _sentence(fault: Any) -> str:
    """One fault as ``input.width: 700: Input should be a multiple of 64``."""
    field, rule = fault["loc"][0], fault["msg"].removeprefix("Value error, ")
    value = "" if fault["type"] == "missing" else f"{fault['input']!r:.100}: "
    return f"input.{field}: {value}{rule}."
