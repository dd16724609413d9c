"""A model as a folder: config.json, which says how it is built, and its weights. Data, never code.

A layer is its class's name and the options of its constructor, read back from its attributes or
said by its `config_options`; a container is its class's name and what it holds. A model whose
weights are made for a shape (Keras's) is built for that one, its `built_shape`. `load_model` builds
the same again and loads the weights, so it needs nothing of the script that made the model.
"""

import hashlib
import importlib
import inspect
import json
import math
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from minidl import files, random
from minidl.errors import FormatError
from minidl.nn import functional as F
from minidl.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from minidl.nn.module import Module, Parameter
from minidl.serialization import load, save
from minidl.tape import tie
from minidl.tensor import Tensor

__all__ = ["load_model", "save_model"]

FORMAT = 1  # of config.json; a greater number is refused
CONFIG = "config.json"
_ROOMS = ("minidl.nn", "minidl.keras", "minidl.models")  # whose classes may be built
_CONTAINERS = (Sequential, ModuleList, ModuleDict)
_LEFT_OUT = ("device", "dtype")  # the weights have their own dtype; the device is the reader's

Path_ = str | os.PathLike[str]


def save_model(model: Module, folder: Path_) -> None:
    """Write a model of minidl's own modules to a folder, for `load_model`.

    The folder holds config.json and weights-….safetensors; a model that was there before is
    replaced in one moment, and stays whole if anything goes wrong. Hooks are not saved.

    Raises TypeError for a module of your own class, an option that is a function of your own, or a
    module that was changed so that its constructor does not give it again. Save such a model by
    `minidl.save(model.state_dict(), path)`, and build it in Python before loading.
    """
    if not isinstance(model, Module):
        raise TypeError(f"save_model: got a {type(model).__name__}, expected an nn.Module")
    state = model.state_dict()
    config = _description(model)
    _compare(model, _built(config))
    with files.writing("save_model", folder):
        _replace(Path(folder), config, state)


def _replace(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write the files of a model; config.json, which comes last, says which weights count."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".weights-{uuid.uuid4().hex}.safetensors"
    try:
        save(state, temporary)
        with open(temporary, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        config["weights"], config["sha256"] = f"weights-{digest[:16]}.safetensors", digest
        os.replace(temporary, folder / config["weights"])
        text = json.dumps(config, indent=1, allow_nan=False) + "\n"
        files.replace(folder / CONFIG, text.encode())
    except BaseException:
        temporary.unlink(missing_ok=True)
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    for old in folder.glob("weights-*.safetensors"):
        if old.name != config["weights"]:
            old.unlink()


def load_model(folder: Path_, device: str | None = None) -> Module:
    """Return the model that `save_model` wrote, with its weights, in the mode it was in.

    device : where to put it, default: the current device

    Only classes of minidl are built, whatever the file says. Raises FormatError, with the file and
    the reason, for a folder that is damaged, of a newer format, or names anything else.
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_bytes())
        number, name, digest = config["format"], config["weights"], config["sha256"]
    except FileNotFoundError:
        raise FormatError(f"load_model: {folder} holds no {CONFIG}; is it a model?") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"load_model: {path} cannot be read: {error!r}") from None
    if number != FORMAT:
        raise FormatError(
            f"load_model: {path} has format {number}, this minidl reads {FORMAT}; "
            "load it with the version that wrote it"
        )
    weights = Path(folder) / Path(str(name)).name
    if not weights.is_file():
        raise FormatError(f"load_model: {weights} is missing")
    with open(weights, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise FormatError(f"load_model: {weights} is not as it was written")
    state = load(weights, device="cpu")
    try:
        model = _built(config)
        for key, tensor in model.state_dict().items():
            if key in state and tensor.dtype != state[key].dtype:
                owner, _, attribute = key.rpartition(".")
                kept = getattr(model.get_submodule(owner), attribute)
                kept.data = kept.data.astype(state[key].dtype)
        model.load_state_dict(state)
        for key in config["frozen"]:
            model.get_parameter(key).requires_grad_(False)
        model.train(config["training"])
    except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise FormatError(f"load_model: {path}: {error}") from None
    return model if device is None else model.to(device=device)


# ---- from a model to its description -----------------------------------------------------------


def _description(model: Module) -> dict[str, Any]:
    from minidl import __version__

    seen: dict[int, str] = {}
    first: dict[int, str] = {}
    tied = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(p), name) != name:
            tied[name] = first[id(p)]
    return {
        "format": FORMAT,
        "minidl": __version__,
        "model": _described(model, "", seen),
        "tied": tied,
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        "training": model.training,
        "built_shape": _option(getattr(model, "built_shape", None), "built_shape", "", "", seen),
    }


def _described(module: Module, path: str, seen: dict[int, str]) -> dict[str, Any]:
    """A module as JSON; one that has come before as the path where it did."""
    if id(module) in seen:
        return {"same_as": seen[id(module)]}
    seen[id(module)] = path
    kind = _name_of(type(module), path)
    if type(module) in (ParameterList, ParameterDict):
        shapes = {name: list(p.shape) for name, p in module.named_parameters(recurse=False)}
        return {"class": kind, "parameters": shapes}
    if type(module) in _CONTAINERS:
        entries = [(name, m) for name, m in vars(module).items() if isinstance(m, Module)]
        parts = {name: _described(m, f"{path}.{name}".lstrip("."), seen) for name, m in entries}
        return {"class": kind, "modules": parts}
    options = {}
    if hasattr(module, "config_options"):
        for name, value in module.config_options().items():
            options[name] = _option(value, f"{path or 'the model'}: {name}", path, name, seen)
        return {"class": kind, "options": options}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if name in _LEFT_OUT or not hasattr(module, name):
            continue
        value = getattr(module, name)
        if name == "bias" and (value is None or isinstance(value, Parameter)):
            value = value is not None  # of layers that keep the parameter under the option's name
        if parameter.kind is parameter.VAR_KEYWORD or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        options[name] = _option(value, f"{path or 'the model'}: {name}", path, name, seen)
    return {"class": kind, "options": options}


def _option(value: Any, where: str, path: str, name: str, seen: dict[int, str]) -> Any:
    """An option as JSON; what JSON does not have as a dict with one key that begins with "$"."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.generic):
        return _option(value.item(), where, path, name, seen)
    if isinstance(value, tuple | list):
        parts = [_option(part, where, path, f"{name}.{i}", seen) for i, part in enumerate(value)]
        return {"$tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, Module):
        return {"$module": _described(value, f"{path}.{name}".lstrip("."), seen)}
    if isinstance(value, Tensor):
        return {"$tensor": list(value.shape)}
    if getattr(F, getattr(value, "__name__", getattr(value, "name", "")), None) is value:
        return {"$function": getattr(value, "__name__", getattr(value, "name", ""))}
    raise TypeError(
        f"save_model: {where} is {value!r:.60}, which a file of data cannot hold; give the name of "
        "an activation of minidl, or save model.state_dict() and build the model in Python"
    )


def _name_of(kind: type, path: str) -> str:
    """The public name of a class, "minidl.nn.Linear"; raises TypeError for one not of minidl."""
    parts = kind.__module__.split(".")
    for depth in range(2, len(parts) + 1):
        room = ".".join(parts[:depth])
        if _is_ours(room):
            found = getattr(importlib.import_module(room), kind.__name__, None)
            if found is kind:
                return f"{room}.{kind.__name__}"
    raise TypeError(
        f"save_model: {path or 'the model'} is a {kind.__qualname__}, a class that is not of "
        "minidl, so a file cannot say how to build it. Save the weights instead, "
        "minidl.save(model.state_dict(), path), and load them into a model made in Python: "
        "model.load_state_dict(minidl.load(path))"
    )


# ---- from a description to a model --------------------------------------------------------------


def _built(config: dict[str, Any]) -> Module:
    """The model of a description. Its first weights are drawn, but no stream is moved by it."""
    streams = random.get_state()
    try:
        model: Any = _module(config["model"], "", {})
        shape = _value(config.get("built_shape"), "built_shape", {})
        if shape is not None:
            if not all(n is None or isinstance(n, int) for n in shape):
                raise ValueError(f"built_shape is {shape!r:.60}, which is no shape")
            model.ensure_built(tuple(shape))
    finally:
        random.set_state(streams)
    for name, source in config["tied"].items():
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, model.get_parameter(source))
    return model


def _module(config: Any, path: str, made: dict[str, Module]) -> Module:
    if "same_as" in config:
        return made[config["same_as"]]
    kind = _class(config["class"])
    if "parameters" in config:
        shapes = config["parameters"]
        zeros = {name: Parameter(np.zeros(shape, "float32")) for name, shape in shapes.items()}
        return kind(list(zeros.values()) if issubclass(kind, ParameterList) else zeros)
    if "modules" in config:
        module = made[path] = kind()
        for name, part in config["modules"].items():
            module.add_module(name, _module(part, f"{path}.{name}".lstrip("."), made))
        return module
    options = {
        name: _value(value, f"{path}.{name}".lstrip("."), made)
        for name, value in config["options"].items()
    }
    module = made[path] = kind(**options)
    return module


def _value(value: Any, path: str, made: dict[str, Module]) -> Any:
    if isinstance(value, list):
        return [_value(part, f"{path}.{i}", made) for i, part in enumerate(value)]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "$tuple":
        return tuple([_value(part, f"{path}.{i}", made) for i, part in enumerate(content)])
    if kind == "$float":
        return float(content)
    if kind == "$tensor":
        return tie(np.zeros(content, "float32"), None)
    if kind == "$module":
        return _module(content, path, made)
    if kind == "$function" and content in F.__all__:
        return getattr(F, content)
    raise ValueError(f"{path} has the value {value!r:.60}, which is not of this format")


def _is_ours(room: str) -> bool:
    names = room.split(".")
    return ".".join(names[:2]) in _ROOMS and all(name.isidentifier() for name in names)


def _class(name: str) -> Any:
    """The class of a public name; nothing but modules of minidl."""
    room, _, kind = str(name).rpartition(".")
    if _is_ours(room):
        try:
            found = getattr(importlib.import_module(room), kind, None)
        except ImportError:
            found = None
        if isinstance(found, type) and issubclass(found, Module):
            return found
    raise ValueError(f"{name!r} is no module of minidl")


def _compare(model: Module, again: Module) -> None:
    """Raise TypeError unless a model that was built again is as the one it was read from."""
    before, after = model.state_dict(), again.state_dict()
    different = [name for name in {**before, **after} if name not in before or name not in after]
    different += [n for n in before if n in after and before[n].shape != after[n].shape]
    if different or repr(model) != repr(again):
        what = f"{different[0]} would differ" if different else f"{again} would come of {model}"
        raise TypeError(
            "save_model: the model was changed after it was made, and its options do not give it "
            f"again: {what}; save model.state_dict() and build the model in Python"
        )
