import pytest
import torch
from contract_offers import violation

import zoo
from zoo.testing import check_optimizer


class Plain(torch.optim.Optimizer):
    """An optimizer that meets its contract: gradient descent."""

    def __init__(self, groups, **defaults):
        super().__init__(groups, {"lr": 0.1, **defaults})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, group)

    def move(self, parameter, group):
        parameter.sub_(group["lr"] * parameter.grad)


class NoOptimizer:
    def __init__(self, groups):
        self.param_groups = groups


class OneGroup(Plain):
    def __init__(self, groups):
        super().__init__(groups[:1])


class DropsAParameter(Plain):
    def __init__(self, groups):
        super().__init__([{**group, "params": group["params"][:1]} for group in groups])


class LosesScales(Plain):
    def __init__(self, groups):
        super().__init__([parameter for group in groups for parameter in group["params"]])


class KeepsItsRate(Plain):
    def move(self, parameter, group):
        parameter.sub_(0.01 * parameter.grad)


class ForgetsItsMomentum(Plain):
    """Its momentum is no part of its state."""

    def __init__(self, groups):
        super().__init__(groups)
        self.momenta = {}

    def move(self, parameter, group):
        momentum = self.momenta.setdefault(id(parameter), torch.zeros_like(parameter))
        momentum.mul_(0.9).add_(parameter.grad)
        parameter.sub_(group["lr"] * momentum)


class NeedsPickle(Plain):
    def move(self, parameter, group):
        self.state[parameter]["own"] = Holder()
        super().move(parameter, group)


class Holder:
    pass


class DecaysAll(Plain):
    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])


class NeedsClosure(Plain):
    def step(self, closure):
        with torch.enable_grad():
            closure()
        super().step()


class IgnoresClosure(Plain):
    pass


class NoAverage(Plain):
    def train(self):
        pass

    def eval(self):
        pass


class NoWayBack(NoAverage):
    @torch.no_grad()
    def eval(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(0.5)


class Climbs(Plain):
    def move(self, parameter, group):
        parameter.add_(group["lr"] * parameter.grad)


class Draws(Plain):
    def move(self, parameter, group):
        super().move(parameter, group)
        torch.rand(1)


class Seeds(Plain):
    def __init__(self, groups):
        torch.manual_seed(0)
        super().__init__(groups)


class ChangesSettings(Plain):
    def __init__(self, groups):
        torch.set_default_dtype(torch.float64)
        super().__init__(groups)


class Explodes(Plain):
    def move(self, parameter, group):
        parameter.fill_(float("nan"))


def spec(kind, **values):
    return zoo.OptimizerSpec(name="mine", build=lambda request: kind(request.groups), **values)


def test_a_good_optimizer_passes():
    check_optimizer(spec(Plain))
    check_optimizer(spec(NeedsClosure, closure=True))


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (NoOptimizer, {}, "it returned NoOptimizer, not a torch.optim.Optimizer"),
        (OneGroup, {}, "but its groups lack 2 of 3 parameters"),
        (DropsAParameter, {}, "but its groups lack 1 of 3 parameters"),
        (LosesScales, {}, "but its groups do not keep the 'lr_scale'"),
        (KeepsItsRate, {}, "step() must use the 'lr' that the group has at that moment"),
        (ForgetsItsMomentum, {}, "state_dict() must have all that decides the next steps"),
        (NeedsPickle, {}, "load_state_dict() with its saved state_dict() raised"),
        (DecaysAll, {}, "step() must not change a parameter that has no gradient"),
        (NeedsClosure, {}, "step() must work without a closure, or its spec must say closure=True"),
        (IgnoresClosure, {"closure": True}, "step() must call its closure"),
        (Plain, {"averages": True}, "it averages the weights but has no methods train() and eval()"),
        (NoAverage, {"averages": True}, "eval() must put the averaged weights into the parameters"),
        (NoWayBack, {"averages": True}, "eval() must change nothing the second time"),
        (Climbs, {}, "the loss of a quadratic function must fall in 40 steps"),
        (Draws, {}, "build() and step() must not draw from the global generators"),
        (Seeds, {}, "build() and step() must not draw from the global generators"),
        (ChangesSettings, {}, "must not change settings of the process; it changed torch's default type"),
        (Explodes, {}, "parameters must be finite after a step"),
    ],
)
def test_a_mistake_is_named(kind, values, sentence):
    message = violation(lambda: check_optimizer(spec(kind, **values)))
    assert message.startswith("optimizer mine: ")
    assert sentence in message
