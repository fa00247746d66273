"""Write RESULTS.md from the results that are kept in this repository.

    python benchmarks/results_page.py

Each folder `results/<name>` holds `results.jsonl`, as `pyg-ckd run` writes it,
and a `README.md`, whose text is put above the table. What the page says at its
top follows from the results by rules: backbones and methods are chosen by
validation, and a gain is claimed only where one is significant.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.experiments import BACKBONES, Result, Store
from pyg_ckd.experiments.backbones import BASELINES
from pyg_ckd.experiments.cost import minutes_of, minutes_with_teachers
from pyg_ckd.experiments.rows import Key, current, failures, rows_of
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.experiments.tables import (
    BEST,
    BEYOND,
    METRIC,
    best,
    best_bases,
    best_bases_of,
    comparisons,
    mean_of,
    p_value,
    values_of,
)

FOLDER = Path(__file__).with_name('results')
PAGE = Path(__file__).with_name('RESULTS.md')
HEAD = """\
# Results

Made by `python benchmarks/results_page.py`; do not edit. Figures are Recall@20
on test, means over seeds; epochs and settings are chosen by validation.
"""
FOOT = """\
*Against base* is the relative change of Recall@20 over the base of the same
objective, and of `base, cosine softmax` over `base`, with its interval of 95 %,
and *p* is adjusted by Holm for all comparisons of the data set; so are, apart,
those *against the best base*, the one of all objectives and settings with the
highest validation Recall@20. A change is a gain or a loss if the interval
leaves out zero and p is below 0.05. **Bold** is the best Recall and NDCG, *cut
short* what a limit ended before its patience was used up, which does not
compete. *Minutes* are those of one run, in the mean, *with teachers* those of
all runs that it took. Where results have them, *tail* is Recall@20 of test
items outside the most popular fifth, and *coverage* the share of items that is
in any list of 20.
"""
SPELLED = {
    'recall@10': 'Recall@10',
    'recall@20': 'Recall@20',
    'ndcg@10': 'NDCG@10',
    'ndcg@20': 'NDCG@20',
}


class Study:
    """The results of one data set, and what follows from them.

    Args:
        results (list[Result]): All results of a folder.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        order = {name: place for place, name in enumerate(BACKBONES)}
        results = sorted(
            results,
            key=lambda each: order.get(each.run.backbone, len(order)),
        )
        kept, self.notes = current(results)
        self.notes += [f'{r.run} failed: {r.error}' for r in failures(results)]
        self.rows = rows_of(kept)
        self.against = comparisons(results)
        self.best_base_of = best_bases_of(results)
        self.against_best = comparisons(results, bases=self.best_base_of)
        self.best_bases = list(best_bases(self.rows).values())
        self.with_teachers = minutes_with_teachers(results)
        self.best = best(kept)
        self.bases = [key for key in self.rows if key[2] == 'base']
        #: Rows that are compared with a base, by backbone.
        self.compared = _by_backbone(self.against)

    def in_short(self) -> Iterator[tuple[str, str]]:
        """Yield what a reader wants to know first, and the answer, if any."""
        yield 'Which backbone', self._which_backbone()
        over_best = self._which_method(self.against_best, name_base=True)
        title = 'Which gains over the best base, the best by validation'
        yield title, over_best
        if not over_best:
            over_own = self._which_method(self.against)
            yield 'Which gains over the base of its objective', over_own
        yield 'Below the base', self._below()
        yield 'What validation takes, the base included', self._choice()
        title = 'Better with one modality than with all (not tested)'
        yield title, self._out_of_balance()
        yield 'Not tested', self._not_tested()
        yield 'Cut short', self._cut_short()

    def _which_backbone(self) -> str:
        bases: dict[str, Key] = {}  # the best of each backbone
        for key, runs in self.rows.items():
            if runs[0].run.method.kind == 'base':
                best = bases.setdefault(key[1], key)
                bases[key[1]] = max(best, key, key=self._val)
        if not bases:
            return ''
        first, *others = sorted(bases.values(), key=self._val, reverse=True)
        text = self._called(first)
        for key in others[:2]:
            text += f', then {self._called(key)}'
        text += '; not tested against each other.' if others else '.'
        trained = [key for key in bases.values() if self.rows[key][0].epochs]
        simple = [key for key in bases.values() if key not in trained]
        if trained and simple:
            most = max(simple, key=self._val)
            passed = [k for k in trained if self._val(k) < self._val(most)]
            text += (
                f' {most[1]} {self._figure(most)}, not trained, is above '
                f'{len(passed)} of {len(trained)} that are.'
            )
        return text

    def _which_method(
        self, against: Mapping[Key, Comparison], name_base: bool = False
    ) -> str:
        texts = []
        for backbone, keys in _by_backbone(against).items():
            tested = [key for key in keys if against[key].tested]
            gains = [k for k in tested if against[k].outcome == 'gain']
            if tested:
                key = max(gains or tested, key=self._val)
                verdict = _unbroken(against[key].verdict)
                base = ''
                if name_base:
                    method = self.best_base_of[key][0].run.method
                    base = f' (best base: `{method}`)'
                texts.append(f'{backbone}{base}: `{key[2]}`, {verdict}')
        return _list(texts)

    def _below(self) -> str:
        texts = []
        for backbone, keys in self.compared.items():
            lower = [key for key in keys if self.against[key].gain < 0]
            lower.sort(key=lambda key: self.against[key].gain)
            if lower:
                shown = _unbroken(str(self.against[lower[0]]))
                text = f'{backbone}: `{lower[0][2]}` ({shown})'
                if len(lower) > 1:
                    others = 'other' if len(lower) == 2 else 'others'
                    text += f', {len(lower) - 1} {others} by less'
                texts.append(text)
        return _list(texts)

    def _choice(self) -> str:
        texts = []
        for backbone, keys in self.compared.items():
            choices = dict.fromkeys([*map(self._base_of, keys), *keys])
            texts.append(f'{backbone}: `{max(choices, key=self._val)[2]}`')
        return _list(texts)

    def _out_of_balance(self) -> str:
        texts = []
        for base in self.bases:
            alone = [
                key
                for key, runs in self.rows.items()
                if key[1] == base[1]
                and runs[0].run.method.kind == 'teacher'
                and self._test(key) > self._test(base)
            ]
            if alone:
                keys = [base, max(alone, key=self._test)]
                if base[1] in self.compared:
                    keys.append(max(self.compared[base[1]], key=self._val))
                figures = [f'`{key[2]}` {self._test(key):.4f}' for key in keys]
                texts.append(f'{base[1]} ({", ".join(figures)})')
        return _list(texts)

    def _not_tested(self) -> str:
        untested = {
            backbone: [key for key in keys if not self.against[key].tested]
            for backbone, keys in self.compared.items()
        }
        known = {*BASELINES, *self.compared}
        names = [key[1] for key in self.bases if key[1] not in known]
        parts = []
        for backbone, keys in self.compared.items():
            if len(untested[backbone]) == len(keys):
                names.append(backbone)
            elif untested[backbone]:
                of = f'{len(untested[backbone])} of {len(keys)}'
                parts.append(f'{of} for {backbone}')
        whole = [f'any method for {", ".join(names)}'] if names else []
        return _list([*whole, *parts])

    def _cut_short(self) -> str:
        rows = [f'{k[1]} `{k[2]}`' for k in self.rows if self._is_cut(k)]
        return f'{", ".join(rows)}; raise `--max-epochs`.' if rows else ''

    def tables(self) -> dict[str, list[dict[str, str]]]:
        """Return the rows of each backbone, those of baselines together."""
        found: dict[str, list[dict[str, str]]] = {}
        for key, row in zip(self.rows, self.table(), strict=True):
            if key[1] in BASELINES:
                found.setdefault('baselines', []).append(row)
            else:
                row.pop('backbone')
                found.setdefault(key[1], []).append(row)
        return found

    def table(self) -> Iterator[dict[str, str]]:
        """Yield a row for each backbone and method."""
        for key, runs in self.rows.items():
            own, best = self.against.get(key), self.against_best.get(key)
            verdict = str(own) if own else ''
            if self._is_cut(key):
                verdict = f'cut short {verdict}'.strip()
            is_best = key in self.best_bases
            minutes = self.with_teachers.get(key)
            yield {
                'backbone': key[1],
                'method': key[2],
                'seeds': str(len(runs)),
                **{
                    name: f'**{mean_of(runs, metric)}**'
                    if key in self.best[metric]
                    else mean_of(runs, metric)
                    for metric, name in SPELLED.items()
                },
                **{name: mean_of(runs, each) for name, each in BEYOND.items()},
                'against base': verdict,
                'p': p_value(own.p_adjusted if own else None),
                'against best base': BEST if is_best else str(best or ''),
                'p (best base)': p_value(best.p_adjusted if best else None),
                'minutes': f'{minutes_of(runs):.1f}{_on_gpu(runs)}',
                'with teachers': '' if minutes is None else f'{minutes:.1f}',
            }

    def _base_of(self, key: Key) -> Key:
        return *key[:2], str(self.rows[key][0].run.method.reference)

    def _val(self, key: Key) -> float:
        return fmean(result.val[METRIC] for result in self.rows[key])

    def _test(self, key: Key) -> float:
        return fmean(values_of(self.rows[key], METRIC))

    def _called(self, key: Key) -> str:
        """Return what a base is called, and its figure."""
        name = '' if key[2] == 'base' else f' (`{key[2]}`)'
        return f'{key[1]}{name} {self._figure(key)}'

    def _figure(self, key: Key) -> str:
        number = len(self.rows[key])
        seeds = '1 seed' if number == 1 else f'{number} seeds'
        return f'{self._test(key):.4f} ({seeds})'

    def _is_cut(self, key: Key) -> bool:
        return any(result.cut_short for result in self.rows[key])


def page(folder: Path = FOLDER) -> str:
    """Return the page of a folder of folders of results.

    Raises:
        ValueError: If there are none, or something could not be read.
    """
    top, parts = ['## In short'], []
    for log in sorted(folder.glob('*/results.jsonl')):
        name = log.parent.name
        store = Store(log.parent)
        results = store.results()
        if store.problems or not results:
            raise ValueError('; '.join(store.problems) or f"'{log}' is empty")
        study = Study(results)
        about = log.with_name('README.md')
        if not about.is_file():
            raise SystemExit(f"'{about}' is missing: say what the results are")
        remark = about.read_text('utf-8').strip()
        first, *others = remark.split('\n\n')
        points = [
            f'- *{question}*: {answer}'
            for question, answer in study.in_short()
            if answer
        ]
        lines = [_wrapped(f'**{name}**: {first}'), *map(_wrapped, points)]
        top.append('\n'.join([lines[0], '', *lines[1:]]))
        parts += [f'## {name}', first, *others]
        for part, rows in study.tables().items():
            parts += [f'### {name}, {part}', _table(rows)]
        parts += [_wrapped(note) for note in study.notes]
    if not parts:
        raise ValueError(f"'{folder}' has no folder with 'results.jsonl'")
    return '\n\n'.join([HEAD.strip(), *top, *parts, FOOT.strip()]) + '\n'


def _table(rows: list[dict[str, str]]) -> str:
    """Return rows as Markdown, without columns that are empty."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    cells = [names, ['---'] * len(names)]
    cells += [[row[name] for name in names] for row in rows]
    return '\n'.join(f'| {" | ".join(row)} |' for row in cells)


def _on_gpu(runs: Sequence[Result]) -> str:
    """Return how many runs a GPU trained, if it trained any."""
    on_gpu = sum(run.environment.get('device', 'cpu') != 'cpu' for run in runs)
    if not on_gpu:
        return ''
    return ' (GPU)' if on_gpu == len(runs) else f' (GPU: {on_gpu})'


def _by_backbone(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key[1], []).append(key)
    return found


def _list(texts: list[str]) -> str:
    return f'{"; ".join(texts)}.' if texts else ''


def _unbroken(text: str) -> str:
    """Return a text whose intervals stay on one line."""
    return re.sub(
        r'[+-]\S+ %( \[[^]]*\])?',
        lambda found: found[0].replace(' ', '\N{NO-BREAK SPACE}'),
        text,
    )


def _wrapped(text: str) -> str:
    indent = '  ' if text.startswith('- ') else ''
    return textwrap.fill(
        text,
        80,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--folder', type=Path, default=FOLDER)
    parser.add_argument('--out', type=Path, default=PAGE)
    args = parser.parse_args(argv)
    try:
        text = page(args.folder)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    with open_atomic(args.out) as file:
        file.write(text.encode())
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
