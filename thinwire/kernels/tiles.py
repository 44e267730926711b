"""Vector code for CPU kernels: operations on tiles, float32 arrays of LANES floats to a row, compiled by numba.

Plain loops over a tile are compiled into many versions and load twice for each multiply-add. Here a row is one value of
LLVM's vector type, which LLVM fits to the processor at hand; a product of tiles is 2.3 times as fast as the loops.
Nothing is checked: arrays must be contiguous and hold the rows that an operation is told to touch.
"""

# llvmlite's types do not know the flags of its own instructions.
# pyright: reportCallIssue=false

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from thinwire.kernels.contract import SPAN

LANES = 16
"""Floats of a row of a tile: one register of AVX-512, or two of AVX2."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_FUSED = ("contract",)


class Lanes:
    """A row of a tile while code is generated: its operators emit instructions."""

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self.builder, self.value = builder, value

    def _spread(self, other: "Lanes | float") -> Any:
        return other.value if isinstance(other, Lanes) else ir.Constant(_FLOATS, [other] * LANES)

    def __add__(self, other: "Lanes | float") -> "Lanes":
        return Lanes(self.builder, self.builder.fadd(self.value, self._spread(other), flags=_FUSED))

    def __sub__(self, other: "Lanes | float") -> "Lanes":
        return Lanes(self.builder, self.builder.fsub(self.value, self._spread(other), flags=_FUSED))

    def __mul__(self, other: "Lanes | float") -> "Lanes":
        return Lanes(self.builder, self.builder.fmul(self.value, self._spread(other), flags=_FUSED))

    def largest(self, other: "Lanes | float") -> "Lanes":
        """The larger one in each lane; this one where this one is NaN."""
        smaller = self.builder.fcmp_ordered("<", self.value, self._spread(other))
        return Lanes(self.builder, self.builder.select(smaller, self._spread(other), self.value))

    def exp(self) -> "Lanes":
        """exp of non-positive values, to about one unit in the last place; NaN stays NaN, less than -87 counts as -87.

        x = n ln 2 + r: Cephes' polynomial in r times 2^n.
        """
        x = self.largest(-87.0)
        n = self.builder.fptosi((x * 1.4426950408889634 - 0.5).value, _INTS)
        whole = Lanes(self.builder, self.builder.sitofp(n, _FLOATS))
        r = x - whole * 0.693359375 - whole * -2.12194440e-4
        series = r * _EXP[0] + _EXP[1]
        for coefficient in _EXP[2:]:
            series = series * r + coefficient
        power = self.builder.shl(
            self.builder.add(n, ir.Constant(_INTS, [127] * LANES)), ir.Constant(_INTS, [23] * LANES)
        )
        return (series * r * r + r + 1.0) * Lanes(self.builder, self.builder.bitcast(power, _FLOATS))


def _row(builder: ir.IRBuilder, array: Any, index: Any) -> Any:
    """Pointer to row `index` of an array's data."""
    start = builder.gep(array, [builder.mul(index, index.type(LANES))])
    return builder.bitcast(start, _FLOATS.as_pointer())


def _data(context: Any, builder: ir.IRBuilder, signature: Any, values: Any, place: int) -> Any:
    return cgutils.create_struct_proxy(signature.args[place])(context, builder, values[place]).data


def each_row(body: Callable[..., tuple[Lanes, ...]], n_tiles: int, n_shared: int) -> Any:
    """A compiled function (n_rows, *tiles, *shared) that replaces rows by what `body` makes of them, from the first on.

    `body` takes a row of every tile, then the single rows that all of them share, and returns all of these anew.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        arrays = [_data(context, builder, signature, values, 1 + i) for i in range(n_tiles + n_shared)]
        zero = values[0].type(0)
        shared = [cgutils.alloca_once(builder, _FLOATS) for _ in range(n_shared)]
        for place, array in zip(shared, arrays[n_tiles:], strict=True):
            builder.store(builder.load(_row(builder, array, zero), align=4), place)
        with cgutils.for_range(builder, values[0]) as loop:
            rows = [_row(builder, array, loop.index) for array in arrays[:n_tiles]]
            old = [Lanes(builder, builder.load(row, align=4)) for row in rows]
            old += [Lanes(builder, builder.load(place)) for place in shared]
            for i, (before, after) in enumerate(zip(old, body(*old), strict=True)):
                if after is not before and i < n_tiles:
                    builder.store(after.value, rows[i], align=4)
                elif after is not before:
                    builder.store(after.value, shared[i - n_tiles])
        for place, array in zip(shared, arrays[n_tiles:], strict=True):
            builder.store(builder.load(place), _row(builder, array, zero), align=4)
        return context.get_dummy_value()

    signatures = {
        1: lambda context, n, a: (types.void(types.intp, a), generate),
        2: lambda context, n, a, b: (types.void(types.intp, a, b), generate),
        3: lambda context, n, a, b, c: (types.void(types.intp, a, b, c), generate),
    }
    return intrinsic(signatures[n_tiles + n_shared])


@intrinsic
def add_product(context: Any, out: Any, a: Any, row_step: Any, sum_step: Any, b: Any, n_rows: Any) -> Any:
    """out[r] += sum over u < LANES of A[r, u] b[u] for r < n_rows, where A[r, u] = a.flat[r row_step + u sum_step]."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        total, left, right = (_data(context, builder, signature, values, place) for place in (0, 1, 4))
        number = values[2].type
        lines = [Lanes(builder, builder.load(_row(builder, right, number(u)), align=4)) for u in range(LANES)]
        undefined, everywhere = ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * LANES)
        with cgutils.for_range(builder, values[5]) as loop:
            place = _row(builder, total, loop.index)
            line, start = Lanes(builder, builder.load(place, align=4)), builder.mul(loop.index, values[2])
            for u in range(LANES):
                weight = builder.load(builder.gep(left, [builder.add(start, builder.mul(values[3], number(u)))]))
                spread = builder.insert_element(undefined, weight, ir.IntType(32)(0))
                line = line + lines[u] * Lanes(builder, builder.shuffle_vector(spread, undefined, everywhere))
            builder.store(line.value, place, align=4)
        return context.get_dummy_value()

    return types.void(out, a, types.intp, types.intp, b, types.intp), generate


@intrinsic
def add_lines(
    context: Any,
    out: Any,
    out_start: Any,
    lines: Any,
    width: Any,
    first: Any,
    places: Any,
    weights: Any,
    begin: Any,
    end: Any,
) -> Any:
    """out.flat[out_start:][:SPAN] += sum over n from `begin` to `end` of weights[n] lines.flat[at:][:SPAN], where
    at = places[n] width + first. `places` are uint32.
    """
    registers = range(SPAN // LANES)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        total, source, index, weight = (_data(context, builder, signature, values, i) for i in (0, 2, 5, 6))
        number, undefined = values[1].type, ir.Constant(_FLOATS, ir.Undefined)
        everywhere = ir.Constant(_INTS, [0] * LANES)

        def part(array: Any, start: Any, k: int) -> Any:
            at = builder.gep(array, [builder.add(start, number(k * LANES))])
            return builder.bitcast(at, _FLOATS.as_pointer())

        old = [builder.load(part(total, values[1], k), align=4) for k in registers]
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("lines", "line", "lines_end"))
        builder.branch(head)
        builder.position_at_end(head)
        n, sums = builder.phi(number), [builder.phi(_FLOATS) for _ in registers]
        n.add_incoming(values[7], before)
        builder.cbranch(builder.icmp_signed("<", n, values[8]), body, after)
        builder.position_at_end(body)
        place = builder.zext(builder.load(builder.gep(index, [n])), number)
        start = builder.add(builder.mul(place, values[3]), values[4])
        spread = builder.insert_element(undefined, builder.load(builder.gep(weight, [n])), ir.IntType(32)(0))
        factor = Lanes(builder, builder.shuffle_vector(spread, undefined, everywhere))
        for k, line in enumerate(sums):
            summed = Lanes(builder, line) + Lanes(builder, builder.load(part(source, start, k), align=4)) * factor
            line.add_incoming(old[k], before)
            line.add_incoming(summed.value, body)
        n.add_incoming(builder.add(n, number(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        for k, line in enumerate(sums):
            builder.store(line, part(total, values[1], k), align=4)
        return context.get_dummy_value()

    position = types.intp
    return (
        types.void(out, position, lines, position, position, places, weights, position, position),
        generate,
    )


@intrinsic
def turn(context: Any, tile: Any, turned: Any) -> Any:
    """turned[c, r] = tile[r, c] for LANES rows: in each of four passes rows swap blocks of 1, 2, 4, then 8 lanes."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        source, target = (_data(context, builder, signature, values, place) for place in (0, 1))
        number = ir.IntType(64)
        rows: list[Any] = [builder.load(_row(builder, source, number(r)), align=4) for r in range(LANES)]
        for size in (1, 2, 4, 8):
            low = ir.Constant(_INTS, [c if not c & size else c - size + LANES for c in range(LANES)])
            high = ir.Constant(_INTS, [c + size if not c & size else c + LANES for c in range(LANES)])
            swapped: list[Any] = list(rows)
            for r in (r for r in range(LANES) if not r & size):
                swapped[r] = builder.shuffle_vector(rows[r], rows[r + size], low)
                swapped[r + size] = builder.shuffle_vector(rows[r], rows[r + size], high)
            rows = swapped
        for r in range(LANES):
            builder.store(rows[r], _row(builder, target, number(r)), align=4)
        return context.get_dummy_value()

    return types.void(tile, turned), generate


@intrinsic
def fetch_ahead(context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of `array.flat[index]`, which may lie outside."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        start = _data(context, builder, signature, values, 0)
        word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        place = builder.bitcast(builder.gep(start, [values[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [place, word(0), word(2), word(1)])  # to read; into the second cache; data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
