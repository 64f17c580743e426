"""Stacked training is the loop: same rows in the same order, same mathematics, nothing else touched."""

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regunlearn.benchmark import networks, stacking, training
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Recipe, Rows, Shape
from regunlearn.benchmark.stacking import DivergedModelError, State

CPU = torch.device("cpu")
FLAT, IMAGES, SEQUENCES = Shape(((5,),), 1), Shape(((1, 8, 8),), 1), Shape(((7, 3),), 1)
MLP = partial(networks.MLP, width=16)
ADAM = Recipe(epochs=4, batch_size=16, learning_rate=0.01, loss="l1", schedule="cosine", precision="float64")
ADAMW = replace(ADAM, loss="mse", schedule="constant", weight_decay=0.01)
LONG = replace(ADAM, epochs=1000)
SGD = replace(ADAM, loss="mse", optimiser="sgd", weight_decay=0.1)
UNIVERSE, ROWS, SIZE = 120, 100, 83  # five batches of 16 an epoch: 20 steps


class Gated(nn.Module):
    """Not a chain: two branches, a buffer and a frozen weight."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(5, 8), nn.Linear(5, 8)
        self.head = nn.Linear(8, shape.outputs)
        self.gain = nn.Parameter(torch.tensor(1.5), requires_grad=False)
        self.register_buffer("shift", torch.full((8,), 0.1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.one(inputs).tanh() * self.other(inputs).sigmoid() * self.gain + self.shift)


class Dropping(networks.MLP):
    """Dropout that no module shows."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(functional.dropout(inputs, 0.5, self.training))


def convolutional(shape: Shape) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, shape.outputs))


@pytest.fixture(autouse=True)
def nothing_measured_yet() -> Iterator[None]:
    stacking._CHOICES.clear()
    yield
    stacking._CHOICES.clear()


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(count: int) -> list[torch.Generator]:
    return [draw(k) for k in range(count)]


def rows(shape: Shape = FLAT, dtype: torch.dtype = torch.float64) -> Rows:
    """Return rows of a larger universe, in an order of their own."""
    inputs = torch.randn(ROWS, *shape.inputs[0], generator=draw(1), dtype=dtype)
    targets = torch.randn(ROWS, shape.outputs, generator=draw(2), dtype=dtype)
    return Rows((inputs,), targets, torch.randperm(UNIVERSE, generator=draw(3))[:ROWS], UNIVERSE)


def subsets(count: int, size: int = SIZE) -> list[Tensor]:
    return [torch.randperm(ROWS, generator=draw(k))[:size] for k in range(count)]


def new(
    count: int, recipe: Recipe = ADAM, build: Callable[[Shape], nn.Module] = MLP, shape: Shape = FLAT
) -> list[nn.Module]:
    return [training.new_network(build, shape, recipe, k, CPU) for k in range(count)]


def looped(
    models: Sequence[nn.Module],
    data: Rows,
    picked: Sequence[Tensor],
    recipe: Recipe,
    generators: Sequence[torch.Generator],
) -> list[State]:
    return [
        training.fit(copy.deepcopy(model), data.take(subset), recipe, generator).state_dict()
        for model, subset, generator in zip(models, picked, generators, strict=True)
    ]


def apart(some: Sequence[State], others: Sequence[State]) -> float:
    """Return the largest difference of any two weights; the tensors' names and order must agree."""
    assert [list(state) for state in some] == [list(state) for state in others]
    return max(
        float((one[name] - other[name]).abs().max())
        for one, other in zip(some, others, strict=True)
        for name in one
    )


# The same as the loop


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("recipe", [ADAM, ADAMW, SGD], ids=["adam-l1-cosine", "adamw-mse", "sgd-mse-cosine"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_stacked_equals_loop_after_20_steps(count: int, recipe: Recipe, outputs: int) -> None:
    shape = Shape(FLAT.inputs, outputs)
    models, data, picked = new(count, recipe, shape=shape), rows(shape), subsets(count)
    assert training.steps_of(recipe, SIZE) == 20
    one, other = draws(count), draws(count)
    stacked = stacking.fit_stacked(models, data, picked, recipe, one)
    alone = looped(models, data, picked, recipe, other)
    assert apart(stacked, alone) < 1e-6
    assert apart(alone, [model.state_dict() for model in models]) > 1e-2
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine.get_state(), theirs.get_state())


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (Gated, FLAT),
        (networks.Linear, FLAT),
        (partial(networks.MLP, width=8, depth=0), FLAT),
        (lambda shape: nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 1)), FLAT),
        (lambda shape: nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 1)), FLAT),
        (convolutional, IMAGES),
    ],
    ids=["branches", "linear", "head-only", "no-bias", "gelu", "convolutional"],
)
@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
def test_other_networks(build: Callable[[Shape], nn.Module], shape: Shape, recipe: Recipe) -> None:
    models, data = new(3, recipe, build, shape), rows(shape)
    stacked = stacking.fit_stacked(models, data, subsets(3), recipe, draws(3))
    assert apart(stacked, looped(models, data, subsets(3), recipe, draws(3))) < 1e-6


def test_both_ways_of_multiplying_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    models, data = new(3), rows()
    assert stacking.layers_of(models[0], data.inputs) == [
        ("blocks.0.0", True),
        ("blocks.1.0", True),
        ("head", False),
    ]
    by_hand = stacking.fit_stacked(models, data, subsets(3), ADAM, draws(3))
    monkeypatch.setattr(stacking, "layers_of", lambda model, inputs: None)
    assert apart(by_hand, stacking.fit_stacked(models, data, subsets(3), ADAM, draws(3))) < 1e-9


@pytest.mark.parametrize(
    "network",
    [
        Gated(FLAT),
        nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 1)),
        nn.Sequential(nn.ReLU(), nn.Linear(5, 1)),
        nn.Sequential(nn.Linear(5, 4), nn.Flatten(), nn.Linear(4, 1)),
        nn.Sequential(layer := nn.Linear(5, 5), layer, nn.Linear(5, 1)),
        nn.Flatten(),
    ],
)
def test_only_plain_chains_are_multiplied_by_hand(network: nn.Module) -> None:
    assert stacking.layers_of(network, (torch.zeros(2, 5),)) is None
    assert stacking.layers_of(nn.Linear(5, 1), (torch.zeros(2, 5),)) is None  # has no layers inside
    assert stacking.layers_of(nn.Sequential(nn.Linear(5, 1)), (torch.zeros(2, 3, 5),)) is None


def test_all_rows_in_one_batch_and_one_step() -> None:
    recipe = replace(SGD, batch_size=0, epochs=3)
    stacked = stacking.fit_stacked(new(3), rows(), subsets(3), recipe, draws(3))
    assert apart(stacked, looped(new(3), rows(), subsets(3), recipe, draws(3))) < 1e-9
    first = stacking.fit_stacked(new(3), rows(), subsets(3), recipe, draws(3), steps=1)
    alone = training.fit(new(3)[2], rows().take(subsets(3)[2]), recipe, draw(2), steps=1)
    assert apart(first[2:], [alone.state_dict()]) < 1e-9


def test_a_loss_without_a_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LOSSES", {"huber": functional.huber_loss})
    recipe = replace(ADAM, loss="huber")
    stacked = stacking.fit_stacked(new(3), rows(), subsets(3), recipe, draws(3))
    assert apart(stacked, looped(new(3), rows(), subsets(3), recipe, draws(3))) < 1e-6


@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
def test_single_precision(recipe: Recipe) -> None:
    # Under Adam a gradient of about nothing is a whole step of either sign, so that a rounding error may show.
    recipe = replace(recipe, precision="float32")
    models, data = new(8, recipe), rows(dtype=torch.float32)
    stacked = stacking.fit_stacked(models, data, subsets(8), recipe, draws(8))
    alone = looped(models, data, subsets(8), recipe, draws(8))
    assert stacked[0]["head.weight"].dtype == torch.float32
    if recipe.optimiser == "sgd":
        assert apart(stacked, alone) < 1e-6
    differences = [(stacked[k][name] - alone[k][name]).abs().flatten() for k in range(8) for name in alone[k]]
    assert (torch.cat(differences) > 1e-6).double().mean() < 0.01


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_change_nothing(chunk: int) -> None:
    whole = stacking.fit_stacked(new(7), rows(), subsets(7), ADAM, draws(7), chunk=7)
    cut = stacking.fit_stacked(new(7), rows(), subsets(7), ADAM, draws(7), chunk=chunk)
    assert apart(whole, cut) < 1e-9


def test_parts_are_even_and_complete() -> None:
    for count in range(1, 40):
        for chunk in range(1, 45):
            parts = stacking._parts(count, chunk)
            sizes = [part.stop - part.start for part in parts]
            assert [k for part in parts for k in range(count)[part]] == list(range(count))
            assert max(sizes) <= chunk
            assert max(sizes) - min(sizes) <= 1


# Side effects


@pytest.mark.parametrize("how", ["stacked", "loop", "auto"])
def test_nothing_else_is_touched(how: stacking.How) -> None:
    models, data, picked = new(3), rows(), subsets(3)
    before, state = copy.deepcopy(models), torch.get_rng_state()
    copies = data.take(torch.arange(ROWS))
    first = stacking.fit_many(models, data, picked, ADAM, draws(3), how=how)
    again = stacking.fit_many(models, data, picked, ADAM, draws(3), how=how)
    assert apart(first, again) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert apart([m.state_dict() for m in models], [m.state_dict() for m in before]) == 0
    assert not any(model.training for model in models)
    assert torch.equal(data.inputs[0], copies.inputs[0])
    assert torch.equal(data.targets, copies.targets)
    assert not first[0]["head.weight"].requires_grad
    assert first[0]["head.weight"].untyped_storage().nbytes() == first[0]["head.weight"].nbytes


def test_measuring_draws_nothing() -> None:
    models, state = new(4), torch.get_rng_state()
    before = copy.deepcopy(models)
    assert stacking.choose(models, rows(), SIZE, LONG) in ("stacked", "loop")
    assert len(stacking._CHOICES) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert apart([m.state_dict() for m in models], [m.state_dict() for m in before]) == 0


# What cannot be stacked


def test_unequal_lengths_are_refused() -> None:
    picked = [*subsets(2), subsets(3, SIZE - 1)[2]]
    with pytest.raises(BenchmarkError, match=r"equally many rows.*\[82, 83\]"):
        stacking.fit_stacked(new(3), rows(), picked, ADAM, draws(3))


def test_unequal_lengths_are_grouped() -> None:
    picked = [subset[: SIZE - 40 * (k % 2)] for k, subset in enumerate(subsets(5))]
    stacked = stacking.fit_many(new(5), rows(), picked, ADAM, draws(5), how="stacked")
    assert apart(stacked, looped(new(5), rows(), picked, ADAM, draws(5))) < 1e-6
    order = [k for k, _ in stacking.fit_each(new(5), rows(), picked, ADAM, draws(5), how="stacked")]
    assert order == [0, 2, 4, 1, 3]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (MLP(FLAT), True),
        (networks.Linear(FLAT), True),
        (Gated(FLAT), True),
        (convolutional(IMAGES), True),
        (networks.MLP(FLAT, width=8, batch_norm=True), False),
        (networks.AllCNN(IMAGES, widths=(4, 8)), False),
        (networks.LSTM(SEQUENCES, width=4), False),
        (nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.1), nn.Linear(4, 1)), False),
        (nn.MultiheadAttention(4, 2, dropout=0.1), False),
        (nn.MultiheadAttention(4, 2), True),
        (nn.GRUCell(3, 4), False),
        (nn.Sequential(layer := nn.Linear(5, 5), layer), False),
    ],
)
def test_stackable(network: nn.Module, expected: bool) -> None:
    assert stacking.stackable(network) is expected


def test_tied_weights_and_hooks_are_not_stackable() -> None:
    tied = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    tied[1].weight = tied[0].weight
    assert not stacking.stackable(tied)
    hooked = MLP(FLAT)
    hooked.head.register_forward_hook(lambda *_: None)
    assert not stacking.stackable(hooked)


def test_refusals() -> None:
    normed = new(2, build=partial(networks.MLP, width=8, batch_norm=True))
    with pytest.raises(BenchmarkError, match="cannot be stacked"):
        stacking.fit_many(normed, rows(), subsets(2), ADAM, draws(2), how="stacked")
    with pytest.raises(BenchmarkError, match="cannot be stacked"):
        stacking.fit_stacked([*new(1), *normed[:1]], rows(), subsets(2), ADAM, draws(2))
    augmented = replace(ADAM, augment="crop_and_flip")
    with pytest.raises(BenchmarkError, match="cannot be stacked"):
        stacking.fit_stacked(new(2), rows(), subsets(2), augmented, draws(2))
    with pytest.raises(BenchmarkError, match="2 models, 3 subsets and 2 generators"):
        stacking.fit_many(new(2), rows(), subsets(3), ADAM, draws(2))
    alone = stacking.fit_many(normed, rows(), subsets(2), ADAM, draws(2))
    assert apart(alone, looped(normed, rows(), subsets(2), ADAM, draws(2))) == 0


def test_seeds_of_dropout() -> None:
    models, state = new(3, build=partial(Dropping, width=8)), torch.get_rng_state()
    states = stacking.fit_many(models, rows(), subsets(3), ADAM, draws(3), how="loop", seeds=[5, 6, 5])
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        alone = looped(models[1:2], rows(), subsets(3)[1:2], ADAM, [draw(1)])
    assert apart(states[1:2], alone) == 0


# Divergence


@pytest.mark.parametrize("how", ["stacked", "loop"])
def test_divergence_names_the_model(how: stacking.How) -> None:
    models = new(6)
    with torch.no_grad():
        models[3].get_parameter("head.weight").fill_(torch.nan)
    picked = [subset[: SIZE - k % 2] for k, subset in enumerate(subsets(6))]
    with pytest.raises(DivergedModelError, match=r"^model 3: .* not finite$") as caught:
        stacking.fit_many(models, rows(), picked, ADAM, draws(6), how=how)
    assert caught.value.model == 3
    assert isinstance(caught.value, training.DivergedError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# Which way


def timings(monkeypatch: pytest.MonkeyPatch, *seconds: tuple[float, float]) -> list[float]:
    """Let the trials take these seconds a step of one model and of the stack; return what was looked at."""
    looked: list[float] = []

    def measured(ways: Sequence[Callable[[int], None]], device: torch.device) -> Iterator[list[float]]:
        for way in ways:
            way(2)
        for one, together in seconds:
            looked.append(one)
            yield [one, together]

    monkeypatch.setattr(stacking, "step_seconds", measured)
    return looked


def test_the_faster_way_is_taken_and_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timings(monkeypatch, (1.0, 4.1))
    assert stacking.choose(new(5), rows(), SIZE, LONG) == "stacked"
    assert stacking.choose(new(5), rows(), SIZE, LONG) == "stacked"
    assert len(calls) == 1
    assert stacking.choose(new(4), rows(), SIZE, LONG) == "loop"
    assert stacking.choose(new(5), rows(), SIZE, replace(LONG, batch_size=8)) == "stacked"
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("seconds", "looked", "expected"),
    [
        ([(1.0, 2.4), (1.0, 9.0)], 1, "stacked"),  # clear
        ([(1.0, 4.8), (1.0, 4.7)], 2, "stacked"),
        ([(1.0, 6.0), (0.9, 4.4)], 2, "stacked"),
        ([(1.0, 4.8), (0.9, 4.6)], 2, "loop"),
        ([(1.0, 6.0)] * 20, stacking.TRIALS, "loop"),
        ([(0.0, 6.0), (0.9, 0.1)], 1, "loop"),  # out of time
    ],
)
def test_trials(
    seconds: list[tuple[float, float]], looked: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = timings(monkeypatch, *seconds)
    assert stacking.choose(new(5), rows(), SIZE, LONG) == expected
    assert len(calls) == looked


def test_what_is_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = timings(monkeypatch, (1.0, 0.1))
    assert stacking.choose(new(1), rows(), SIZE, LONG) == "loop"
    assert stacking.choose(new(5), rows(), SIZE, ADAM) == "loop"  # 20 steps
    assert stacking.choose(new(5), rows(), SIZE, replace(LONG, augment="crop_and_flip")) == "loop"
    normed = new(5, build=partial(networks.MLP, width=8, batch_norm=True))
    assert stacking.choose(normed, rows(), SIZE, LONG) == "loop"
    monkeypatch.setitem(stacking.CHUNK_BYTES, "cpu", 1)
    assert stacking.choose(new(5), rows(), SIZE, LONG) == "loop"
    assert not calls


def test_a_network_that_cannot_be_vmapped_is_looped(monkeypatch: pytest.MonkeyPatch) -> None:
    timings(monkeypatch, (1.0, 0.1))
    models = new(5, build=partial(Dropping, width=8))
    assert stacking.stackable(models[0])
    assert stacking.choose(models, rows(), SIZE, LONG) == "loop"


def test_larger_steps_make_smaller_chunks() -> None:
    small, wide = new(1)[0], new(1, build=partial(networks.MLP, width=128))[0]
    chunks = [stacking.chunk_of(wide, rows(), SIZE, replace(ADAM, batch_size=size)) for size in (1, 16, 80)]
    assert chunks == sorted(chunks, reverse=True)
    assert 1 <= chunks[0] < stacking.chunk_of(small, rows(), SIZE, replace(ADAM, batch_size=1))
    assert all(p.grad is None for p in wide.parameters())


def test_step_seconds_takes_turns() -> None:
    calls: list[tuple[str, int]] = []
    ways = [lambda steps: calls.append(("a", steps)), lambda steps: calls.append(("b", steps))]
    first, second = islice(stacking.step_seconds(ways, CPU, 7), 2)
    assert calls == [("a", 2), ("b", 2), ("a", 7), ("b", 7), ("a", 7), ("b", 7)]
    assert all(0 <= after <= before < 1 for before, after in zip(first, second, strict=True))
