"""What a method can get hold of through its request: neither test rows nor anything of the retrained model."""

import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regunlearn.benchmark import networks
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.cost import Meter
from regunlearn.benchmark.grid import Cell, Protocol
from regunlearn.benchmark.references import References
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.runner import make_request
from regunlearn.benchmark.spec import Dataset, Recipe
from regunlearn.benchmark.tasks import Task

PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size, np.generic)


def walk(start: Any) -> Iterator[tuple[str, Any]]:
    """Yield every object that attribute access can reach from `start`, with its path. Module globals are left out."""
    seen, queue = set[int](), deque([("request", start)])
    alive = list[Any]()  # an id is only good while its object lives
    while queue:
        path, thing = queue.popleft()
        if isinstance(thing, types.ModuleType) or id(thing) in seen:
            continue
        seen.add(id(thing))
        alive.append(thing)
        yield path, thing
        queue.extend(children(path, thing))


def children(path: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, PLAIN):
        return
    if isinstance(thing, type):
        if thing.__module__.startswith("regunlearn"):
            yield from ((f"{path}.{name}", value) for name, value in vars(thing).items())
        return
    yield f"type({path})", type(thing)
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            yield f"{path}.keys()", key
            yield f"{path}[{str(key)[:40]}]", value
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        yield from ((f"{path}[{k}]", value) for k, value in enumerate(thing))
    elif isinstance(thing, Tensor):
        yield f"{path}.grad", thing.grad if thing.is_leaf else None
        yield f"{path}._base", thing._base
    elif isinstance(thing, np.ndarray):
        yield f"{path}.base", thing.base
        if thing.dtype == object:
            yield f"{path}.tolist()", thing.tolist()
    elif isinstance(thing, types.FunctionType):
        for k, cell in enumerate(thing.__closure__ or ()):
            yield f"{path}.__closure__[{k}]", cell.cell_contents
        yield f"{path}.__defaults__", thing.__defaults__
        yield f"{path}.__kwdefaults__", thing.__kwdefaults__
    elif isinstance(thing, types.MethodType | types.BuiltinMethodType):
        yield f"{path}.__self__", thing.__self__
        yield f"{path}.__func__", getattr(thing, "__func__", None)
    elif isinstance(thing, partial):
        yield from ((f"{path}.{name}", getattr(thing, name)) for name in ("func", "args", "keywords"))
    elif isinstance(thing, staticmethod | classmethod):
        yield f"{path}.__func__", thing.__func__
    elif isinstance(thing, property):
        yield from ((f"{path}.{name}", getattr(thing, name)) for name in ("fget", "fset", "fdel"))
    elif isinstance(thing, types.GeneratorType):
        yield f"{path}.gi_frame.f_locals", dict(thing.gi_frame.f_locals) if thing.gi_frame else None
    elif isinstance(thing, weakref.ref):
        yield f"{path}()", thing()
    for base in type(thing).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield f"{path}.{name}", getattr(thing, name)
    attributes = getattr(thing, "__dict__", None)
    if isinstance(attributes, dict):
        yield from ((f"{path}.{name}", value) for name, value in attributes.items())


# Secrets carry numbers of this size, in the target's unit and in standard deviations, and nothing else does.
MARK = 1e6


def leaks(request: Any, weights: Mapping[str, Tensor] | None = None) -> list[str]:
    """Return paths from the request to test rows (by their mark) or to a model's weights (by place or by value)."""
    found = []
    secret = [w for w in (weights or {}).values() if w.is_floating_point() and w.numel() > 1]
    places = {w.untyped_storage().data_ptr() for w in secret}
    for path, thing in walk(request):
        if isinstance(thing, float) and MARK <= abs(thing) < 100 * MARK:
            found.append(path)
        if isinstance(thing, np.ndarray) and thing.dtype.kind == "f":
            thing = torch.from_numpy(np.ascontiguousarray(thing))
        if not isinstance(thing, Tensor) or not thing.is_floating_point():
            continue
        values = whole(thing)
        marked = bool((values.abs() >= MARK).any())
        known = any(
            w.numel() == values.numel() and torch.equal(w.flatten(), values.to(w.dtype)) for w in secret
        )
        if marked or known or thing.untyped_storage().data_ptr() in places:
            found.append(path)
    return found


def whole(values: Tensor) -> Tensor:
    """Return the whole storage behind a tensor, which a view is a window on."""
    storage = values.detach().untyped_storage()
    return torch.empty(0, dtype=values.dtype, device=values.device).set_(storage)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> References:
    """A task whose test rows alone hold huge numbers, with its reference models."""
    rng, n = np.random.default_rng(0), 60
    inputs = rng.normal(size=(n, 4)).astype(np.float32)
    targets = inputs[:, 0].astype(np.float64) + 0.1 * rng.normal(size=n)
    rows = np.arange(n)
    train, validation, test = rows[:40], rows[40:50], rows[50:]
    inputs[test] += 3 * MARK
    targets[test] += 5 * MARK
    dataset = Dataset(
        name="toy",
        inputs={"x": inputs},
        targets=targets,
        target="y",
        unit="",
        train=train,
        validation=validation,
        test=test,
    )
    splits = {"random": {"kind": "random", "fraction": 0.25}}
    card = Card("task", "toy-mlp", "", {"splits": splits}, {}, Path(__file__), "toy_mlp", "")
    recipe = Recipe(epochs=3, batch_size=10, learning_rate=0.01)
    task = Task(card, dataset, recipe, partial(networks.MLP, width=5), torch.device("cpu"))
    return References(task, Cache(tmp_path_factory.mktemp("cache")))


def engine_request(models: References) -> Any:
    protocol = Protocol(name="toy", splits={"toy-mlp": ["random"]}, seeds=[0])
    cell = Cell(protocol=protocol, task="toy-mlp", split="random", method="any", seed=0)
    return make_request(cell, models, models.make_split("random"), Meter())


def test_the_engine_s_request_reaches_no_test_row_and_no_retrained_model(models: References) -> None:
    split = models.make_split("random")
    retrained = models.state(0, split.unseen)
    models.outputs(0, split.unseen)  # as in a run: what the metrics need is in memory
    request = engine_request(models)
    assert leaks(request, retrained) == []
    kinds = {type(thing) for _, thing in walk(request)}
    assert not kinds & {References, Task, Dataset, Cache}


def test_a_hand_built_request_reaches_no_retrained_model(make: Callable[..., Any]) -> None:
    harness = make("batch_norm")
    assert leaks(harness.request(), harness.models()[1].state_dict()) == []


def test_the_walk_finds_the_request_s_own_parts(models: References) -> None:
    request = engine_request(models)
    found = {id(thing) for _, thing in walk(request)}
    parts = [*request.model.parameters(), request.retain.targets, request.validation.inputs[0], request.meter]
    assert all(id(part) in found for part in parts)


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def method(self) -> Any:
        return self.inner


def closure(secret: Any) -> Callable[[int], Any]:
    return lambda seed: secret


def default(secret: Any) -> Callable[[int], Any]:
    def factory(seed: int, hidden: Any = secret) -> Any:
        return hidden

    return factory


def generator(secret: Any) -> Iterator[int]:
    yield len(secret)


def attribute(secret: Any) -> Callable[[int], Any]:
    def factory(seed: int) -> None:
        return None

    vars(factory)["memory"] = [{"rows": secret}]
    return factory


@pytest.mark.parametrize(
    "hide",
    [
        closure,
        default,
        attribute,
        generator,
        lambda secret: partial(max, secret),
        lambda secret: partial(max, key=secret),
        lambda secret: Slotted(secret).method,
        lambda secret: {"deep": [(Slotted({1: secret}),)]},
        lambda secret: secret[:0],
        lambda secret: [secret.clone()],
        lambda secret: [secret.double().numpy()],
        lambda secret: np.array([None, secret], dtype=object),
        lambda secret: weakref.ref(secret),
    ],
)
@pytest.mark.parametrize("what", ["test rows", "retrained weights"])
def test_planted_leak_is_found(models: References, hide: Callable[[Any], Any], what: str) -> None:
    weights = models.state(0, models.make_split("random").unseen)
    rows = models.task.inputs(models.task.test)[0]
    secret = rows if what == "test rows" else weights["blocks.0.0.weight"]
    request = replace(engine_request(models), factory=hide(secret))
    assert leaks(request, weights)


def test_planted_task_and_hook_are_found(models: References) -> None:
    request = replace(engine_request(models), factory=models.task.new_network)
    assert any(isinstance(thing, Dataset) for _, thing in walk(request))
    assert leaks(request)
    request = engine_request(models)
    model, weights = (
        models.model(0, models.make_split("random").unseen),
        models.state(0, models.make_split("random").unseen),
    )
    assert leaks(request, weights) == []
    request.model.register_forward_hook(lambda *_: model.eval() and None)
    assert leaks(request, weights)
