"""What a create request names its model by, and the references on QuickRouter's pages."""

from __future__ import annotations

import re

from airflow_provider_quickrouter.api.errors import InvalidInputError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_MODEL = rf"{_NAME}/{_NAME}"
_VERSION = rf"(?:{_NAME}/{_NAME}(?::[0-9a-f]{{64}})?|[0-9a-f]{{64}})"

STABLE_DIFFUSION = (
    "stability-ai/stable-diffusion:ac732df83cea7fff18b8472768c88ad041fa750ff7682a21affe81863cbe77e4"
)
SDXL = "stability-ai/sdxl:7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
SD_IMG2IMG = (
    "stability-ai/stable-diffusion-img2img:15a3689ee13b0d2616e98820eca31d4c3abcd36672df6afce5cb6feb1d66087d"
)
SD_INPAINTING = (
    "stability-ai/stable-diffusion-inpainting:"
    "95b7223104132402a9ae91cc677285bc5eb997834bd2349fa486f53910fd68b3"
)
SD_ANIMATION = (
    "andreasjansson/stable-diffusion-animation:"
    "ca1f5e306e5721e19c473e0d094e6603f0456fe759c10715fcd6c1b79242d4a5"
)
FLUX_KONTEXT_MAX = "black-forest-labs/flux-kontext-max"
FLUX_KONTEXT_PRO = "black-forest-labs/flux-kontext-pro"
MULTI_IMAGE_KONTEXT_MAX = "flux-kontext-apps/multi-image-kontext-max"
FLUX_FILL_PRO = "black-forest-labs/flux-fill-pro"
FLUX_FILL_DEV = "black-forest-labs/flux-fill-dev"

# Models that the API calls by name only; the others have versions.
BY_NAME = (FLUX_KONTEXT_MAX, FLUX_KONTEXT_PRO, MULTI_IMAGE_KONTEXT_MAX, FLUX_FILL_PRO, FLUX_FILL_DEV)
DEPLOYMENTS = "deployments/"  # the path of Replicate's deployments, and the start of their references
LISTED = (STABLE_DIFFUSION, SDXL, SD_IMG2IMG, SD_INPAINTING, SD_ANIMATION, *BY_NAME)


def near_miss(reference: str) -> str | None:
    """Return the listed name that differs from this one in a single character, if there is one."""
    name = reference.partition(":")[0]
    listed = {each.partition(":")[0] for each in LISTED}
    if name in listed:
        return None
    import difflib  # only now: DAG files that need no search are parsed without it

    for other in sorted(listed):
        shorter = min(len(name), len(other))
        alike = difflib.SequenceMatcher(None, name, other).ratio() >= 1 - 1 / shorter
        if alike and abs(len(name) - len(other)) <= 1:
            return other
    return None


def check_reference(
    *, version: str | None = None, model: str | None = None, deployment: str | None = None
) -> str:
    """Return the one reference that was given, if it is well formed; of a deployment its path."""
    references = {"version": version, "model": model, "deployment": deployment}
    given = [(name, value) for name, value in references.items() if value]
    if len(given) != 1:
        raise InvalidInputError(
            "Give exactly one of version= (owner/name:<64 hex>, owner/name or <64 hex>), "
            "model= (owner/name) and deployment= (owner/name)."
        )
    ((name, value),) = given
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: must be a string, got {value!r}.")
    if name != "deployment" and (near := near_miss(value)):
        raise InvalidInputError(f"{name}: {value!r} is unknown; did you mean {near!r}?")
    if name == "version":
        _check_version(value)
    elif not re.fullmatch(_MODEL, value):
        is_version = re.fullmatch(_VERSION, value)
        remedy = "is a version; use version=." if is_version else "is not owner/name."
        raise InvalidInputError(f"{name}: {value!r} {remedy}")
    return f"{DEPLOYMENTS}{value}" if name == "deployment" else value


def _check_version(version: str) -> None:
    if version in BY_NAME:
        raise InvalidInputError(f"version: {version!r} is called by its name; use model=.")
    if not re.fullmatch(_VERSION, version):
        # A version id that was copied in part is common: QuickRouter's own page has one.
        count = len(version.rpartition(":")[2])
        fault = "is not owner/name, owner/name:<64 hex digits> or <64 hex digits>."
        if re.search(r"(^|:)[0-9a-fA-F]{32,}$", version):
            fault = f"has a version id of {count} characters; it needs 64 lower-case hex digits."
        raise InvalidInputError(f"version: {version!r} {fault}")
