"""Write docs/reference/model-fields.md from ``api.models``: ``python -m tests.docs.model_docs``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_quickrouter.api import models
from airflow_provider_quickrouter.api.model_inputs import INPUTS, IS_FILE, ModelInput
from tests.docs.blocks import DOCS

PAGE = DOCS / "reference" / "model-fields.md"
HEAD = """\
# Models and their inputs

This page lists the models that QuickRouter documents, with the fields of their inputs.
`python -m tests.docs.model_docs` generates the page from `api.models`.

If you do not set a field, it is not sent, and the server uses the default. All models have the field
`seed`, an integer: the same input with the same seed creates the same picture.
[Inputs](../guides/inputs.md) describes how to set inputs and files.

"""
BY_NAME = ("black-forest-labs/", "flux-kontext-apps/")


def constants() -> dict[str, str]:
    """``{reference: name of its constant}``."""
    return {value: name for name, value in vars(models).items() if value in list(INPUTS)}


def range_of(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    parts = [
        f"{text} {schema[key]:g}"
        for key, text in (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "to"))
        if key in schema
    ]
    parts += [f"a multiple of {schema['multipleOf']}"] if "multipleOf" in schema else []
    return " ".join(parts).replace(" a multiple", ", a multiple")


def kind_of(name: str, kind: type[ModelInput], schema: dict[str, Any]) -> str:
    file = IS_FILE in kind.model_fields[name].metadata
    return "file" if file else str(schema["type"])


def default_of(name: str, schema: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "**required**"
    return "" if schema["default"] == "" else f"`{schema['default']}`".replace("`False`", "`false`")


def rows(kind: type[ModelInput]) -> Iterator[str]:
    schema = kind.model_json_schema()
    for name, field in schema["properties"].items():
        if name != "seed":
            cells = (
                f"`{name}`",
                kind_of(name, kind, field),
                default_of(name, field, schema.get("required", [])).replace("True", "true"),
                range_of(field),
            )
            yield f"| {' | '.join(cells)} |\n"


def section(reference: str, kind: type[ModelInput]) -> str:
    name = constants()[reference]
    argument = "model" if reference.startswith(BY_NAME) else "version"
    own, _, version = reference.partition(":")
    told = f"`{own}`" + (f", version `{version[:12]}...`" if version else "")
    summary = (kind.__doc__ or "").splitlines()[0].replace("``", "`")
    head = f"## {own.rpartition('/')[2]}\n\n{summary}\n\n"
    use = f"`{argument}={name}` is {told}; input class `{kind.__name__}`.\n\n"
    table = "| Field | Type | Default | Range |\n|---|---|---|---|\n"
    return head + use + table + "".join(rows(kind))


def page() -> str:
    return HEAD + "\n".join(section(*item) for item in INPUTS.items())


if __name__ == "__main__":
    PAGE.write_text(page())
