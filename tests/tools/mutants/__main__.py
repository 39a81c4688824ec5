"""`make mutants ARGS="…"`: change the product in one place after the other; does a test fail?"""

import hashlib
import json
import random
import sys
from collections import Counter

import click

from tests.tools.mutants import covering, rooms, trial
from tests.tools.tracer import ROOT

RESULTS = ROOT / ".mutants" / "results.jsonl"
KILLED, SURVIVED, UNREACHED, EQUIVALENT = (
    {"killed", "timed out"},
    "survived",
    "unreached",
    "equivalent",
)
AGAIN = {SURVIVED, UNREACHED, "timed out", "broken"}
#: So many of the chosen tests must pass with the product as it is.
SOUND_TESTS = 15
#: To collect tests takes time too: so many are tried before the others.
FIRST_TESTS = 12


@click.command(help=__doc__)
@click.option("--room", "names", multiple=True, type=click.Choice([*rooms.ROOMS, rooms.SQL]))
@click.option("--file", "files", multiple=True, help="Only mutants of files whose path holds this.")
@click.option("--sample", type=int, help="Try so many of each room; without it, all.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the sample.")
@click.option(
    "--budget", type=float, default=30, show_default=True, help="Seconds of tests a mutant."
)
@click.option("--again", is_flag=True, help="Try again what was not killed before.")
@click.option("--report", "only_report", is_flag=True, help="Try none: show what is known.")
@click.option("--collect", "everything", is_flag=True, help="See anew what every test runs.")
@click.option("--processes", type=int, default=2, show_default=True, help="To see what tests run.")
@click.option("--show", is_flag=True, help="Print the output of the tests of the last mutant.")
@click.option("--json", "as_json", is_flag=True, help="Print rates and survivors as JSON.")
def main(
    names, files, sample, seed, budget, again, only_report, everything, processes, show, as_json
):
    with trial.laboratory() as laboratory:
        chosen = []
        for name in names or [*rooms.ROOMS, rooms.SQL]:
            mutants = rooms.of_room(name, laboratory.bodies)
            mutants = [m for m in mutants if not files or any(part in m.file for part in files)]
            if sample is not None and sample < len(mutants):
                mutants = sorted(random.Random(seed).sample(mutants, sample))
            chosen += mutants
        outcomes = _known(chosen)
        if not only_report:
            covering.collect(everything=everything, processes=processes)
            _try_all(laboratory, chosen, outcomes, budget=budget, again=again)
            if show:
                click.echo(laboratory.output(), err=True)
    _print(chosen, outcomes, as_json=as_json)


def _try_all(laboratory, chosen, outcomes, *, budget, again):
    reached = covering.Reached(laboratory.bodies)
    due = [m for m in chosen if m.key not in outcomes or (again and outcomes[m.key][0] in AGAIN)]
    tests_of = {mutant.key: _tests(reached, mutant, budget) for mutant in due}
    _require_sound(laboratory, reached, tests_of)
    for place, mutant in enumerate(due, 1):
        tests, total = tests_of[mutant.key]
        if rooms.reason_if_equivalent(mutant):
            verdict = trial.Verdict(EQUIVALENT, 0)
        elif not tests:
            verdict = trial.Verdict(UNREACHED, 0)
        else:
            verdict = _try(laboratory, reached, mutant, tests)
        count = f"{len(tests)} of {total} tests" if len(tests) < total else f"{total} tests"
        outcomes[mutant.key] = (verdict.outcome, count)
        _remember(mutant, verdict, count)
        click.echo(
            f"{place}/{len(due)} {verdict.outcome:9} {verdict.seconds:5.1f} s  {mutant}  ({count})",
            err=True,
        )


def _try(laboratory, reached, mutant, tests):
    """The most promising tests first, then the rest: most mutants fall to the first."""
    verdict = trial.Verdict(SURVIVED, 0)
    for some in filter(None, (tests[:FIRST_TESTS], tests[FIRST_TESTS:])):
        if verdict.outcome == SURVIVED:
            seconds = sum(reached.seconds[test] for test in some)
            verdict = laboratory.try_out(mutant, some, seconds=seconds)
        if verdict.outcome == "broken":
            # A table that names tests has changed: these tests' ids are no more.
            files = list(dict.fromkeys(test.partition("::")[0] for test in some))
            verdict = laboratory.try_out(mutant, files, seconds=seconds)
    return verdict


def _tests(reached, mutant, budget):
    """The tests to run within the budget, and how many there are."""
    tests = reached.tests(mutant)
    within, seconds = [], 0.0
    for test in tests:
        seconds += reached.seconds[test]
        if within and seconds > budget:
            break
        within.append(test)
    return within, len(tests)


def _require_sound(laboratory, reached, tests_of):
    """Without a change, tests must pass; else every mutant would count as killed."""
    used = Counter(test for tests, _ in tests_of.values() for test in tests)
    tests = [test for test, _ in used.most_common(SOUND_TESTS)]
    if not tests:
        return
    verdict = laboratory.try_out(None, tests, seconds=sum(reached.seconds[test] for test in tests))
    if verdict.outcome != SURVIVED:
        click.echo(laboratory.output(), err=True)
        sys.exit(f"Without a change {verdict.test or 'a test'} fails too: {verdict.outcome}.")


def _digest(mutant):
    return hashlib.sha256((ROOT / mutant.file).read_bytes()).hexdigest()[:12]


def _remember(mutant, verdict, count):
    row = {"key": mutant.key, "source": _digest(mutant), "tests": count, **verdict._asdict()}
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _known(chosen):
    """Outcomes of earlier runs, by key, of files that have not changed since."""
    rows = [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []
    by_key = {row["key"]: row for row in rows}
    outcomes = {}
    for mutant in chosen:
        row = by_key.get(mutant.key)
        if rooms.reason_if_equivalent(mutant):
            outcomes[mutant.key] = (EQUIVALENT, "")
        elif row and row["source"] == _digest(mutant) and row["outcome"] != EQUIVALENT:
            outcomes[mutant.key] = (row["outcome"], row["tests"])
    return outcomes


def _print(chosen, outcomes, *, as_json):
    tried = [(mutant, *outcomes[mutant.key]) for mutant in chosen if mutant.key in outcomes]
    survivors = [row for row in tried if row[1] not in KILLED | {EQUIVALENT}]
    rates = {}
    for name in dict.fromkeys(mutant.room for mutant, *_ in tried):
        counts = Counter(outcome for mutant, outcome, _ in tried if mutant.room == name)
        killed = sum(counts[outcome] for outcome in KILLED)
        of = counts.total() - counts[EQUIVALENT]
        rates[name] = {"rate": round(killed / of, 3) if of else None, **counts}
    if as_json:
        rows = [
            {**m._asdict(), "edit": list(m.edit), "outcome": outcome, "tests": count}
            for m, outcome, count in survivors
        ]
        click.echo(json.dumps({"rates": rates, "survivors": rows}, indent=2))
        return
    for mutant, outcome, count in survivors:
        click.echo(f"{mutant.file}:{mutant.line}: {mutant.change}  ({outcome}; {count})")
        click.echo(f"    {mutant.text}")
    for name, counts in rates.items():
        rate = "-" if counts["rate"] is None else f"{counts['rate']:.1%}"
        rest = ", ".join(f"{count} {what}" for what, count in counts.items() if what != "rate")
        click.echo(f"{name:11}{rate:>7}  {rest}")


if __name__ == "__main__":
    main()
