from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter import links
from airflow_provider_quickrouter.links import QuickRouterPredictionLink


class Stored:
    """XComs of one task instance."""

    def __init__(self, manifest: dict[str, Any] | None) -> None:
        self.manifest = manifest

    def get_value(self, *, ti_key: object, key: str) -> dict[str, Any] | None:
        assert key == "prediction"
        return self.manifest


@pytest.mark.parametrize(("manifest", "url"), [({"url": "https://x/p1"}, "https://x/p1"), (None, "")])
def test_the_link_is_the_manifests_url_or_nothing(
    monkeypatch: pytest.MonkeyPatch, manifest: dict[str, Any] | None, url: str
) -> None:
    monkeypatch.setattr(links, "XCom", Stored(manifest))
    assert QuickRouterPredictionLink().get_link(None, ti_key=object()) == url
