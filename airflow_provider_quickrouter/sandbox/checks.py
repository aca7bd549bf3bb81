"""What a create must look like: its root keys, its version, its headers and a few of its inputs.

The rules for inputs are few on purpose. They are here so that a client meets a real refusal, not
to describe the models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROOTS = frozenset({"input", "webhook", "webhook_events_filter", "stream"})
MIN_SIDE, MAX_SIDE = 8, 2048
WAIT_SECONDS = range(1, 61)
MIN_CANCEL_AFTER = 5.0

NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
VERSION = re.compile(
    rf"(?:(?P<model>{NAME})(?::(?P<hash>[0-9a-f]{{64}}))?|(?P<lone>[0-9a-f]{{64}}))"
)
MODEL = re.compile(NAME)
PREFER_WAIT = re.compile(r"\bwait(?:\s*=\s*(\d+))?\b")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``field`` is a path such as ``input.width``."""

    field: str
    kind: str
    description: str

    def as_json(self) -> dict[str, str]:
        """Return it as ``invalid_fields`` lists it."""
        return {"type": self.kind, "field": self.field, "description": self.description}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for one input: ``good`` decides, ``wording`` completes "must be ..."."""

    name: str
    wording: str
    good: Callable[[Any], bool]
    required: bool = False

    def check(self, given: dict[str, Any]) -> Problem | None:
        """Return what is wrong with this input, if anything."""
        path = f"input.{self.name}"
        if self.name not in given:
            missing = Problem(path, "required", f"{self.name} is required")
            return missing if self.required else None
        if self.good(given[self.name]):
            return None
        return Problem(path, "invalid", f"{self.name} must be {self.wording}")


def _number(name: str, low: float, high: float) -> Rule:
    return Rule(
        name, f"a number from {low:g} to {high:g}", lambda v: _is_number(v) and low <= v <= high
    )


def _whole(name: str, low: int, high: int, multiple: int = 1) -> Rule:
    wording = f"an integer from {low} to {high}" + (f", a multiple of {multiple}" * (multiple > 1))
    return Rule(name, wording, lambda v: type(v) is int and low <= v <= high and v % multiple == 0)


def _text(name: str) -> Rule:
    return Rule(name, "a text", lambda v: isinstance(v, str) and v != "", required=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


FOR_ALL = (
    _whole("width", MIN_SIDE, MAX_SIDE),
    _whole("height", MIN_SIDE, MAX_SIDE),
    _whole("num_outputs", 1, 8),
)
BY_MODEL: dict[str, tuple[Rule, ...]] = {
    "stability-ai/stable-diffusion": (
        _whole("width", 64, MAX_SIDE, multiple=64),
        _whole("height", 64, MAX_SIDE, multiple=64),
        _number("guidance_scale", 1, 20),
        _whole("num_inference_steps", 1, 500),
        _whole("num_outputs", 1, 4),
    ),
    "stability-ai/sdxl": (_number("guidance_scale", 1, 50), _whole("num_inference_steps", 1, 500)),
    "stability-ai/stable-diffusion-img2img": (_text("image"),),
    "stability-ai/stable-diffusion-inpainting": (_text("image"), _text("mask")),
    "black-forest-labs/flux-kontext-max": (_text("prompt"), _whole("safety_tolerance", 0, 6)),
    "black-forest-labs/flux-kontext-pro": (_text("prompt"), _whole("safety_tolerance", 0, 6)),
    "black-forest-labs/flux-fill-pro": (_text("prompt"), _text("image")),
}
"""The rules that show each kind of refusal; other models take anything."""


def check_root(body: dict[str, Any], *, on_model_route: bool) -> list[Problem]:
    """Return what is wrong with a create's root keys and version."""
    allowed = ROOTS if on_model_route else ROOTS | {"version"}
    problems = [
        Problem(key, "additional_property_not_allowed", f"Additional property {key} is not allowed")
        for key in body
        if key not in allowed
    ]
    if not on_model_route:
        problems += _check_version(body)
    if not isinstance(body.get("input"), dict):
        problems.append(Problem("input", "required", "input is required and must be an object"))
    return problems


def check_input(model: str, given: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with the inputs of a model."""
    nulls = [name for name, value in given.items() if value is None]
    if nulls:
        return [Problem(f"input.{n}", "invalid_type", f"{n} must not be null") for n in nulls]
    found = (rule.check(given) for rule in BY_MODEL.get(model, ()) + FOR_ALL)
    return list({p.field: p for p in found if p is not None}.values())


def parse_wait(prefer: str | None) -> float | None:
    """Return the seconds of ``Prefer: wait=N`` (60 for a bare ``wait``), ``None`` without it.

    :raises ValueError: when N is not from 1 to 60.
    """
    found = PREFER_WAIT.search(prefer or "")
    if found is None:
        return None
    seconds = int(found[1] or WAIT_SECONDS[-1])
    if seconds not in WAIT_SECONDS:
        raise ValueError("Prefer: wait must be from 1 to 60 seconds")
    return float(seconds)


def parse_cancel_after(text: str | None) -> float | None:
    """Return the seconds of ``Cancel-After`` (``90s``, ``2m``, ``1h30m``), ``None`` without it.

    :raises ValueError: when it is not a duration, or less than 5 s.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    total = float(hours * 3600 + minutes * 60 + seconds)
    if total < MIN_CANCEL_AFTER:
        raise ValueError("Cancel-After must be a duration such as 90s or 1h30m, at least 5s")
    return total


def _check_version(body: dict[str, Any]) -> list[Problem]:
    version = body.get("version")
    if version is None:
        return [Problem("version", "required", "version is required")]
    if isinstance(version, str) and VERSION.fullmatch(version):
        return []
    wording = "must be owner/name, owner/name:<64 hex> or <64 hex>"
    return [Problem("version", "invalid_version", f"version {wording}")]
