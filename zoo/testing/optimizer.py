"""The contract of an optimizer."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import OptimizerRequest
from zoo.testing.contract import Contract, check_options, describe_random_states, is_close, seeded
from zoo.training.optimizer import optimizer_fault, set_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zoo.plugins.specs import OptimizerSpec

RATES = (1.0, 0.1, 0.01, 0.001)  # at one of which the loss has to fall
STEPS = 40
_FALL = 0.98  # share of the loss that may be left after them: Adadelta is slow
_SCALES = (1.0, 0.5)  # of the groups


@restore_random_states()
def check_optimizer(spec: OptimizerSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Checks an optimizer on a quadratic function of two groups of parameters.

    Args:
        spec: The optimizer.
        options: Values of its options; those that are missing keep their defaults.

    Raises:
        AssertionError: The optimizer violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"optimizer {spec.name}")
    trial = _Trial(contract, spec, check_options(contract, spec.options, options or {}))
    with seeded():
        _check_step(trial)
        rate = _check_progress(trial)
        _check_rates(trial, rate)
        _check_missing_gradient(trial, rate)
        if spec.averages:
            _check_average(trial, rate)
        _check_saving(trial, rate)


class _Trial:
    """Builds and runs the optimizer of a spec.

    Args:
        contract: Its contract.
        spec: The spec.
        options: An instance of its options.
    """

    def __init__(self, contract: Contract, spec: OptimizerSpec, options: Any) -> None:
        self.contract, self.spec, self._options = contract, spec, options
        self.require = contract.require

    def build(self, rate: float, *, weight_decay: float = 0.0) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
        """Returns a new optimizer, and its parameters: always the same values, a matrix in each of two groups."""
        generator = torch.Generator().manual_seed(1)
        parameters = [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((6, 4), (5, 4), (4,))]
        groups: list[dict[str, Any]] = [
            {"params": members, "weight_decay": weight_decay, "lr_scale": scale, "lr": rate * scale}
            for members, scale in zip((parameters[:1], parameters[1:]), _SCALES, strict=True)
        ]
        given = [dict(group, params=[*group["params"]]) for group in groups]
        request = OptimizerRequest(groups=given, lr=rate, momentum=0.9, options=self._options)
        with self.contract.calling(f"build({request!r:.80})"):
            optimizer: Any = resolve_callable(self.spec.build)(request)
        fault = optimizer_fault(optimizer, groups, averages=self.spec.averages)
        self.require(not fault, f"build() must return a torch.optim.Optimizer of all groups, but {fault}")
        if self.spec.averages:
            with self.contract.calling("train()"):
                optimizer.train()
        return optimizer, parameters

    def step(self, optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], *, without: int = -1) -> float:
        """Takes a step on the quadratic function, and returns its value before.

        Args:
            optimizer: The optimizer.
            parameters: Its parameters.
            without: The number of a parameter that gets no gradient.
        """
        values: list[float] = []

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = quadratic([each for number, each in enumerate(parameters) if number != without])
            loss.backward()
            values.append(float(loss.detach()))
            return loss

        if self.spec.closure:
            with self.contract.calling("step() with a closure"):
                optimizer.step(closure)  # type: ignore[arg-type]
            self.require(bool(values), "step() must call its closure, as its spec says closure=True")
            return values[0]
        closure()
        try:
            with self.contract.calling("step()"):
                optimizer.step()
        except AssertionError as error:
            self.require(
                not isinstance(error.__cause__, TypeError),
                f"step() must work without a closure, or its spec must say closure=True ({error.__cause__})",
            )
            raise
        return values[0]


def quadratic(parameters: Sequence[Tensor]) -> Tensor:
    """Returns a convex function of parameters, whose minimum is 0 where all of them are 3."""
    terms = [(1 + number) * (parameter - 3).square().mean() for number, parameter in enumerate(parameters)]
    return torch.stack(terms).sum()


def _check_step(trial: _Trial) -> None:
    torch.rand(5)  # so that a seed of 0 shows, too
    before = describe_random_states(torch.device("cpu"))
    optimizer, parameters = trial.build(RATES[-1])
    trial.step(optimizer, parameters)
    after = describe_random_states(torch.device("cpu"))
    trial.require(after == before, "build() and step() must not draw from the global generators, nor seed them")
    finite = all(bool(parameter.isfinite().all()) for parameter in parameters)
    trial.require(finite, "parameters must be finite after a step")


def _check_progress(trial: _Trial) -> float:
    """Returns the rate at which the loss of a quadratic function falls most."""
    falls: dict[float, float] = {}
    for rate in RATES:
        optimizer, parameters = trial.build(rate)
        first = trial.step(optimizer, parameters)
        for _ in range(STEPS):
            trial.step(optimizer, parameters)
        _switch(trial, optimizer, "eval")
        last = float(quadratic(parameters).detach())
        falls[rate] = last / first if last == last else float("inf")
    best = min(falls, key=lambda rate: falls[rate])
    shares = ", ".join(f"{share:.2f} of it left at a rate of {rate:g}" for rate, share in falls.items())
    trial.require(falls[best] < _FALL, f"the loss of a quadratic function must fall in {STEPS} steps; {shares}")
    return best


def _check_rates(trial: _Trial, rate: float) -> None:
    optimizer, parameters = trial.build(rate)
    set_rate(optimizer, rate)
    still = parameters[1].detach().clone()
    moving = parameters[0].detach().clone()
    for group in optimizer.param_groups:
        if any(parameter is parameters[1] for parameter in group["params"]):
            group["lr"] = 0.0
    for _ in range(3):  # some only collect in the first
        trial.step(optimizer, parameters)
    trial.require(
        is_close(parameters[1].detach(), still),
        "step() must use the 'lr' that the group has at that moment: at 0 its parameters must not change",
    )
    trial.require(not torch.equal(parameters[0], moving), "step() must change the parameters of every group")


def _check_missing_gradient(trial: _Trial, rate: float) -> None:
    optimizer, parameters = trial.build(rate, weight_decay=0.1)
    before = parameters[2].detach().clone()
    for _ in range(2):
        trial.step(optimizer, parameters, without=2)
    trial.require(torch.equal(parameters[2], before), "step() must not change a parameter that has no gradient")


def _check_average(trial: _Trial, rate: float) -> None:
    optimizer, parameters = trial.build(rate)
    for _ in range(5):
        trial.step(optimizer, parameters)
    trained = [parameter.detach().clone() for parameter in parameters]
    _switch(trial, optimizer, "eval")
    averaged = [parameter.detach().clone() for parameter in parameters]
    trial.require(
        not all(map(torch.equal, averaged, trained)), "eval() must put the averaged weights into the parameters"
    )
    _switch(trial, optimizer, "eval")
    trial.require(all(map(torch.equal, averaged, parameters)), "eval() must change nothing the second time")
    _switch(trial, optimizer, "train")
    trial.require(all(map(is_close, parameters, trained)), "train() must put the weights to train back")


def _check_saving(trial: _Trial, rate: float) -> None:
    """Checks that training goes on in the same way after its state was saved and loaded."""
    optimizer, parameters = trial.build(rate, weight_decay=0.01)
    for _ in range(3):
        trial.step(optimizer, parameters)
    _switch(trial, optimizer, "eval")  # checkpoints are written after an evaluation, too
    fresh, copies = trial.build(rate, weight_decay=0.01)
    with torch.no_grad():
        for copy, parameter in zip(copies, parameters, strict=True):
            copy.copy_(parameter)
    with trial.contract.calling("load_state_dict() with its saved state_dict()"):
        fresh.load_state_dict(_through_file(optimizer.state_dict()))
    for each in (optimizer, fresh):
        _switch(trial, each, "train")
    for _ in range(3):
        trial.step(optimizer, parameters)
        trial.step(fresh, copies)
    trial.require(
        all(map(torch.equal, parameters, copies)),
        "state_dict() must have all that decides the next steps: after load_state_dict() they differ",
    )


def _through_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def _switch(trial: _Trial, optimizer: torch.optim.Optimizer, mode: str) -> None:
    if trial.spec.averages:
        switch: Callable[[], object] = getattr(optimizer, mode)
        with trial.contract.calling(f"{mode}()"):
            switch()
