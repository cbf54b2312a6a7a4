"""A compiled step as a module of its own: its source, with state in plain dictionaries.

The text is that of `CompiledStep.source`. What it says of Tensors and optimisers is put
in other words, place by place in the parsed text, so that comments stay:
``W_tensor._value`` becomes ``parameters["W"]``, ``adam._states[0]`` becomes
``adam.states[0]``, and ``adam.rate(adam.steps)`` becomes ``adam.lr``.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.checks import Finite
from tinygrad_nn.compiler.inlined import Inlined
from tinygrad_nn.compiler.literals import literal, nested, plain, quoted, unique
from tinygrad_nn.compiler.step import CompiledStep
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import REGISTRY, Node
from tinygrad_nn.rewriting.program import Argument
from tinygrad_nn.tensor import Tensor

__all__ = ["step_module"]

_OURS = (
    *("FILE", "Path", "SimpleNamespace", "data", "expect", "expect_finite", "file"),
    *("gradients", "json", "np", "os", "parameters", "partial", "save", "step"),
    "stored",
)
"""Names that the module needs for itself; what the source calls so is renamed."""

_EXPECT = '''\
def expect(x, name, shape, dtype):
    """Return an argument as an array, if the step was written for its kind."""
    x = np.asarray(x)
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(f"{name}: expected {dtype} {shape}; got {x.dtype} {x.shape}")
    return x
'''

_EXPECT_FINITE = '''\
def expect_finite(where, value):
    """Refuse a value that is nan or infinite."""
    if not np.isfinite(value).all():
        raise FloatingPointError(f"{where}: expected finite numbers; got nan or inf")
'''


def step_module(
    compiled: CompiledStep, stem: str, arguments: tuple[Any, ...], settings: Any
) -> tuple[str, dict[str, Any]]:
    """Return the text of the module, and the arrays of the file beside it.

    Raises
    ------
    CompileError
        For a step that was not called, that is another program at its next call, or
        that needs what is not NumPy.
    """
    return _Module(_ready(compiled, arguments, settings), compiled, stem).run()


def _ready(compiled: CompiledStep, arguments: tuple[Any, ...], settings: Any) -> Any:
    """Return the program to export, as it is run by NumPy."""
    given = bool(arguments or settings)
    if given:
        compiled.trace(*arguments, **settings)
    last = compiled._last
    if last is None:
        raise CompileError(
            "export_numpy: a compiled step is exported as it was called last; got one "
            f"that was not. Call it, or pass its arguments: "
            f'tg.export_numpy("step.py", {_name(compiled)}, …)'
        )
    last = last.careful or last
    if hasattr(last.runner, "_namespace") and "def step(" in last.runner.source:
        return last
    if not given:
        arguments = _last_arguments(compiled, last)
    twin = CompiledStep(compiled._function, exact=compiled._exact)
    return twin.trace(*arguments, **settings)._last


def _last_arguments(compiled: CompiledStep, last: Any) -> tuple[Any, ...]:
    """Return the arrays on which a step was traced, if it took nothing else."""
    keys = [key for key, steps in compiled._known.items() if _holds(steps, last)]
    parts = [part for key in keys for part in key if isinstance(part, tuple)]
    if any(len(part) < 2 or not isinstance(part[1], np.dtype) for part in parts):
        raise CompileError(
            "export_numpy: a step of another backend is recorded anew as NumPy; got no "
            "arguments, and it takes more than arrays. Pass them: "
            f'tg.export_numpy("step.py", {_name(compiled)}, …)'
        )
    return tuple(_arguments(last.program))


def _holds(steps: Sequence[Any], last: Any) -> bool:
    return any(step is last or step.careful is last for step in steps)


def _arguments(program: Any) -> list[Any]:
    """Return the arrays that a program was recorded on, in order."""
    found = {
        place.index: leaf._value
        for leaf, place in program.places.items()
        if isinstance(place, Argument)
    }
    return [found[i] for i in sorted(found)]


class _Edit(NamedTuple):
    """Other words for a stretch of the text."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


class _Module:
    """Puts one step in other words."""

    def __init__(self, step: Any, compiled: CompiledStep, stem: str) -> None:
        self.step = step
        self.title = plain(_name(compiled))
        self.stem = stem
        self.taken = set(_OURS)
        self.source, self.namespace = self._renamed()
        self.tree = ast.parse(self.source)
        self.objects: dict[str, Any] = {}
        self.edits: list[_Edit] = []
        self.arrays: dict[str, Any] = {}
        self.keys: dict[int, str] = {}
        self.taken_keys: set[str] = set()
        self.tensors: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        self.optimizers: dict[str, Any] = {}
        self.generators: dict[str, Any] = {}
        self.inlined = Inlined(self.taken, self._hold)
        self.state_lines: list[str] = []
        self.object_lines: list[str] = []

    def run(self) -> tuple[str, dict[str, Any]]:
        body, after = self._functions()
        self._refuse_another_program(after)
        self._find_objects()
        for optimizer in self.optimizers.values():
            for tensor in optimizer.parameters:
                self.key(tensor)
        self._read_tensors(body)
        self._refuse_shared_memory()
        self._objects()
        self._states()
        return self._text(body), self.arrays

    def _functions(self) -> tuple[ast.FunctionDef, ast.FunctionDef]:
        found = {x.name: x for x in self.tree.body if isinstance(x, ast.FunctionDef)}
        return found["step"], found["after"]

    # --- what the text refers to ---

    def _find_objects(self) -> None:
        """Sort the objects that the text refers to, and does not make itself."""
        _, after = self._functions()
        made = {
            x.id
            for line in self.tree.body
            for x in ast.walk(line)
            if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
        }
        imported = {
            alias.asname or alias.name
            for line in self.tree.body
            if isinstance(line, (ast.Import, ast.ImportFrom))
            for alias in line.names
        }
        before = [line for line in self.tree.body if line is not after]
        wanted = {
            x.id
            for line in before
            for x in ast.walk(line)
            if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)
        }
        for name, value in self.namespace.items():
            known = name in made or name in imported or name in ("step", "after")
            if name in wanted and not known:
                self.objects[name] = value
        for name, value in self.objects.items():
            if _is_optimizer(value):
                self.optimizers[name] = value
            elif isinstance(value, np.random.Generator):
                self.generators[name] = value

    def key(self, tensor: Any, wanted: str = "parameter") -> str:
        """Return the name under which the files know a Tensor."""
        known = self.keys.get(id(tensor))
        if known is None:
            name = graph.name(tensor) or wanted
            known = self.keys[id(tensor)] = unique(name, self.taken_keys)
        return known

    def _read_tensors(self, body: ast.AST) -> None:
        """Say differently what belongs to Tensors and optimisers."""
        seen: set[int] = set()
        for node in ast.walk(body):
            if isinstance(node, ast.Call) and self._is_rate(node.func):
                self._rate(node)
            if not isinstance(node, ast.Attribute):
                continue
            if not isinstance(node.value, ast.Name):
                continue
            value = self.objects.get(node.value.id)
            if isinstance(value, Node):
                seen.add(id(node.value))
                self._tensor(node, value)
            elif node.value.id in self.optimizers:
                seen.add(id(node.value))
                if node.attr == "_states":
                    self._edit(node, f"{node.value.id}.states")
        for node in ast.walk(body):
            known = isinstance(node, ast.Name) and self.objects.get(node.id)
            if isinstance(known, Node) and id(node) not in seen:
                raise CompileError(
                    "export_numpy: an exported step reads values; got one that handles "
                    f"the Tensor {graph.name(known)!r} itself. Please report it"
                )

    def _tensor(self, node: ast.Attribute, tensor: Any) -> None:
        key = self.key(tensor)
        if node.attr in ("_grad", "grad"):
            self.gradients[key] = tensor
            self._edit(node, f"gradients[{quoted(key)}]")
            return
        self.tensors[key] = tensor
        self._edit(node, f"{_group(tensor)}[{quoted(key)}]")

    def _is_rate(self, function: ast.expr) -> bool:
        return (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id in self.optimizers
            and function.attr == "rate"
        )

    def _rate(self, call: ast.Call) -> None:
        function = call.func
        assert isinstance(function, ast.Attribute)  # noqa: S101 (see _is_rate)
        assert isinstance(function.value, ast.Name)  # noqa: S101 (see _is_rate)
        name = function.value.id
        if self.optimizers[name]._schedule is None:
            self._edit(call, f"{name}.lr")

    def _refuse_another_program(self, after: ast.FunctionDef) -> None:
        """A step that leaves a gradient for its next call is another one there."""
        spent: dict[int, bool] = {}
        for line in after.body:
            if not isinstance(line, ast.Assign) or not isinstance(
                line.targets[0], ast.Attribute
            ):
                continue
            target, value = line.targets[0], line.value
            if target.attr == "_spent" and isinstance(value, ast.Constant):
                assert isinstance(target.value, ast.Name)  # noqa: S101 (as written)
                spent[id(self.namespace[target.value.id])] = bool(value.value)
        for leaf, waits in self.step.pending:
            if id(leaf) in spent and spent[id(leaf)] is waits:
                raise CompileError(
                    "export_numpy: an exported step is the same at every call; got one "
                    f"that is another when the gradient of {graph.name(leaf)!r} waits. "
                    "Call the compiled step until its program stays, or let it consume "
                    "the gradients that it computes"
                )

    def _refuse_shared_memory(self) -> None:
        found = list(self.tensors.items())
        for i, (key, tensor) in enumerate(found):
            for other, twin in found[:i]:
                if np.shares_memory(tensor._value, twin._value):
                    raise CompileError(
                        "export_numpy: arrays of their own are saved; got "
                        f"{other!r} and {key!r}, which share memory. Use one Tensor"
                    )

    # --- text ---

    def _edit(self, node: Any, text: str) -> None:
        start = (node.lineno, node.col_offset)
        self.edits.append(_Edit(start, (node.end_lineno, node.end_col_offset), text))

    def _renamed(self) -> tuple[str, dict[str, Any]]:
        """Return the source, where nothing is called like a part of the module."""
        self.source = self.step.runner.source
        tree = ast.parse(self.source)
        names = [x for x in ast.walk(tree) if isinstance(x, (ast.Name, ast.arg))]
        self.edits = []
        used = {x.id if isinstance(x, ast.Name) else x.arg for x in names}
        self.taken |= used
        kept = {"np", "step"}
        others = {
            name: unique(f"{name}_", self.taken) for name in used & {*_OURS} - kept
        }
        for x in names:
            name = x.id if isinstance(x, ast.Name) else x.arg
            if name in others:
                self._edit(x, others[name])
        count = self.source.count("\n")
        source = "\n".join(self._edited(1, count)) + "\n"
        self.edits = []
        namespace = self.step.runner._namespace
        return source, {others.get(k, k): value for k, value in namespace.items()}

    def _edited(self, first: int, last: int) -> list[str]:
        """Return lines of the source, counted from 1, in other words."""
        lines = [line.encode() for line in self.source.splitlines()]
        taken: set[tuple[int, int]] = set()
        for edit in sorted(self.edits, key=lambda e: (e.start, e.end), reverse=True):
            (row, start), (_, end) = edit.start, edit.end
            if edit.start in taken:
                continue  # a part of what has other words already
            line = lines[row - 1]
            lines[row - 1] = line[:start] + edit.text.encode() + line[end:]
            taken.add(edit.start)
        return [line.decode() for line in lines[first - 1 : last]]

    # --- objects ---

    def _hold(self, value: Any, wanted: str) -> str:
        """Return the name of an array that is kept in the file beside the text."""
        name = unique(wanted, self.taken)
        self._keep(name, value)
        return name

    def _keep(self, name: str, value: np.ndarray) -> None:
        if value.dtype.hasobject:
            raise CompileError(
                "export_numpy: an exported module holds numbers; got an array of "
                f"objects, {name!r}. Make it an array of floats"
            )
        self.arrays[f"constants/{name}"] = value
        kind = f"{value.dtype} {value.shape}"
        self.object_lines.append(f'{name} = stored["constants/{name}"]  # {kind}')

    def _objects(self) -> None:
        """Write everything else that the text refers to."""
        finite = False
        for name, value in self.objects.items():
            if isinstance(value, Node):
                continue
            if name in self.optimizers or name in self.generators:
                continue
            if isinstance(value, Finite):
                finite = True
                self.object_lines.append(
                    f"{name} = partial(expect_finite, {_told(value.node)!r})"
                )
                continue
            if isinstance(value, np.ndarray) and literal(value) is None:
                self._keep(name, value)
                continue
            self._named(name, value)
        if finite:
            self.inlined.imports.append("from functools import partial")
            self.inlined.lines += [*_EXPECT_FINITE.splitlines(), "", ""]

    def _named(self, name: str, value: Any) -> None:
        """Write an object under the name that the text has for it."""
        op = next((op for op in REGISTRY.values() if op.body is value), None)
        if op is not None:
            value = op.call if hasattr(op.call, "op") else op.function
        who = f"the step {self.title!r}"
        self.taken.discard(name)
        text = self.inlined.text(value, name, who)
        self.taken.add(name)
        if text != name:
            self.object_lines.append(f"{name} = {text}")

    def _states(self) -> None:
        """Write where parameters, optimisers and generators are kept."""
        lines = self.state_lines
        ordered = sorted(self.tensors, key=list(self.keys.values()).index)
        for group in ("parameters", "data"):
            chosen = [key for key in ordered if _group(self.tensors[key]) == group]
            if not chosen:
                continue
            lines.append(f"{group} = {{")
            for key in chosen:
                value = self.tensors[key].numpy()
                self.arrays[f"{group}/{key}"] = value
                kind = f"{value.dtype} {value.shape}"
                stored = quoted(f"{group}/{key}")
                lines.append(f"    {quoted(key)}: stored[{stored}],  # {kind}")
            lines.append("}")
        if self.gradients:
            lines.append("gradients = {")
            for key, tensor in self.gradients.items():
                if tensor.grad is not None:
                    stored = f"gradients/{key}"
                    self.arrays[stored] = tensor.grad
                    lines.append(f"    {quoted(key)}: stored[{quoted(stored)}],")
            lines.append("}")
        for name, optimizer in self.optimizers.items():
            self._optimizer(name, optimizer)
        for name, rng in self.generators.items():
            self._generator(name, rng)

    def _optimizer(self, name: str, optimizer: Any) -> None:
        keys = tuple(self.key(tensor) for tensor in optimizer.parameters)
        state = optimizer.state()
        parts = []
        for slot in optimizer.slots:
            values = [state[f"parameters.{i}.{slot}"] for i in range(len(keys))]
            numbers = [isinstance(x, (int, float)) for x in values]
            arrays = [isinstance(x, np.ndarray) for x in values]
            if not all(numbers) and not all(arrays):
                raise CompileError(
                    "export_numpy: what an optimiser remembers is arrays or numbers; "
                    f"got {type(values[0]).__name__} as {slot!r} of {name!r}"
                )
            for key, value in zip(keys, values, strict=True):
                self.arrays[f"{name}/{key}/{slot}"] = value
            item = ".item()" if all(numbers) else ""
            parts.append(f'stored[f"{name}/{{key}}/{slot}"]{item}')
        self.arrays[f"{name}/steps"] = optimizer.steps
        lines = [f"{name} = SimpleNamespace("]
        if optimizer._schedule is None:
            self.arrays[f"{name}/lr"] = optimizer.lr
            lines.append(f'    lr=stored["{name}/lr"].item(),')
        else:
            who = f"the learning rate of {name!r}"
            rate = self.inlined.text(optimizer._schedule, f"{name}_rate", who)
            lines.append(f"    rate={rate},")
        slots = ", ".join(map(quoted, optimizer.slots))
        tail = "," if len(parts) == 1 else ""
        lines += [
            f'    steps=stored["{name}/steps"].item(),',
            "    keys=(",
            *(f"        {quoted(key)}," for key in keys),
            "    ),",
            f"    slots=({slots}{tail}),",
            ")",
        ]
        if not parts:
            lines.append(f"{name}.states = [() for key in {name}.keys]")
        else:
            lines += [
                f"{name}.states = [",
                "    (",
                *(f"        {part}," for part in parts),
                "    )",
                f"    for key in {name}.keys",
                "]",
            ]
        self.state_lines += lines

    def _generator(self, name: str, rng: Any) -> None:
        kind = type(rng.bit_generator)
        if getattr(np.random, kind.__name__, None) is not kind:
            raise CompileError(
                "export_numpy: a generator is one of NumPy's; got "
                f"{kind.__name__}. Make it with np.random.default_rng(seed)"
            )
        self.arrays[name] = json.dumps(rng.bit_generator.state, default=_as_list)
        self.state_lines += [
            f"{name} = np.random.Generator(np.random.{kind.__name__}())",
            f'{name}.bit_generator.state = json.loads(stored["{name}"].item())',
        ]

    # --- the whole ---

    def _text(self, body: ast.FunctionDef) -> str:
        preamble = [
            line
            for line in self.tree.body
            if isinstance(line, (ast.Assign, ast.Expr))
            and not isinstance(getattr(line, "value", None), ast.Constant)
        ]
        imports = [
            ast.unparse(line)
            for line in self.tree.body
            if isinstance(line, ast.ImportFrom) and line.module == "numpy"
        ]
        names = [x.arg for x in body.args.args]
        start = min((line.lineno for line in preamble), default=body.lineno)
        text = [*self._docstring(names), "", *self._imports()]
        text += ["", "import numpy as np", *imports, ""]
        if self.arrays:
            text += [
                f'FILE = Path(__file__).with_name("{self.stem}.npz")',
                "",
                "with np.load(FILE) as file:",
                "    stored = dict(file)",
                "",
            ]
        text += ["", *_EXPECT.splitlines(), "", "", *self.inlined.lines]
        if self.state_lines:
            text += ["# What steps change.", *self.state_lines, ""]
        if self.object_lines:
            text += ["# What steps read.", *self.object_lines, ""]
        prepared = "\n".join(self._edited(start, body.lineno - 1)).rstrip()
        if prepared:
            text += ["# Numbers as arrays, and the buffers of values.", prepared]
        result, kinds = self._returned(body)
        text += ["", "", '@np.errstate(all="ignore")', f"def step({', '.join(names)}):"]
        text.append(f'    """Make one step; return {kinds}."""')
        text += [
            f'    {name} = expect({name}, "{name}", {value.shape}, "{value.dtype}")'
            for name, value in zip(names, _arguments(self.step.program), strict=True)
        ]
        last = body.body[-1].lineno
        text += [*self._edited(body.lineno + 1, last - 1), f"    return {result}"]
        if self.arrays:
            text += ["", "", *self._save()]
        return "\n".join(text) + "\n"

    def _imports(self) -> list[str]:
        lines = list(self.inlined.imports)
        if self.generators:
            lines.append("import json")
        if self.arrays:
            lines += ["import os", "from pathlib import Path"]
        if self.optimizers:
            lines.append("from types import SimpleNamespace")
        return sorted(set(lines), key=lambda line: (line.startswith("from"), line))

    def _returned(self, body: ast.FunctionDef) -> tuple[str, str]:
        """Return the expression of the results, nested as they were, and words."""
        last = body.body[-1]
        assert isinstance(last, ast.Return)  # noqa: S101 (as it was written)
        assert isinstance(last.value, ast.Tuple)  # noqa: S101 (as it was written)
        texts, kinds = [], []
        results = self.step.program.results
        for part, node in zip(last.value.elts, results, strict=True):
            value = None if isinstance(node, Node) else literal(node)
            texts.append(self._part(part) if value is None else value)
            if isinstance(node, Node):
                kinds.append(f"{node._value.dtype} {np.shape(node._value)}")
        return nested(self.step.results, texts), ", ".join(kinds) or "nothing"

    def _part(self, node: ast.expr) -> str:
        """Return one expression in other words."""
        edits = {edit.start: edit.text for edit in self.edits}
        known = edits.get((node.lineno, node.col_offset))
        return known if known is not None else ast.unparse(node)

    def _docstring(self, names: Sequence[str]) -> list[str]:
        beside = f"{self.stem}.npz, which lies beside this file"
        kinds = [
            f"    {name} : {value.dtype} {value.shape}"
            for name, value in zip(names, _arguments(self.step.program), strict=True)
        ]
        text = [
            f'"""The step {self.title!r} as plain NumPy, written by tinygrad_nn.',
            "",
            f"It needs NumPy{f' and {beside}' if self.arrays else ''}:",
            "",
            f"    import {self.stem}",
            "",
            "    for i in range(100):",
            f"        result = {self.stem}.step({', '.join(names)})",
            *([f"    {self.stem}.save()"] if self.arrays else []),
        ]
        if kinds:
            text += ["", "Arguments, of these shapes and dtypes:", "", *kinds]
        changed = [*self.optimizers, *self.generators]
        if any(_group(tensor) == "parameters" for tensor in self.tensors.values()):
            changed.insert(0, "parameters")
        if changed:
            text += [
                "",
                f"What steps change: {', '.join(changed)}. `save()` writes it, and the",
                "next import goes on from there.",
            ]
        text += [
            f"The learning rate is `{name}.lr`, and may be set."
            for name, optimizer in self.optimizers.items()
            if optimizer._schedule is None
        ]
        if "invalid=" in self.source:
            text += [
                "",
                "Where 0 meets an infinity, or a nan is chosen from, a step raises",
                "FloatingPointError and has changed nothing but random generators.",
            ]
        return [*text, '"""']

    def _save(self) -> list[str]:
        lines = [
            "def save(path=FILE):",
            '    """Write all that steps change, complete or not at all."""',
            "    arrays = dict(stored)",
        ]
        for group in ("parameters", "data", "gradients"):
            if f"{group} = {{" in self.state_lines:
                lines += [
                    f"    for key, x in {group}.items():",
                    f'        arrays[f"{group}/{{key}}"] = x',
                ]
        for name, optimizer in self.optimizers.items():
            if optimizer._schedule is None:
                lines.append(f'    arrays["{name}/lr"] = {name}.lr')
            lines.append(f'    arrays["{name}/steps"] = {name}.steps')
            if optimizer.slots:
                lines += [
                    f"    for key, state in zip({name}.keys, {name}.states):",
                    f"        for slot, x in zip({name}.slots, state):",
                    f'            arrays[f"{name}/{{key}}/{{slot}}"] = x',
                ]
        for name, rng in self.generators.items():
            more = ", default=np.ndarray.tolist" if _has_arrays(rng) else ""
            state = f"{name}.bit_generator.state"
            lines.append(f'    arrays["{name}"] = json.dumps({state}{more})')
        return [
            *lines,
            '    part = f"{path}.part"',
            '    with open(part, "wb") as file:',
            "        np.savez(file, **arrays)",
            "    os.replace(part, path)",
        ]


def _group(tensor: Any) -> str:
    return "parameters" if tensor.requires_grad else "data"


def _name(compiled: Any) -> str:
    return str(getattr(compiled, "__name__", "step"))


def _is_optimizer(value: Any) -> bool:
    return hasattr(value, "parameters") and hasattr(value, "_states")


def _told(node: Any) -> str:
    """Say op, layer, file and line, without the way to the file."""
    line = graph.line(node)
    scope = graph.scope(node)
    at = "" if line is None else f" at {line.file.rpartition('/')[2]}:{line.number}"
    return f"{node._op.name}{f' in {scope}' if scope else ''}{at}"


def _as_list(value: Any) -> Any:
    return value.tolist()


def _has_arrays(rng: Any) -> bool:
    def inside(state: Any) -> bool:
        if isinstance(state, Mapping):
            return any(map(inside, state.values()))
        return isinstance(state, np.ndarray)

    return inside(rng.bit_generator.state)
