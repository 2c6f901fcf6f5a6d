"""From a program of JAX to a graph of OpenVINO, equation by equation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from autofuse_jax.deployment import arithmetic, gathers, indexing, layout, products, reductions
from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.unsupported import first_line, unsupported
from autofuse_jax.deployment.values import Value, in_order, of_array, single_number

# Primitive: (operands, its parameters, shapes and types of the results) -> one value a result.
HANDLERS: dict[str, Callable[..., Sequence[Value]]] = {
    **arithmetic.HANDLERS,
    **gathers.HANDLERS,
    **indexing.HANDLERS,
    **layout.HANDLERS,
    **products.HANDLERS,
    **reductions.HANDLERS,
}
# Primitives that are nothing but another program, and where they keep it.
INLINED = {
    'jit': 'jaxpr',
    'pjit': 'jaxpr',
    'closed_call': 'call_jaxpr',
    'core_call': 'call_jaxpr',
    'custom_jvp_call': 'call_jaxpr',
    'custom_vjp_call': 'call_jaxpr',
    'remat2': 'jaxpr',
    'checkpoint': 'jaxpr',
}


def to_graph(
    function: Callable[..., dict[str, jax.Array]], inputs: Mapping[str, jax.ShapeDtypeStruct]
) -> openvino.Model:
    """Convert a function to a graph.

    Args:
        function: Traceable function from arrays to arrays by name; what it closes over becomes part of the graph.
        inputs: Shape and type of each argument by the name that it gets, in the order of the arguments.

    Returns:
        The graph. Its results have the names of the function's and the axes as in JAX.

    Raises:
        UserError: An operation has no counterpart; says which.
    """
    program, structure = jax.make_jaxpr(function, return_shape=True)(*inputs.values())
    parameters = [ops.parameter(entry.shape, np.dtype(entry.dtype), name=name) for name, entry in inputs.items()]
    for name, parameter in zip(inputs, parameters, strict=True):
        parameter.output(0).set_names({name})
    arguments = [Value(entry.output(0), tuple(range(len(entry.shape))), tuple(entry.shape)) for entry in parameters]
    results = []
    for name, value in zip(sorted(structure), run_program(program, arguments), strict=True):
        tensor = in_order(value)
        results.append(ops.result(tensor, name=name))
        # The name by which other programs find a result; an input that is a result keeps its own.
        if tensor not in (parameter.output(0) for parameter in parameters):
            results[-1].output(0).get_tensor().add_names({name})
    return openvino.Model(results, parameters, 'registration')


def run_program(program: core.ClosedJaxpr | core.Jaxpr, arguments: Sequence[Value]) -> list[Value]:
    """Add a program to a graph.

    Args:
        program: Program, closed; a plain jaxpr without constants will do.
        arguments: One value for each of its inputs.

    Returns:
        One value for each of its outputs.

    Raises:
        UserError: An operation has no counterpart; says which.
    """
    jaxpr, constants = (program.jaxpr, program.consts) if isinstance(program, core.ClosedJaxpr) else (program, [])
    values: dict[Any, Value | _Constant] = dict(zip(jaxpr.invars, arguments, strict=True))
    values |= {variable: _Constant(array) for variable, array in zip(jaxpr.constvars, constants, strict=True)}

    def read(atom: Any) -> Value:
        if isinstance(atom, core.Literal):
            shaped: Any = atom.aval
            return of_array(np.asarray(atom.val, shaped.dtype))
        value = values[atom]
        if isinstance(value, _Constant):
            value = values[atom] = of_array(np.asarray(value.array))
        return value

    for equation in _live_equations(jaxpr):
        if not _has_counterpart(equation.primitive.name):
            raise unsupported(equation.primitive.name)
        operands = [read(atom) for atom in equation.invars]
        try:
            results = _run_equation(equation, operands)
        except RuntimeError as error:
            raise unsupported(equation.primitive.name, f'in a way that it refuses ({first_line(error)})') from error
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


class _Constant:
    """An array that is not in the graph yet, and may never be."""

    def __init__(self, array: Any):
        self.array = array


def _live_equations(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
    """Return the equations on which the outputs depend, in order."""
    variables = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if variables.intersection(equation.outvars):
            equations.append(equation)
            variables |= {atom for atom in equation.invars if not isinstance(atom, core.Literal)}
    return equations[::-1]


def _has_counterpart(name: str) -> bool:
    return any(name in table for table in (INLINED, CONTROL, HANDLERS))


def _run_equation(equation: core.JaxprEqn, operands: list[Value]) -> Sequence[Value]:
    name, parameters = equation.primitive.name, equation.params
    if name in INLINED:
        return run_program(parameters[INLINED[name]], operands)
    if name in CONTROL:
        return CONTROL[name](operands, parameters)
    return HANDLERS[name](operands, parameters, [variable.aval for variable in equation.outvars])


def _platform_index(operands: list[Value], parameters: dict[str, Any]) -> Sequence[Value]:
    # Ways around the slow kernels of XLA for one platform are of no use here: this runtime has kernels of its own.
    return [of_array(np.int32(parameters['platforms'].index(None)))]


def _branch(operands: list[Value], parameters: dict[str, Any]) -> Sequence[Value]:
    which, *operands = operands
    index = single_number(which.tensor)
    if index is None:
        raise unsupported('cond', 'on a value that the images decide')
    branches = parameters['branches']
    return run_program(branches[int(np.clip(index, 0, len(branches) - 1))], operands)


def _loop(operands: list[Value], parameters: dict[str, Any]) -> Sequence[Value]:
    """Write a loop out, step after step; its length is known."""
    num_fixed, num_carried, length = (parameters[key] for key in ('num_consts', 'num_carry', 'length'))
    fixed, carried = operands[:num_fixed], operands[num_fixed : num_fixed + num_carried]
    scanned = operands[num_fixed + num_carried :]
    stacked: dict[int, Sequence[Value]] = {}
    for step in reversed(range(length)) if parameters['reverse'] else range(length):
        entries = [indexing.entry(value, step) for value in scanned]
        outputs = run_program(parameters['jaxpr'], [*fixed, *carried, *entries])
        carried, stacked[step] = outputs[:num_carried], outputs[num_carried:]
    columns = zip(*(stacked[step] for step in range(length)), strict=True)
    return [*carried, *(layout.stack(column, 0) for column in columns)]


CONTROL = {'platform_index': _platform_index, 'cond': _branch, 'scan': _loop}
