"""The published membership attack: an SVM on one number, the absolute residual of a row.

A. Tarun et al., Deep Regression Unlearning, ICML 2023: SVC with C = 3, rbf kernel and gamma "auto", fitted on 2,000
training rows against 2,000 test rows; the score is the share of 2,000 forget rows that it calls members. As published,
members are drawn from all training rows, so that rows to be forgotten are members too (D5), and its own two rates are
those on the rows it was fitted on. Otherwise members are retain rows, and both rates are taken on rows held out.
"""

from dataclasses import dataclass

import numpy as np

from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.spec import Indices

ROWS = 2000


@dataclass(frozen=True)
class Draw:
    """Rows of one attack, as positions: among the training rows, the test rows and the forget rows.

    Attributes:
        members, others: what it is fitted on.
        rated_members, rated_others: what its own rates are taken on.
        forget: what it is scored on.
    """

    members: Indices
    others: Indices
    rated_members: Indices
    rated_others: Indices
    forget: Indices


def draw(
    train: int, test: int, forget: Indices, rng: np.random.Generator, *, mixed: bool, rows: int = ROWS
) -> Draw | None:
    """Draw the rows of an attack; None where there are too few.

    Args:
        train: number of training rows.
        test: number of test rows.
        forget: positions of the forget rows among the training rows.
        rng: seeded; the same draw serves all models of a seed.
        mixed: as published.
        rows: most of each kind.
    """
    pool = np.arange(train) if mixed else np.setdiff1d(np.arange(train), forget)
    size = min(rows, len(pool), test) if mixed else min(rows, len(pool) // 2, test // 2)
    if size < 2:
        return None
    members, others = rng.permutation(pool), rng.permutation(test)
    scored = np.sort(rng.permutation(len(forget))[:rows])
    first, second = slice(0, size), slice(0, size) if mixed else slice(size, 2 * size)
    return Draw(members[first], others[first], members[second], others[second], scored)


def rates(train: Array, test: Array, forget: Array, drawn: Draw) -> dict[str, float]:
    """Return the shares called members: of the forget rows, of members and of test rows.

    Args:
        train: absolute residuals of all training rows, in the target's unit.
        test: the same of all test rows.
        forget: the same of the forget rows.
        drawn: which of them count.
    """
    from sklearn.svm import SVC

    fitted = SVC(C=3, kernel="rbf", gamma="auto").fit(
        np.concatenate([train[drawn.members], test[drawn.others]])[:, None],
        np.repeat([1, 0], [len(drawn.members), len(drawn.others)]),
    )
    rated = {
        "attack_forget": forget[drawn.forget],
        "attack_members": train[drawn.rated_members],
        "attack_others": test[drawn.rated_others],
    }
    return {name: float(fitted.predict(values[:, None]).mean()) for name, values in rated.items()}
