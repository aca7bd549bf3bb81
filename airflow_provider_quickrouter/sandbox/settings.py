"""How a sandbox behaves, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow_provider_quickrouter.sandbox.faults import NONE, Faults


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sandbox behaves; durations are seconds.

    ``chaos`` is the seed of the faults that nobody asked for one by one; ``state`` is the file that
    outlives the process. ``creates_per_minute`` and ``calls_per_minute`` (all but creates) are the
    limits of the API; ``None`` means that there is none.
    """

    api_key: str | None = None
    starting: float = 0.5
    processing: float = 3.0
    faults: Faults = NONE
    chaos: int | None = None
    state: Path | None = None
    creates_per_minute: float | None = None
    calls_per_minute: float | None = None
