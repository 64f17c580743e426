"""Many models of one task trained at once, as one stacked model, or one after the other where that is faster.

Every weight gets a first axis of K models, and one step trains all of them: the optimisers are element-wise, so the
mathematics is that of K calls of `training.fit` with the same rows in the same order. A network of linear layers and
ReLU is multiplied out by hand, in the order of additions of the loop; any other goes through `torch.func.vmap`.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import chain, islice, pairwise
from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, grad, vmap

from regunlearn.benchmark import training
from regunlearn.benchmark.cost import timed
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Recipe, Rows
from regunlearn.benchmark.training import DivergedError

State = dict[str, Tensor]
How = Literal["stacked", "loop"]
Slope = Callable[[Tensor, Tensor], Tensor]
"""(predictions, targets), shape (K, batch, outputs) each -> gradient of each model's mean loss, same shape."""
Backward = Callable[[tuple[Tensor, ...], Tensor], None]
"""(inputs, targets) of one step, first axes (K, batch): fill the gradients of the stacked weights."""

CHUNK_BYTES: Mapping[str, int] = {"cpu": 4 << 20, "cuda": 1 << 30}
"""What one step of a stack may touch: by thread on the CPU, where it should stay in the cache; on CUDA in all."""
TRIAL_STEPS, WARM_UP_STEPS, TRIALS = 10, 2, 10
TRIAL_SHARE = 0.05
"""About the most of a looped training that `choose` may spend on measuring."""
CLEAR = 2.0
"""A stack that many times faster than the loop needs no further trial."""
UNSTACKABLE = (
    nn.modules.batchnorm._NormBase,
    nn.modules.dropout._DropoutNd,
    nn.RNNBase,
    nn.RNNCellBase,
)


class DivergedModelError(DivergedError):
    """A model of several diverged: `model` is its position among those asked for."""

    def __init__(self, model: int, reason: str) -> None:
        super().__init__(model, reason)
        self.model, self.reason = model, reason

    def __str__(self) -> str:
        return f"model {self.model}: {self.reason}"


def stackable(model: nn.Module) -> bool:
    """Return whether the network can be trained stacked.

    Batch-norm (running means), recurrent layers and dropout (random numbers) cannot, nor can tied weights or hooks.
    """
    for module in model.modules():
        if isinstance(module, UNSTACKABLE) or module._forward_hooks or module._forward_pre_hooks:
            return False
        rate = getattr(module, "dropout", 0)
        if isinstance(rate, int | float) and rate:  # attention layers keep it as a number
            return False
    return len(list(model.parameters())) == len(list(model.named_parameters(remove_duplicate=False)))


# Training


def fit_many(
    models: Sequence[nn.Module],
    rows: Rows,
    subsets: Sequence[Tensor],
    recipe: Recipe,
    generators: Sequence[torch.Generator],
    *,
    how: How | Literal["auto"] = "auto",
    seeds: Sequence[int] | None = None,
) -> list[State]:
    """Train all models and return their weights in order; see `fit_each`."""
    states = dict(fit_each(models, rows, subsets, recipe, generators, how=how, seeds=seeds))
    return [states[k] for k in range(len(models))]


def fit_each(
    models: Sequence[nn.Module],
    rows: Rows,
    subsets: Sequence[Tensor],
    recipe: Recipe,
    generators: Sequence[torch.Generator],
    *,
    how: How | Literal["auto"] = "auto",
    seeds: Sequence[int] | None = None,
) -> Iterator[tuple[int, State]]:
    """Yield position and weights of each model as soon as it is trained; the models themselves are left as they are.

    Models with equally many rows are trained together.

    Args:
        models: freshly initialised, of one architecture, on the device of the rows.
        rows: all training rows of the task.
        subsets: distinct positions in `rows` of what each model is trained on, shape (n_k,).
        recipe: of the task.
        generators: one a model, on the CPU, as for `training.fit`.
        how: the way; "auto" measures, see `choose`.
        seeds: of torch's global generators for each model, for networks with dropout (which are looped).

    Raises:
        DivergedModelError: weights are not finite at the end.
        BenchmarkError: "stacked" was asked for and is not possible.
    """
    if not len(models) == len(subsets) == len(generators):
        raise BenchmarkError(
            f"{len(models)} models, {len(subsets)} subsets and {len(generators)} generators: expected as many of each."
        )
    groups: dict[int, list[int]] = {}
    for k, subset in enumerate(subsets):
        groups.setdefault(len(subset), []).append(k)
    for size, members in groups.items():
        group = [models[k] for k in members]
        if (choose(group, rows, size, recipe) if how == "auto" else how) == "stacked":
            yield from _fit_stacks(
                group,
                rows,
                [subsets[k] for k in members],
                recipe,
                [generators[k] for k in members],
                names=members,
            )
        else:
            for k in members:
                try:
                    with nullcontext() if seeds is None else _seeded(seeds[k]):
                        model = training.fit(
                            copy.deepcopy(models[k]), rows.take(subsets[k]), recipe, generators[k]
                        )
                except DivergedError as error:
                    raise DivergedModelError(k, str(error)) from error
                yield k, dict(model.state_dict())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def fit_stacked(
    models: Sequence[nn.Module],
    rows: Rows,
    subsets: Sequence[Tensor],
    recipe: Recipe,
    generators: Sequence[torch.Generator],
    *,
    steps: int | None = None,
    chunk: int | None = None,
) -> list[State]:
    """Train the models stacked and return their weights, as K calls of `training.fit` on `rows.take(subset)` would.

    Args:
        models: freshly initialised, of one architecture, on the device of the rows; left as they are.
        rows: all training rows of the task.
        subsets: distinct positions in `rows` of what each model is trained on, equally many, shape (n,).
        recipe: of the task.
        generators: one a model, on the CPU; advanced as `training.fit` advances it.
        steps: stop after so many, without stretching the schedule.
        chunk: most models in one stack, by default `chunk_of`.

    Raises:
        DivergedModelError: weights are not finite at the end.
        BenchmarkError: the subsets differ in length, or the networks cannot be stacked.
    """
    names = range(len(models))
    return [
        state
        for _, state in _fit_stacks(
            models, rows, subsets, recipe, generators, names=names, steps=steps, chunk=chunk
        )
    ]


def _fit_stacks(
    models: Sequence[nn.Module],
    rows: Rows,
    subsets: Sequence[Tensor],
    recipe: Recipe,
    generators: Sequence[torch.Generator],
    *,
    names: Sequence[int],
    steps: int | None = None,
    chunk: int | None = None,
) -> Iterator[tuple[int, State]]:
    """Yield name and weights of each model in order."""
    lengths = sorted({len(subset) for subset in subsets})
    if len(lengths) != 1:
        raise BenchmarkError(
            f"stacked models need equally many rows, so that they take equally many steps; got {lengths}. "
            "Train models of each length apart, as `fit_many` does."
        )
    shapes = {tuple((name, values.shape) for name, values in model.state_dict().items()) for model in models}
    if recipe.augment or len(shapes) != 1 or not all(map(stackable, models)):
        raise BenchmarkError(
            "these networks cannot be stacked: expected one architecture without batch-norm, recurrent layers, "
            'dropout, tied weights and hooks, and a recipe without augmentation. Use how="loop".'
        )
    for part in _parts(len(models), chunk or chunk_of(models[0], rows, lengths[0], recipe)):
        stack = _Stack(models[part], rows, recipe)
        stack.train(subsets[part], generators[part], steps)
        yield from zip(names[part], stack.states(names[part]), strict=True)


def _parts(count: int, chunk: int) -> list[slice]:
    """Cut `count` models into as few parts of at most `chunk` as possible, equal but for one model."""
    parts = math.ceil(count / chunk)
    edges = [count * k // parts for k in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


class _Stack:
    """K networks as one. Weights: first axis K."""

    def __init__(self, models: Sequence[nn.Module], rows: Rows, recipe: Recipe) -> None:
        self.rows, self.recipe, self.names = rows, recipe, list(models[0].state_dict())
        first = dict(models[0].named_parameters())
        self.parameters = {
            name: nn.Parameter(_stacked(models, name), requires_grad=first[name].requires_grad)
            for name in first
        }
        self.buffers = {name: _stacked(models, name) for name, _ in models[0].named_buffers()}
        # The recipe's own optimiser: its mathematics is element-wise, so it need not know of the first axis.
        self.optimiser = training.optimiser_of(
            recipe, nn.ParameterList(self.parameters.values()), recipe.learning_rate
        )
        layers = layers_of(models[0], rows.inputs)
        self.backward = (
            _by_vmap(models[0], self.parameters, self.buffers, _slope_of(recipe))
            if layers is None
            else _by_hand(layers, self.parameters, _slope_of(recipe))
        )

    def train(
        self, subsets: Sequence[Tensor], generators: Sequence[torch.Generator], steps: int | None
    ) -> None:
        """Take the recipe's steps, or the first `steps` of them."""
        recipe, rows, n = self.recipe, self.rows, len(subsets[0])
        size, total = training.batch_size_of(recipe, n), training.steps_of(recipe, n)
        batches = _orders(rows, subsets, size, min(total, steps or total), generators)
        for step, order in enumerate(batches):
            if recipe.schedule == "cosine":
                rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
                self.optimiser.param_groups[0]["lr"] = rate
            self.backward(tuple(_gather(v, order) for v in rows.inputs), _gather(rows.targets, order))
            self.optimiser.step()

    def states(self, names: Sequence[int]) -> list[State]:
        """Return the weights of each model.

        Raises:
            DivergedModelError: names the first one with weights that are not finite.
        """
        stacked = {**self.parameters, **self.buffers}
        for name in self.names:
            finite = stacked[name].isfinite().reshape(len(names), -1).all(dim=1)
            if not bool(finite.all()):
                model = names[int(finite.int().argmin())]
                raise DivergedModelError(model, f"{name} holds numbers that are not finite")
        return [{name: stacked[name].detach()[k].clone() for name in self.names} for k in range(len(names))]


def _stacked(models: Sequence[nn.Module], name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    return torch.stack([getattr(model.get_submodule(path), leaf).detach() for model in models])


def _orders(
    rows: Rows, subsets: Sequence[Tensor], size: int, steps: int, generators: Sequence[torch.Generator]
) -> Iterator[Tensor]:
    """Yield positions in `rows` of `steps` batches, shape (K, size): the batches of `training.shuffled`.

    Only the order goes to the device, once an epoch. Rows are gathered step by step: that reads no more, needs no
    memory for K copies of the rows, and a batch is still in the cache when it is used.
    """
    n = len(subsets[0])
    index, device = rows.index.cpu(), rows.targets.device
    place = torch.full((len(subsets), rows.universe), -1, dtype=torch.int64)
    for k, subset in enumerate(subsets):
        place[k, index[subset.cpu()]] = subset.cpu()
    while True:
        permuted = torch.stack([torch.randperm(rows.universe, generator=draw) for draw in generators])
        order = place.gather(1, permuted)
        order = order[order >= 0].view(len(subsets), n).to(device)
        for start in range(0, n - size + 1, size):
            yield order[:, start : start + size]
            steps -= 1
            if not steps:
                return


def _gather(values: Tensor, order: Tensor) -> Tensor:
    return values.index_select(0, order.flatten()).view(*order.shape, *values.shape[1:])


# Gradients


def _slope_of(recipe: Recipe) -> Slope:
    loss = training.loss_of(recipe)
    if recipe.loss == "l1":
        return lambda predictions, targets: (predictions - targets).sign_().div_(targets[0].numel())
    if recipe.loss == "mse":
        return lambda predictions, targets: (predictions - targets).mul_(2 / targets[0].numel())
    return vmap(grad(loss))


def _by_vmap(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], buffers: Mapping[str, Tensor], slope: Slope
) -> Backward:
    skeleton = copy.deepcopy(model).train()

    def alone(weights: dict[str, Tensor], state: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        return functional_call(skeleton, (weights, state), inputs)  # type: ignore[no-any-return]

    forward = vmap(alone)

    def backward(inputs: tuple[Tensor, ...], targets: Tensor) -> None:
        for values in parameters.values():
            values.grad = None
        predictions = forward(dict(parameters), dict(buffers), *inputs)
        predictions.backward(slope(predictions.detach(), targets))  # type: ignore[no-untyped-call]

    return backward


def layers_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[str, bool]] | None:
    """Return the linear layers of a network that is nothing but linear layers and ReLU in a row.

    Args:
        model: any network.
        inputs: what it takes, first axis rows.

    Returns:
        Name of each layer and whether ReLU follows it; None for any other network.
    """
    try:
        nodes = list(fx.symbolic_trace(model).graph.nodes)
    except Exception:  # control flow that depends on the data, and whatever else a network may do
        return None
    layers: list[tuple[str, bool]] = []
    flat = inputs[0].ndim == 2
    for before, node in pairwise(nodes):
        if node.all_input_nodes != [before] or node.kwargs:
            return None
        module = model.get_submodule(node.target) if node.op == "call_module" else None
        if node.op == "call_method" and node.target == "flatten" and node.args[1:] == (1,) and not layers:
            flat = True
        elif type(module) is nn.Linear:
            layers.append((node.target, False))
        elif type(module) is nn.ReLU and layers and not layers[-1][1]:
            layers[-1] = (layers[-1][0], True)
        elif node.op != "output" or node.args != (before,):
            return None
    names = {f"{name}.{leaf}" for name, _ in layers for leaf in ("weight", "bias")}
    plain = len({name for name, _ in layers}) == len(layers) > 0 and len(inputs) == 1 and flat
    return (
        layers
        if plain and names == {name for name, p in model.named_parameters() if p.requires_grad}
        else None
    )


def _by_hand(
    layers: Sequence[tuple[str, bool]], parameters: Mapping[str, nn.Parameter], slope: Slope
) -> Backward:
    weights = [parameters[f"{name}.weight"] for name, _ in layers]
    biases = [parameters[f"{name}.bias"] for name, _ in layers]
    gradients = {values: torch.zeros_like(values) for values in chain(weights, biases)}
    for values, gradient in gradients.items():
        values.grad = gradient
    # Memory of each layer's outputs and their slopes: gets its size at the first step and is used again at the next.
    room = [(weight.new_empty(0), weight.new_empty(0)) for weight in weights]

    @torch.no_grad()
    def backward(inputs: tuple[Tensor, ...], targets: Tensor) -> None:
        outputs = [inputs[0].flatten(2)]
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if weight.shape[1] == 1:  # add up as a matrix times a vector does, which the loop gets here
                outputs.append(torch.baddbmm(bias[:, :, None], weight, outputs[k].mT).mT)
            else:
                outputs.append(torch.baddbmm(bias[:, None], outputs[k], weight.mT, out=room[k][0]))
            if layers[k][1]:
                outputs[-1].relu_()
        slopes = slope(outputs[-1], targets)
        for k in range(len(layers) - 1, -1, -1):
            if layers[k][1]:
                torch.ops.aten.threshold_backward(slopes, outputs[k + 1], 0, grad_input=slopes)
            torch.bmm(slopes.mT, outputs[k], out=gradients[weights[k]])
            torch.sum(slopes, 1, out=gradients[biases[k]])
            if k:
                slopes = torch.bmm(slopes, weights[k], out=room[k - 1][1])

    return backward


# Which way


def chunk_of(model: nn.Module, rows: Rows, size: int, recipe: Recipe) -> int:
    """Return how many models to stack, by what one step of one model touches and `CHUNK_BYTES`.

    Args:
        model: the network.
        rows: all training rows.
        size: number of rows that each model is trained on.
        recipe: of the task.
    """
    saved: dict[int, int] = {}

    def note(values: Tensor) -> Tensor:
        saved[values.data_ptr()] = values.nbytes
        return values

    batch, device = training.batch_size_of(recipe, size), rows.targets.device.type
    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values):
        model(*(values[:batch] for values in rows.inputs))
    weights = sum(values.nbytes for values in model.parameters())
    touched = 2 * sum(saved.values()) + 4 * weights  # with gradients, and the optimiser's two means
    limit = CHUNK_BYTES[device] * (torch.get_num_threads() if device == "cpu" else 1)
    return max(1, limit // touched)


_CHOICES: dict[tuple[object, ...], How] = {}


def choose(models: Sequence[nn.Module], rows: Rows, size: int, recipe: Recipe) -> How:
    """Return the faster way to train the models, measured on some steps once a process.

    The loop is taken unmeasured for networks that cannot be stacked, and where one trial would already be a fifth of
    the training.

    Args:
        models: what would be trained; left as they are.
        rows: all training rows.
        size: number of rows that each model is trained on.
        recipe: of the task.
    """
    if len(models) < 2 or recipe.augment or not all(map(stackable, models)):
        return "loop"
    stack = _parts(len(models), chunk_of(models[0], rows, size, recipe))[-1]
    count = stack.stop - stack.start
    whole = len(models) * training.steps_of(recipe, size)
    if count == 1 or 5 * (WARM_UP_STEPS + TRIAL_STEPS) * (count + 1) > whole:
        return "loop"
    shapes = tuple((name, values.shape, values.dtype) for name, values in models[0].state_dict().items())
    batch = training.batch_size_of(recipe, size)
    row = tuple(values.shape[1:] for values in rows.inputs)
    arithmetic = (recipe.loss, recipe.optimiser, bool(recipe.weight_decay))
    machine = (rows.targets.device, torch.get_num_threads())
    key = (repr(models[0]), shapes, row, count, batch, *arithmetic, *machine)
    if key not in _CHOICES:
        _CHOICES[key] = _faster(models[:count], rows, size, recipe, whole)
    return _CHOICES[key]


def _faster(models: Sequence[nn.Module], rows: Rows, size: int, recipe: Recipe, whole: int) -> How:
    """Measure with a stack of `models`; `whole` is the number of model-steps of the training."""
    subset, device, count = torch.arange(size, device=rows.targets.device), rows.targets.device, len(models)
    alone, model, start = rows.take(subset), copy.deepcopy(models[0]), time.monotonic()

    def loop(steps: int) -> None:
        with suppress(DivergedError):
            training.fit(model, alone, recipe, torch.Generator(), steps=steps)

    one = together = math.inf
    try:
        stack = _Stack(models, rows, recipe)

        def stacked(steps: int) -> None:
            stack.train([subset] * count, [torch.Generator() for _ in models], steps)

        for one, together in islice(step_seconds([loop, stacked], device), TRIALS):
            taken, clear = time.monotonic() - start, CLEAR * together < one * count
            if clear or taken > TRIAL_SHARE * one * whole:
                break
    except RuntimeError:  # not every network can be vmapped, nor does every stack fit into the memory
        return "loop"
    return "stacked" if together < one * count else "loop"


def step_seconds(
    ways: Sequence[Callable[[int], None]], device: torch.device, steps: int = TRIAL_STEPS
) -> Iterator[list[float]]:
    """Yield the seconds of one step of each way: the best so far, after a warm-up and one more trial of each in turn.

    Args:
        ways: each takes a number of steps.
        device: where they run.
        steps: in a trial.
    """
    for way in ways:
        way(WARM_UP_STEPS)
    best = [math.inf] * len(ways)
    while True:
        for k, way in enumerate(ways):
            best[k] = min(best[k], timed(partial(way, steps), device)[1] / steps)
        yield list(best)
