"""pydantic's errors in our own words: one line that names the key and says what is allowed there."""

from __future__ import annotations

import types
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from opus_controller.model.document import Document, KeyPath, Node, Problems
from opus_controller.model.fields import Form, listed, suggestion
from opus_controller.model.units import shown

F = TypeVar("F", bound=Form)


def read_form(document: Document, form: type[F]) -> F:
    """The document's root as `form`. Raises ScenarioError for what is wrong: the first by line, and how many more."""
    try:
        return form.model_validate(document.plain())
    except ValidationError as error:
        problems = Problems(document)
        details = error.errors(include_url=False)
        for detail in details:
            if not _is_misspelt(detail, details):
                _explain(problems, detail, form)
        raise problems.error() from None


def _is_misspelt(missing: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a key is only missing because an unknown one beside it is its misspelling, which is told instead."""
    if missing["type"] != "missing":
        return False
    *parent, name = missing["loc"]
    unknown = [str(d["loc"][-1]) for d in details if d["type"] == "extra_forbidden" and [*d["loc"][:-1]] == parent]
    return any(suggestion(key, [str(name)]) for key in unknown)


def _explain(problems: Problems, detail: ErrorDetails, form: type[Form]) -> None:
    kind, keys = detail["type"], _keys(problems.document, detail["loc"])
    if kind == "missing":
        missing = str(detail["loc"][-1])
        model = _model_at(form, keys)
        needed = _required(model) if model else [missing]
        problems.add(keys, f"the key {missing!r} is missing; needed here: {', '.join(needed)}", of_key=True)
    elif kind == "extra_forbidden":
        known = _known(_model_at(form, keys[:-1]))
        problems.add(keys, f"unknown key; {suggestion(str(keys[-1]), known)}allowed: {listed(known, 30)}", of_key=True)
    elif kind == "no_value":
        problems.add((*keys, detail["ctx"]["key"]), str(detail["msg"]), of_key=True)
    elif kind == "value_error":
        problems.add(keys, str(detail["ctx"]["error"]))
    elif kind in ("model_type", "dict_type"):
        model = _model_at(form, keys)
        allowed = f"a mapping with the keys {listed(_known(model), 30)}" if model else "a mapping (key: value lines)"
        problems.add(keys, f"{shown(detail['input'])} where a mapping belongs; allowed: {allowed}")
    elif kind in ("list_type", "tuple_type"):
        problems.add(keys, f"{shown(detail['input'])} where a list belongs; allowed: a list (lines that begin with -)")
    elif kind in ("too_short", "too_long"):
        problems.add(keys, f"{_count(detail)}; allowed: {_bounds(detail)}")
    else:
        problems.add(keys, f"{shown(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}")


def _keys(document: Document, loc: tuple[int | str, ...]) -> KeyPath:
    """pydantic's location less what is not in the document (names of union members, a missing key at the end)."""
    keys: list[int | str] = []
    node: Node = document.root
    for part in loc:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[str(part)]
        elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            continue
        keys.append(part)
    return tuple(keys)


def _model_at(form: type[BaseModel], keys: KeyPath) -> type[BaseModel] | None:
    """The form that describes the mapping at `keys`, if one does."""
    annotation: Any = form
    for key in keys:
        if isinstance(key, str) and _model_in(annotation) is None:
            annotation = _argument(annotation, list) or annotation  # one thing that stands for a list of one
        model = _model_in(annotation)
        if isinstance(key, int):
            annotation = _argument(annotation, list)
        elif model is not None:
            fields = {info.alias or name: info for name, info in model.model_fields.items()}
            annotation = fields[key].annotation if key in fields else None
        else:
            annotation = _argument(annotation, dict)
        if annotation is None:
            return None
    return _model_in(annotation) or _model_in(_argument(annotation, list))


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(option for part in get_args(annotation) for option in _options(part))
    if hasattr(annotation, "__metadata__"):
        return _options(annotation.__origin__)
    return (annotation,)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    models = [option for option in _options(annotation) if isinstance(option, type) and issubclass(option, BaseModel)]
    return models[0] if models else None


def _argument(annotation: Any, container: type) -> Any:
    """The type of a list's items or a mapping's values."""
    for option in _options(annotation):
        if get_origin(option) is container:
            return get_args(option)[-1]
    return None


def _known(model: type[BaseModel] | None) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()] if model else []


def _required(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items() if info.is_required()]


def _count(detail: ErrorDetails) -> str:
    length = detail["ctx"]["actual_length"]
    return "the list is empty" if length == 0 else f"{length} entries"


def _bounds(detail: ErrorDetails) -> str:
    context = detail["ctx"]
    return f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
