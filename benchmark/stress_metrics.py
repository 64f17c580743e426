"""What the numbers of the stress track mean. No torch: tables are made from this.

Each entry stands for the columns `<name>` (mean over models), `<name>_low` and `<name>_high` (ends of the 95 % t
interval; none for `poison_detected`), `<name>_none` (the originals) and `<name>_null` (the retrained models).
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from regunlearn.benchmark.ensemble_metrics import Entry

CONFUSION = "after the interclass confusion test of Goel et al., arXiv:2201.06640, which swaps two classes"
POISON = "Gaussian unlearning score of Pawelczyk et al., ICLR 2025, arXiv:2406.17216"


def _ends(name: str) -> tuple[str, ...]:
    """Return the suffixes of the further columns of a metric."""
    return ("none", "null") if name == "poison_detected" else ("low", "high", "none", "null")


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        entry.name: replace(entry, also=tuple(f"{entry.name}_{end}" for end in _ends(entry.name)))
        for entry in (
            Entry(
                name="confusion_rlc",
                label="Confusion left on clean test rows (RLC)",
                better="zero",
                formula="mean over clean test rows of the band of (f_unlearned - f_retrained) / (s Delta), same seed; "
                "Delta = 2 standard deviations, s = 1 in the lower half of the band and -1 in the upper",
                null="0",
                none="up to rho = 1/2, for a squared loss and a network that cannot tell rows apart; less where it "
                "memorises the moved ones, and with the absolute loss (0.10 on digits-mlp, 0.03 on california-mlp)",
                failure="an average over the band: errors to both sides cancel. Predictions drawn to the middle of the "
                "band, a destroyed model's too, count as confused: read it with the utility ratio.",
                source=CONFUSION,
            ),
            Entry(
                name="confusion_memorised",
                label="Moved targets still remembered",
                better="retrained",
                formula="mean over all moved training rows of (f_unlearned(x) - clean target) / (s Delta)",
                null="the retrained models' own bias on the band, above 0: predictions are drawn to the mean",
                none="1 where the moved targets are fitted exactly",
                failure="holds the bias of any model on the band: only the distance to `null` counts.",
                source=CONFUSION,
            ),
            Entry(
                name="confusion_hidden",
                label="Moved targets still remembered, rows not named",
                better="retrained",
                formula="confusion_memorised on the half of the moved rows that was not given to be forgotten",
                null="the retrained models', which were trained without these rows too",
                none="as of confusion_memorised",
                failure="exact unlearning of the named rows alone cannot reach the null: the hidden rows are still "
                "trained on. It measures correction beyond the request.",
                source="corrective unlearning, Goel et al., arXiv:2402.14015",
            ),
            Entry(
                name="stress_utility",
                label="Error on clean test rows / retrained's",
                better="one",
                formula="mean MAE of the unlearned models on all test rows / that of the retrained models",
                null="1",
                none="1.14 for the confusion and .99 for the poison on california-mlp",
                failure="blind to the corruption itself: doing nothing passes. It shows a destroyed model, which "
                "leaves no trace of the poison either.",
                source="standard",
            ),
            Entry(
                name="poison_z",
                label="Trace of poison in the gradients, z",
                better="zero",
                formula="sqrt(n) mean s_i, s_i = <g_i, xi_i> / (tau |g_i|), g_i the gradient of the loss by the clean "
                "input of forget row i and xi_i the noise that it was trained with; mean over models",
                null="N(0, 1) for one model. Models that share the noise share its luck: their mean is not N(0, 1/N)",
                none="clearly below 0: the loss was lowered along the noise",
                failure="blind to traces that are not first-order at the clean input; a network of few parameters for "
                "its rows keeps none; 0 for a model that says the same of every input.",
                source=POISON,
            ),
            Entry(
                name="poison_excess",
                label="Trace of poison, z less the retrained model's",
                better="zero",
                formula="z(unlearned) - z(retrained), same seed and noise; mean over models",
                null="0",
                none="clearly below 0",
                failure="as poison_z; above 0 the rows were pushed away, which is a trace too.",
                source=POISON,
            ),
            Entry(
                name="poison_detected",
                label="Share of models in which poison is found",
                better="retrained",
                formula="share of models with p < 0.05 of the Kolmogorov-Smirnov test of s_i against N(0, 1)",
                null="0.05 over draws of the noise; for the one draw of a task, the retrained models' own share",
                none="1 where the noise left a trace",
                failure="a share of few models that share the noise: it jumps. Any departure from N(0, 1) counts.",
                source=POISON,
            ),
        )
    }
)
