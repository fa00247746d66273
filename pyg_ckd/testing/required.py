"""What a suite needs to be told."""

from __future__ import annotations


def require(case: type, name: str, example: str) -> None:
    """Raise an error if a test class lacks the attribute it is about.

    Classes that pytest does not collect, such as suites, may lack it.

    Args:
        case: The class that inherits from a suite.
        name: The attribute.
        example: What it may be.

    Example:
        >>> class TestMine:
        ...     objective = None
        >>> require(TestMine, 'objective', 'BPR()')
    """
    if case.__name__.startswith('Test') and not hasattr(case, name):
        raise TypeError(
            f"'{case.__name__}' does not say what it tests; give the class an "
            f"attribute '{name}', such as '{name} = {example}'"
        )
