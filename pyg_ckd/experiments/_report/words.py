"""Numbers and comparisons in words."""

from __future__ import annotations

from collections.abc import Sequence

from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.experiments.tables import p_value

#: How outcomes are marked.
KINDS = {
    'gain': 'gain',
    'loss': 'loss',
    'cut short': 'unsure',
    'not comparable': 'unsure',
}
#: A space at which no line breaks.
SPACE = '\u00a0'


def signed(text: str) -> str:
    """Return a text with minus signs in place of hyphens before numbers."""
    return text.replace('-', '−')


def percent(share: float) -> str:
    r"""Return a relative change.

    Example:
        >>> percent(-0.0512), percent(0.00001)
        ('−5.1\xa0%', '0.0\xa0%')
    """
    text = f'{100 * share:+.1f}{SPACE}%'
    return text[1:] if text[1:] == f'0.0{SPACE}%' else signed(text)


def interval(comparison: Comparison) -> str:
    r"""Return a change with its interval.

    Example:
        >>> interval(Comparison(-0.04, -0.06, -0.02, 0.01, 0.01, 3, 900))
        '−4.0\xa0% [−6.0, −2.0]'
    """
    return signed(str(comparison)).replace(' %', f'{SPACE}%')


def plural(number: int, what: str) -> str:
    """Return a number of things.

    Example:
        >>> plural(1, 'seed'), plural(1200, 'user')
        ('1 seed', '1,200 users')
    """
    return f'{number:,} {what}{"" if number == 1 else "s"}'


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    Example:
        >>> listed(['a', 'b', 'c']), listed(['a'])
        ('a, b and c', 'a')
    """
    *first, last = names
    return f'{", ".join(first)} and {last}' if first else last


def basis(comparison: Comparison) -> str:
    """Return what a comparison was made over.

    Example:
        >>> basis(Comparison(0.1, 0.0, 0.2, 0.1, None, 1, 1200))
        '1 seed, 1,200 users'
    """
    parts = [plural(comparison.num_seeds, 'seed')]
    if comparison.num_users:
        parts.append(plural(comparison.num_users, 'user'))
    return ', '.join(parts)


def changed(comparison: Comparison) -> str:
    r"""Return what changed, in a sentence without a verb.

    Example:
        >>> changed(Comparison(-0.04, -0.06, -0.02, 0.01, 0.01, 3, 900))
        'a loss of 4.0\xa0% [2.0, 6.0], significant'
    """
    if comparison.outcome == 'not tested':
        reason = comparison.reason or (
            'one seed without metrics of each user allows no test'
        )
        return f'not tested: {reason}'
    shown, scope = interval(comparison), comparison.scope
    if comparison.outcome == 'not comparable':
        text = f'not comparable ({", ".join(filter(None, [shown, scope]))})'
        return '; '.join([text, *comparison.remarks])
    if comparison.outcome == 'cut short':
        parts = ', '.join(filter(None, [f'{shown} so far', scope]))
        text = f'cut short, let it train on ({parts})'
        return '; '.join([text, *comparison.remarks])
    if comparison.outcome == 'loss':
        loss, low, high = (
            f'{-100 * value:.1f}'
            for value in (comparison.gain, comparison.high, comparison.low)
        )
        shown = f'a loss of {loss}{SPACE}% [{low}, {high}]'
    word = 'significant' if comparison.significant else 'not significant'
    text = ' '.join(filter(None, [f'{shown}, {word}', scope]))
    if comparison.doubt:
        text += f' ({comparison.doubt})'
    return '; '.join([text, *comparison.remarks])


def p_values(comparison: Comparison) -> dict[str, str]:
    """Return the p-values of a comparison by what they are over."""
    both = comparison.p if comparison.num_seeds > 1 else None
    return {
        'p over users': p_value(comparison.p_users),
        'p over seeds': p_value(comparison.p_seeds),
        'p over users and seeds': p_value(both),
        'p adjusted': p_value(comparison.p_adjusted),
    }
