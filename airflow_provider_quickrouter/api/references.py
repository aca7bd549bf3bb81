"""The references of the models on QuickRouter's pages, for ``version=`` or ``model=``."""

from __future__ import annotations

import difflib

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
LISTED = (STABLE_DIFFUSION, SDXL, SD_IMG2IMG, SD_INPAINTING, SD_ANIMATION, *BY_NAME)


def near_miss(reference: str) -> str | None:
    """Return the listed name that differs from this one in a single character, if there is one."""
    name = reference.partition(":")[0]
    listed = {each.partition(":")[0] for each in LISTED}
    for other in sorted(listed - {name}) if name not in listed else ():
        shorter = min(len(name), len(other))
        alike = difflib.SequenceMatcher(None, name, other).ratio() >= 1 - 1 / shorter
        if alike and abs(len(name) - len(other)) <= 1:
            return other
    return None
