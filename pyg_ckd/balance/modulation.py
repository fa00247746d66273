"""Which parameters serve which modality, and a change of their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance.dependence import check_dependence, check_modalities
from pyg_ckd.graph import modalities
from pyg_ckd.kernels.arguments import check_number
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.door import Foreign

#: For each modality, what parameters are called that serve it alone.
Names = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Modulation:
    """Multiplies the gradients of the parameters of each modality.

    Args:
        parameters (dict[str, list[torch.nn.Parameter]]): The parameters that
            serve each modality alone.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> weight.sum().backward()
        >>> Modulation({'text': [weight]}).multiply(torch.tensor([0.5]))
        >>> weight.grad
        tensor([0.5000, 0.5000])
    """

    parameters: Mapping[str, Sequence[nn.Parameter]]

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        data: HeteroData,
        names: Names | None,
        owner: str,
    ) -> Modulation:
        """Find the parameters of each modality.

        They are those that the recommender says, unless they are named.

        Args:
            recommender: The recommender.
            data: The user-item graph.
            names: What the parameters of each modality are called in the
                module that the user has made, whole names or the first parts
                of them: ``'encoder'`` stands for ``'encoder.weight'``, too.
            owner: Who asks, for messages.

        Raises:
            ValueError: If there are fewer than two modalities, the scores do
                not depend on one, one has no parameters, a name is unknown,
                or a parameter serves two modalities.
        """
        check_modalities(data, owner)
        check_dependence(recommender, data, owner)
        known = modalities(data)
        if names is None:
            found = {m: recommender.modality_parameters(m) for m in known}
        else:
            found = _named(recommender, known, names, owner)
        own = _own_names(recommender)
        parts = list(dict.fromkeys(name.split('.')[0] for name in own))
        wanted = ', '.join(f"'{m}': [...]" for m in known)
        how = (
            f'Name those of each modality, {owner}(parameters={{{wanted}}}), '
            f'by whole names or the first parts of these: {parts}'
        )
        for m, parameters in found.items():
            if not any(p.requires_grad for p in parameters):
                raise ValueError(
                    f"'{owner}' changes the gradients of the parameters that "
                    f'serve one modality, but {recommender.name} has none of '
                    f"'{m}' that are trained. {how}"
                )
        owned: dict[int, str] = {}
        for m, parameters in found.items():
            for parameter in parameters:
                other = owned.setdefault(id(parameter), m)
                if other != m:
                    name = _name_of(recommender, parameter)
                    raise ValueError(
                        f"The parameter '{name}' of {recommender.name} serves "
                        f"'{other}' and '{m}', so that '{owner}' cannot tell "
                        f'by which factor to multiply its gradient. '
                        + (f'{how}. ' if names is None else '')
                        + 'Leave out those that are shared'
                    )
        return cls(found)

    def multiply(self, factor: Tensor, noise: bool = False) -> None:
        """Multiply the gradients that are there.

        Args:
            factor: The factor of each modality, ``[M]``.
            noise: Whether to add Gaussian noise with the standard deviation
                that each gradient tensor had before. One of a single element
                has none.
        """
        with torch.no_grad():
            pairs = zip(self.parameters.values(), factor, strict=True)
            for parameters, number in pairs:
                for grad in (p.grad for p in parameters):
                    if grad is None:
                        continue
                    spread = grad.std() if noise and grad.numel() > 1 else None
                    grad.mul_(number.to(grad.dtype))
                    if spread is not None:
                        grad.add_(torch.randn_like(grad) * spread)


def checked_names(
    alpha: float, parameters: Names | None, owner: str
) -> dict[str, list[str]] | None:
    """Return the names of parameters, in an order that is always the same.

    Args:
        alpha: How much gradients change.
        parameters: The names for each modality, if any are given.
        owner: Whose settings these are, for messages.

    Raises:
        ValueError: If ``alpha`` is negative, or ``parameters`` is no
            dictionary of lists.

    Example:
        >>> checked_names(0.5, {'text': ('encoder',)}, 'AGM')
        {'text': ['encoder']}
    """
    check_number(owner, 'at least 0', alpha=alpha)
    if parameters is None:
        return None
    if not isinstance(parameters, Mapping):
        raise ValueError(
            f"'parameters' of '{owner}' needs a dictionary such as "
            f"{{'text': ['encoder_text']}}, a list of names for each modality "
            f'(got {parameters!r})'
        )
    for m, names in parameters.items():
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise ValueError(
                f"'parameters' of '{owner}' needs a list of names for '{m}', "
                f"such as ['encoder_{m}'] (got {names!r})"
            )
    return {m: list(parameters[m]) for m in sorted(parameters)}


def _own_names(recommender: Recommender) -> dict[str, nn.Parameter]:
    """Return parameters by the names that they have for the user."""
    module = recommender
    own = module.module if isinstance(module, Foreign) else module
    return dict(own.named_parameters(remove_duplicate=False))


def _name_of(recommender: Recommender, parameter: nn.Parameter) -> str:
    named = _own_names(recommender).items()
    return next(name for name, other in named if other is parameter)


def _named(
    recommender: Recommender,
    modalities: Sequence[str],
    names: Names,
    owner: str,
) -> dict[str, list[nn.Parameter]]:
    """Return the parameters that are named."""
    if set(names) != set(modalities):
        raise ValueError(
            f"'parameters' of '{owner}' needs the names of the parameters of "
            f'each of {list(modalities)} (got {sorted(names)})'
        )
    own = _own_names(recommender)
    found: dict[str, list[nn.Parameter]] = {}
    for m in modalities:
        chosen: dict[int, nn.Parameter] = {}
        for name in names[m]:
            matches = {
                id(parameter): parameter
                for full, parameter in own.items()
                if full == name or full.startswith(f'{name}.')
            }
            if not matches:
                raise ValueError(
                    f"'parameters' of '{owner}' names '{name}' for '{m}', but "
                    f'{recommender.name} has the parameters {list(own)}'
                )
            chosen |= matches
        found[m] = list(chosen.values())
    return found
