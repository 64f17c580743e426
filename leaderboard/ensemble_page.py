"""The page of a protocol of ensembles: rules, tiers, comparisons, gates and blocks as Markdown."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from regunlearn.benchmark.grid import STRESS_TESTS
from regunlearn.benchmark.rules import UTILITY_ERRORS, UTILITY_MARGIN
from regunlearn.benchmark.statistics import LEVEL
from regunlearn.leaderboard import breakdowns, comparison, stress_page, table_files
from regunlearn.leaderboard import comparison_tables as between
from regunlearn.leaderboard import ensemble_tables as tables
from regunlearn.leaderboard.blocks import Block
from regunlearn.leaderboard.comparison import FEWEST, Outcome
from regunlearn.leaderboard.ensemble_figures import LONGEST
from regunlearn.leaderboard.stress_board import Stress
from regunlearn.leaderboard.tables import machine_table
from regunlearn.leaderboard.text import Table, escape_markdown, latex, markdown, number
from regunlearn.leaderboard.tiers import BADGE, Tier

RULES = f"""\
**Rows.** An entry is a method or a configuration of one (`METHOD-WORD`; `-tuned` is the tuned track). A block is a
task and forget split. Each entry is run on every original model of a block, and the resulting ensemble is compared
with the ensemble of retrained models.

**Score.** Three axes, 0 = did nothing, 1 = another retrain. *S_F*: calibrated total variation (TV) of the predictions
on the forget rows, clip((TV_none − TV) / (TV_none − TV_null), 0, 1). *S_P*, only where rows are asked for one by one
(random and group splits): privacy against U-LiRA. *S_W*: 1 − RR, what a linear probe cannot recover from the features.
The block's score S is the smallest, because each axis has a cheat that another one catches. S is 0, with the reason
shown, if the run did not end well or if the error on the retained test rows is above the limit: {UTILITY_MARGIN:g} ×
the retrained models' mean + {UTILITY_ERRORS:g} standard errors ("utility"). Utility and cost are gates and columns,
never factors.

**Gates.** A block is scored only if it passed all its gates, which are measured on the reference models alone. A block
that failed one is shown with the gate and its value, and counts for nobody.

**Overall score.** Interquartile mean (IQM) of S over the scored blocks: the lowest and highest quarter of the blocks
are left out. An entry that lacks a scored block gets none, and no rank. Its {LEVEL:.0%} interval is a stratified
jackknife: in each block every unit (a seed, or a complementary pair of models where rows are asked for one by one) is
left out in turn, the variances of the blocks add up, and the interval is Student's with the smallest number of units
less one. It says how far the score depends on the models drawn, not on the choice of tasks.

**Tiers.** By gradient passes as a share of a retrain's: an entry is in every tier whose budget its most expensive
block keeps. The truncated retrain is a retrain stopped at a budget: the curve to beat.

**Ranks.** By IQM within a tier. An entry shares the rank of the best one of the group above it if they tie: the
{LEVEL:.0%} interval of their paired difference (the same units left out) contains 0, or the difference is below half
the null TV, the mean over blocks of TV_null / 2, here {{margin}}.
References (`retrain`, another retrain, is the null; `original` is no unlearning), sentinels (deliberately wrong
methods) and cheats (granted the retrained model) are shown and never ranked.

**Front.** Index of the Pareto front over S, utility ratio and cost within the tier, 1 = dominated by nobody. A
dominates B if its S is not significantly lower, utility and cost are not higher (taken as measured), and one of the
three is better. References take part, sentinels do not.

**Columns.** Means over the scored blocks that ended well; passes are the largest over all blocks. *TV (null)*: against
the retrained models, beside what retrained models read among themselves. *KLOM-R p95*: debiased Gaussian KL of the
predictions, 95th percentile over forget rows. *U-LiRA AUC / TPR@1%*: 0.5 = the attack is blind. *RR*: probe recovery,
0 = as the retrained models, 1 = all recoverable. *Utility ratio*: error on the retained test rows over the retrained
models'. *Badge*: scored blocks in which a permutation test does not tell unlearned from retrained models (p > {BADGE}).
*Records*: verified = a maintainer ran the entry's cheapest block again from the shipped models, and every axis came out
the same within the protocol's tolerance; reported = not yet, or not with the method's file as it is now.
"""

CAPTIONS: Mapping[str, str] = {
    "scores": f"Overall score with its 95% interval in every tier, best first: at most {LONGEST} ranked entries. "
    "The dotted line is the tier's best retrain cut short: who is left of it is beaten by stopping a retrain early.",
    "axes": "The three axes of the same entries, block by block (dots), and their mean (bar). Hollow: the block's "
    "score is 0 by a gate. A cheat is high on one axis and low on another.",
    "pareto": "Overall score against cost, 95% intervals; of many ranked entries the best are named. Who is below the "
    "dotted line is beaten by cutting a retrain short. Vertical lines are the tiers.",
    "critical_difference": "Average rank over the scored blocks, 1 = best. A bar joins entries that Wilcoxon's test "
    "with Holm's correction does not tell apart. Grey: retrains cut short.",
    "improvement": "Probability that the row's score is above the column's, in percent: mean over blocks, from "
    "paired jackknife errors.",
    "profiles": "Share of the scored blocks in which an entry reaches a score. Higher is better.",
    "nulls": "Total variation to the retrained models of every entry, block by block: from no unlearning (right "
    "tick) to the null, what retrained models read among themselves (left tick).",
    "row_distances": "Forget rows by their total variation to the retrained models, for the best entry of the best "
    "methods. Mass on the right: rows that still give the unlearned models away. Black: another retrain and no "
    "unlearning.",
    "roc": "ROC of U-LiRA in the blocks of an audit pool, logarithmic: how often an attacker who is rarely wrong is "
    "right. On the dotted line he is blind.",
    "predictions": "Mean prediction of the unlearned against the retrained models on up to 40 forget rows of one block "
    "a task; on the line both agree. Where `original` lies beside the line is what was to be forgotten.",
    "spread": "RNC of every single model of the best entries, a lane a block: what an experiment with one seed would "
    "have said. Values outside −1 to 2 stand on the edge.",
    "fractions": "Scores of the best entries against the share of training rows that a model forgets, at random, with "
    "95% intervals. S is 0 where a gate failed; the axes are as measured.",
    "cost": "Gradient passes and seconds of the best entries and of retrains cut short, as shares of a retrain's "
    "(dashed): the mean, and a tick for each block. Seconds far right of the passes: work that no pass counts.",
}
"""Caption of every figure, by the name of its file, in the order of the page."""


TUNED = """\
Each search took the first points of a fixed sequence in the method's own search space, on rows that no scored task
has (docs/tuning.md). The scores there see predictions only, and the best of many is too high as an estimate: they are
no results. On scored tasks other than those of its modality a tuned entry shows how well its choice carries over."""

LETTERS = "Entries that share a letter are in one clique of the diagram."


def page(
    outcome: Outcome,
    drawn: Sequence[str],
    stress: Stress | None = None,
    tuned: Table | None = None,
    broken: Mapping[str, table_files.Titled] = MappingProxyType({}),
) -> str:
    """Return the page, with sections on stress tests and on tuning where there are some.

    `drawn` names the figures, `broken` are the tables of `breakdowns`, which have files of their own.
    """
    blocks = outcome.blocks
    scored, there = len(blocks.scored), len(blocks.board.blocks)
    parts = [
        f"# Leaderboard, protocol `{blocks.board.protocol}`",
        f"{len(blocks.entries)} entries, {there} blocks (task and forget split), {scored} of them scored. Made from "
        "the records; do not edit.",
    ]
    unrun = sorted(
        f"{task} / {split}"
        for task, splits in blocks.protocol.splits.items()
        for split in splits
        if (task, split) not in blocks.facts and split not in STRESS_TESTS
    )
    if unrun:
        parts.append(f"Of the protocol's blocks, no entry has run on: {escape_markdown(', '.join(unrun))}.")
    if not scored:
        parts.append("**No block is scored: nothing is ranked.** The reasons are with the blocks below.")
    for tier in outcome.tiers:
        parts += _tier(outcome, tier)
    parts += ["## Rules", RULES.format(margin=number(outcome.standing.margin, 2))]
    parts += ["## Figures"] if drawn else []
    parts += [
        f"![{name}: {caption}](figures/{name}.png)\n\n*{caption}* ([SVG](figures/{name}.svg))"
        for name, caption in CAPTIONS.items()
        if name in drawn
    ]
    for name, own in broken.items():
        words = table_files.linked(name, breakdowns.WORDS[name])
        parts.append(table_files.section(own, words, level=2))
    if tuned is not None:
        parts += ["## Where tuned entries were tuned", TUNED, markdown(tuned)]
    parts += [*_comparisons(outcome), *_sentinels(outcome), *_gates(outcome), "## Block by block"]
    parts.append(
        "± is half the 95% jackknife interval. *null* is what retrained models read, *none* what the originals do. p "
        "is that of the permutation test."
    )
    for block in blocks.board.blocks:
        parts += _block(outcome, block)
    if stress is not None:
        parts += ["## Stress tests, not scored", *stress_page.section(stress, drawn, level=3)]
    board = blocks.board if stress is None else stress.joined(blocks.board)
    parts += ["## Machines", markdown(machine_table(board))]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def tex(outcome: Outcome, stress: Stress | None = None) -> str:
    """Return the main tables of all tiers as LaTeX, and those of stress tests."""
    parts = [
        f"% {tier.title}\n{latex(tables.main_table(outcome, tier))}"
        for tier in outcome.tiers
        if any(tier.groups.values())
    ]
    return "\n".join(parts if stress is None else [*parts, stress_page.tex(stress)])


def _tier(outcome: Outcome, tier: Tier) -> list[str]:
    """Return heading and table of a tier, and who in it beats a retrain cut short, or that nobody is ranked."""
    if not any(tier.groups.values()):
        return [f"## {tier.title}", "No entry costs so little."]
    parts = [f"## {tier.title}"]
    if outcome.blocks.scored and not tier.ranks:
        parts.append("Nobody is ranked in this tier.")
    return [*parts, markdown(tables.main_table(outcome, tier)), tables.against_curve(outcome, tier)]


def _comparisons(outcome: Outcome) -> list[str]:
    compared, parts = outcome.comparison, ["## Comparisons"]
    if compared is None:
        return [*parts, "Fewer than two entries have all scored blocks: there is nothing to compare."]
    ranked = [name for name in outcome.tiers[-1].groups["ranked"] if name in outcome.standing.index]
    most = comparison.COMPARED
    whose = f"The {most} best of {len(ranked)} ranked entries" if len(ranked) > most else "Ranked entries"
    parts.append(f"{whose} and retrains cut short, whatever they cost.")
    wins = "Blocks won/tied/lost by the row against the column (the rule for ties as above, block by block)."
    blocks, table = len(outcome.blocks.scored), markdown(between.wins_table(outcome))
    least = comparison.least_p(len(compared.names), blocks)
    if compared.cliques is None:
        parts.append(
            f"Fewer than {FEWEST} blocks are scored, so that no test on ranks could find a difference: in place of a "
            f"critical-difference diagram, every pair. {wins}"
        )
        parts.append(table)
    else:
        if least > comparison.ALPHA:
            parts.append(
                f"With {blocks} blocks and {len(compared.names)} entries, no p is below {number(least, 2)} after "
                "Holm's correction: the diagram cannot tell any two entries apart, and the intervals above can."
            )
        parts.append(f"<details><summary>{wins}</summary>\n\n{table}\n</details>")
    parts.append("Average rank over the scored blocks." + ("" if compared.cliques is None else " " + LETTERS))
    parts.append(markdown(between.rank_table(outcome)))
    agreement = between.agreement_table(outcome)
    if agreement is not None:
        parts.append(
            "Kendall's tau between the rankings by each axis alone (mean over the scored blocks that have it). Low "
            "values say that the axes see different things."
        )
        parts.append(markdown(agreement))
    return parts


def _sentinels(outcome: Outcome) -> list[str]:
    table = between.sentinel_table(outcome)
    if table is None:
        return []
    return [
        "## Sensitivity: do the sentinels fail?",
        "Deliberately wrong methods, and the metric that must expose each. A sentinel that is not exposed is a fault "
        "of the benchmark. Means over the scored blocks.",
        markdown(table),
    ]


def _gates(outcome: Outcome) -> list[str]:
    table: Table | None = tables.gate_table(outcome)
    shown = "No gate was measured." if table is None else markdown(table)
    return ["## Gates of the blocks", "Measured on originals and retrained models, before any method.", shown]


def _block(outcome: Outcome, block: Block) -> list[str]:
    row = outcome.blocks.facts[block]
    design = "audit pool" if row["pool"] else "fixed forget set"
    sizes = f"{row['models']} originals and as many models an entry, {row['retrained']} retrained models"
    parts = [f"### {escape_markdown(block[0])}, {escape_markdown(block[1])} ({design}, {sizes})"]
    if row["reason"]:
        parts.append(f"**Not scored: {escape_markdown(str(row['reason']))}.**")
    null = f"Null at this size: TV {number(float(row['tv_null']))} (no unlearning {number(float(row['tv_none']))})"
    if row["pool"]:
        null += f", U-LiRA AUC {number(float(row['u_lira_null']))} (no unlearning {number(float(row['u_lira_none']))})"
    parts.append(f"{null}.")
    for index, (title, table) in enumerate(tables.block_tables(outcome, block)):
        shown = markdown(table)
        parts.append(shown if index == 0 else f"<details><summary>{title}</summary>\n\n{shown}\n</details>")
    return parts
