"""Reverse-mode differentiation over mpmath numbers: each number keeps its parents and the partial derivatives."""

from itertools import count

from mpmath import exp, log, mpf

_order = count()


class Var:
    """A number, and what it was made of."""

    __slots__ = ("value", "parents", "order")

    def __init__(self, value, parents=()):
        self.value = mpf(value)
        self.parents = parents
        self.order = next(_order)

    def __add__(self, other):
        if isinstance(other, Var):
            return Var(self.value + other.value, ((self, mpf(1)), (other, mpf(1))))
        return Var(self.value + other, ((self, mpf(1)),))

    __radd__ = __add__

    def __mul__(self, other):
        if isinstance(other, Var):
            return Var(self.value * other.value, ((self, other.value), (other, self.value)))
        return Var(self.value * other, ((self, mpf(other)),))

    __rmul__ = __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        if not isinstance(other, Var):
            return self * (1 / mpf(other))
        quotient = self.value / other.value
        return Var(quotient, ((self, 1 / other.value), (other, -quotient / other.value)))

    def exp(self):
        value = exp(self.value)
        return Var(value, ((self, value),))

    def log(self):
        return Var(log(self.value), ((self, 1 / self.value),))

    def power(self, exponent):
        """For a base above 0."""
        exponent = mpf(exponent)
        slope = exponent * self.value ** (exponent - 1) if exponent else mpf(0)
        return Var(self.value**exponent, ((self, slope),))

    def magnitude(self):
        sign = (self.value > 0) - (self.value < 0)
        return Var(abs(self.value), ((self, mpf(sign)),))

    def at_least(self, floor):
        """The number, or a constant where it is not above the floor."""
        return self if self.value > mpf(floor) else Var(floor)


def total(parts):
    """Sum of numbers, some of which may be constants; a `Var` in any case."""
    result = Var(0)
    for part in parts:
        result = result + part
    return result


def gradient(output, inputs):
    """Partial derivatives of one number by each of the inputs."""
    reached, pending = {id(output): output}, [output]
    while pending:
        for parent, _ in pending.pop().parents:
            if id(parent) not in reached:
                reached[id(parent)] = parent
                pending.append(parent)
    adjoints = {id(output): mpf(1)}
    for node in sorted(reached.values(), key=lambda node: -node.order):
        adjoint = adjoints.get(id(node), mpf(0))
        for parent, partial in node.parents:
            adjoints[id(parent)] = adjoints.get(id(parent), mpf(0)) + adjoint * partial
    return [adjoints.get(id(x), mpf(0)) for x in inputs]
